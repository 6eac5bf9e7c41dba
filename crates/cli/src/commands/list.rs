//! `cli list`: every part a config can name.

use std::io::{self, Write};

use experiment::{Error, Listing, Parts, section_keys};
use registry::Key;

use crate::args::ListArgs;
use crate::{Console, Failure};

pub fn run(args: &ListArgs, parts: &Parts, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut families = parts.listings();
    if let Some(wanted) = &args.family {
        let known: Vec<_> = families.iter().map(|family| family.0.clone()).collect();
        families.retain(|family| family.0 == *wanted);
        if families.is_empty() {
            return Err(Error::Argument {
                place: "list".into(),
                message: format!("there is no family `{wanted}`"),
                help: registry::suggest(wanted, "families", known.iter().map(String::as_str)),
            }
            .into());
        }
    }
    print(&families, args.family.is_none(), console.out).map_err(Failure::Output)
}

fn print(
    families: &[(String, &'static str, Vec<Listing>)],
    with_sections: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    for (family, key, listings) in families {
        writeln!(out, "{family} ({key})")?;
        for part in listings {
            writeln!(out, "  {:<18} {} ({})", part.name, part.summary, part.source)?;
            print_keys(&part.keys, out)?;
        }
        writeln!(out)?;
    }
    if with_sections {
        for (section, keys) in section_keys() {
            writeln!(out, "[{section}]")?;
            print_keys(&keys, out)?;
        }
    }
    Ok(())
}

fn print_keys(keys: &[Key], out: &mut dyn Write) -> io::Result<()> {
    for key in keys {
        let default =
            key.default.as_deref().map_or("must be given".into(), |value| format!("= {value}"));
        let range = if key.range.is_empty() { String::new() } else { format!(" [{}]", key.range) };
        writeln!(out, "    {:<16} {default}{range}: {}", key.name, key.meaning)?;
    }
    Ok(())
}
