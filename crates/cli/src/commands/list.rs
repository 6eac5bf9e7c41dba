//! `cli list`: everything a config can say.

use std::io::{self, Write};

use experiment::{Error, Family, Listing, Parts, SectionListing, schema, section_keys};
use registry::Key;
use serde::Serialize;

use crate::args::ListArgs;
use crate::{Console, Failure};

/// Columns of a terminal that nobody has to widen.
const WIDTH: usize = 100;
/// A default or range wider than this does not push all others aside.
const MAX_COLUMN: usize = 17;

/// What `--json` writes. Names and meanings of these keys stay; more may come.
#[derive(Serialize)]
struct Catalog {
    families: Vec<Family>,
    sections: Vec<SectionListing>,
}

pub fn run(args: &ListArgs, parts: &Parts, console: &mut Console<'_>) -> Result<(), Failure> {
    if args.schema {
        return write_json(&schema(parts), console.out).map_err(Failure::Output);
    }
    let mut catalog = Catalog { families: parts.families(), sections: section_keys() };
    if let Some(wanted) = &args.family {
        catalog = catalog.only(wanted)?;
    }
    let written = match args.json {
        true => write_json(&catalog, console.out),
        false => catalog.print(console.out),
    };
    written.map_err(Failure::Output)
}

fn write_json(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

impl Catalog {
    /// The family `wanted`, and the section that all its parts share keys of, where there is one.
    fn only(mut self, wanted: &str) -> Result<Self, Error> {
        let known: Vec<_> = self.families.iter().map(|family| family.name.clone()).collect();
        self.families.retain(|family| family.name == wanted);
        let Some(family) = self.families.first() else {
            return Err(Error::Argument {
                place: "list".into(),
                message: format!("there is no family `{wanted}`"),
                help: registry::suggest(wanted, "families", known.iter().map(String::as_str)),
            });
        };
        let section = family.key.strip_suffix(".kind");
        self.sections.retain(|listing| Some(listing.name) == section);
        Ok(self)
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        for (index, Family { name, key, default, parts }) in self.families.iter().enumerate() {
            if 0 < index {
                writeln!(out)?;
            }
            let default = default.map(|name| format!(", \"{name}\" unless given"));
            writeln!(out, "{name}: {key}{}", default.unwrap_or_default())?;
            let columns = Columns::of(parts.iter().flat_map(|part| &part.keys));
            let width = parts.iter().map(|part| part.name.len()).max().unwrap_or(0);
            for Listing { name, summary, source, keys } in parts {
                let text = format!("{summary} ({source})");
                wrapped(out, &format!("  {name:width$}  "), &text)?;
                columns.print(keys, out)?;
            }
        }
        let columns = Columns::of(self.sections.iter().flat_map(|section| &section.keys));
        for SectionListing { name, summary, keys } in &self.sections {
            writeln!(out, "\n[{name}]  {summary}")?;
            columns.print(keys, out)?;
        }
        Ok(())
    }
}

/// Widths of what stands before a key's meaning.
struct Columns {
    name: usize,
    default: usize,
    range: usize,
}

impl Columns {
    fn of<'k>(keys: impl Iterator<Item = &'k Key> + Clone) -> Self {
        let widest = |text: fn(&Key) -> String| {
            let widths = keys.clone().map(|key| text(key).chars().count());
            widths.filter(|width| *width <= MAX_COLUMN).max().unwrap_or(0)
        };
        let name = keys.clone().map(|key| key.name.len()).max().unwrap_or(0);
        Self { name, default: widest(default), range: widest(|key| key.range.clone()) }
    }

    fn print(&self, keys: &[Key], out: &mut dyn Write) -> io::Result<()> {
        for key in keys {
            let Self { name, default: default_width, range } = *self;
            let start = format!(
                "    {:name$}  {:default_width$}  {:range$}  ",
                key.name,
                default(key),
                key.range
            );
            let words: Vec<_> = key.words.iter().map(|word| format!("\"{word}\"")).collect();
            let words = if words.is_empty() { String::new() } else { words.join(" or ") + ": " };
            wrapped(out, &start, &format!("{words}{}", key.meaning))?;
        }
        Ok(())
    }
}

fn default(key: &Key) -> String {
    let nothing = if key.required { "must be given" } else { "" };
    key.default_text().unwrap_or(nothing.into())
}

/// Writes `text` after `start`, on as many lines as it takes, all of which start below the first.
fn wrapped(out: &mut dyn Write, start: &str, text: &str) -> io::Result<()> {
    let indent = start.chars().count();
    let (mut line, mut is_empty) = (start.to_owned(), true);
    for word in text.split_whitespace() {
        if !is_empty && WIDTH < line.chars().count() + 1 + word.chars().count() {
            writeln!(out, "{line}")?;
            (line, is_empty) = (" ".repeat(indent), true);
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_goes_on_below_its_start() {
        let mut out = Vec::new();
        wrapped(&mut out, "  key  ", &"word ".repeat(25)).expect("memory takes all");
        let text = String::from_utf8(out).expect("UTF-8");
        let expected = format!(
            "  key  {}\n       {}\n",
            "word ".repeat(18).trim_end(),
            "word ".repeat(7).trim_end()
        );
        assert_eq!(text, expected);
    }
}
