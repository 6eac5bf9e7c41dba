//! `cargo xtask docs`: a page for each family of parts and one for the sections of a config.
//!
//! All of it is what the parts say of themselves: `Part` and its keys, which `cli list` shows too, and
//! the module documentation of the file a part is in, where its equations stand.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

use experiment::{Family, Listing, Parts, section_keys};
use registry::Key;

#[derive(clap::Args)]
pub struct Args {
    /// Directory to write the pages to
    #[arg(short, long, value_name = "DIR", default_value = "docs/parts")]
    output: PathBuf,
}

pub fn run(args: Args) -> crate::Result {
    fs::create_dir_all(&args.output)?;
    for (name, text) in pages(Path::new(""))? {
        let path = args.output.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// What stands at the top of every page.
const NOTE: &str = "<!-- Written by `cargo xtask docs`; change the parts instead. -->\n\n";

/// The pages by file name, of the project in `root`.
fn pages(root: &Path) -> io::Result<BTreeMap<String, String>> {
    let sources = sources(root)?;
    let families = Parts::builtin().families();
    let mut pages: BTreeMap<_, _> = families
        .iter()
        .map(|family| (format!("{}.md", family.name), family_page(family, &sources)))
        .collect();
    pages.insert("sections.md".into(), sections_page(&families));
    Ok(pages)
}

fn family_page(Family { name, key, default, parts }: &Family, sources: &Sources) -> String {
    let default = default.map(|name| format!(", `\"{name}\"` unless given"));
    let mut page =
        format!("{NOTE}# {}\n\nNamed by `{key}`{}.\n", capital(name), default.unwrap_or_default());
    if let Some(section) = key.strip_suffix(".kind")
        && section_keys().iter().any(|listing| listing.name == section)
    {
        let keys = "Keys that all of them have are those of";
        page += &format!("{keys} [`[{section}]`](sections.md#{section}).\n");
    }
    for part in parts {
        page += &part_section(key, part, sources);
    }
    page
}

fn part_section(key: &str, part: &Listing, sources: &Sources) -> String {
    let Listing { name, summary, source, keys } = part;
    let mut text = format!("\n## `{name}`\n\n{}. {source}.\n", capital(summary));
    if let Some(Source { path, docs }) = sources.get(*name) {
        let file = path.rsplit('/').next().unwrap_or(path);
        text += &format!("\n{docs}\n\nIn [{file}](../../{path}).\n");
    }
    text += "\n";
    if !keys.is_empty() {
        text += &key_table(keys);
        text += "\n";
    }
    text + "```toml\n" + &example(key, part) + "```\n"
}

/// A config's lines that name the part, every default written out.
fn example(key: &str, part: &Listing) -> String {
    let mut text = match key.strip_suffix(".kind") {
        Some("transform") => "[[transform]]\n".to_owned(),
        Some(section) => format!("[{section}]\n"),
        None => format!("[{key}]\n"),
    };
    text += &format!("kind = \"{}\"\n", part.name);
    for key in &part.keys {
        match key.default_text() {
            Some(default) => text += &format!("{} = {default}\n", key.name),
            None if key.required => text += &format!("{} = \"…\"\n", key.name),
            None => {}
        }
    }
    text
}

fn sections_page(families: &[Family]) -> String {
    let mut page = format!(
        "{NOTE}# Sections\n\nThe keys of a config that do not belong to a part. Which parts there \
         are is on the page of their family.\n"
    );
    for listing in section_keys() {
        let _ = write!(page, "\n## {}\n\n{}.\n", listing.name, capital(listing.summary));
        let of_section = |family: &&Family| family.key.starts_with(&format!("{}.", listing.name));
        for Family { name, key, .. } in families.iter().filter(of_section) {
            let _ = write!(page, "\n`{key}` names one of the [{name}]({name}.md).\n");
        }
        if listing.keys.is_empty() {
            continue;
        }
        let _ = write!(page, "\n{}\n```toml\n[{}]\n", key_table(&listing.keys), listing.name);
        for key in &listing.keys {
            if let Some(default) = key.default_text() {
                let _ = writeln!(page, "{} = {default}", key.name);
            }
        }
        page += "```\n";
    }
    page
}

fn key_table(keys: &[Key]) -> String {
    let mut table = "| key | default | range | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for key in keys {
        let nothing = if key.required { "must be given" } else { "" };
        let default = key.default_text().map(|default| format!("`{default}`"));
        let words: Vec<_> = key.words.iter().map(|word| format!("`\"{word}\"`")).collect();
        let range = if words.is_empty() { key.range.clone() } else { words.join(" or ") };
        let cells = [default.unwrap_or(nothing.into()), range, key.meaning.clone()];
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let _ = writeln!(table, "| `{}` | {} |", key.name, cells.join(" | "));
    }
    table
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Where a part is written down.
struct Source {
    /// From the project's root, with `/`.
    path: String,
    /// Its module documentation, in Markdown that knows no Rust.
    docs: String,
}

/// Where parts are, by name. Names differ between families, as it is; a page would show the wrong
/// file otherwise, so no two files may claim one.
type Sources = BTreeMap<String, Source>;

fn sources(root: &Path) -> io::Result<Sources> {
    let mut sources = Sources::new();
    let mut directories = vec![root.join("crates")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path)?;
                let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
                let relative = relative.replace('\\', "/");
                for name in text.lines().filter_map(part_name) {
                    let source = Source { path: relative.clone(), docs: module_docs(&text) };
                    if let Some(other) = sources.insert(name.to_owned(), source) {
                        let both = format!("part `{name}` is in {relative} and in {}", other.path);
                        return Err(io::Error::other(both));
                    }
                }
            }
        }
    }
    Ok(sources)
}

/// The name on the line of an `impl Part` that has it.
fn part_name(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("const NAME: &'static str = \"")?.strip_suffix("\";")
}

/// The file's `//!` lines; a link to a Rust item becomes its text.
fn module_docs(file: &str) -> String {
    let lines = file.lines().map_while(|line| line.strip_prefix("//!"));
    let lines: Vec<_> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    let mut rest = lines.join("\n");
    let mut docs = String::new();
    while let Some((before, after)) = rest.split_once("[`") {
        let Some((item, after)) = after.split_once("`]") else { break };
        docs += &format!("{before}`{item}`");
        let target = after.strip_prefix('(').and_then(|target| target.split_once(')'));
        rest = target.map_or(after, |(_, after)| after).to_owned();
    }
    docs + &rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ is in the project")
    }

    #[test]
    fn the_pages_are_up_to_date() {
        let expected = pages(root()).expect("sources");
        let directory = root().join("docs/parts");
        let found: BTreeMap<_, _> = fs::read_dir(directory)
            .expect("pages")
            .map(|entry| entry.expect("an entry"))
            .map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                (name, fs::read_to_string(entry.path()).expect("text"))
            })
            .collect();
        assert!(found == expected, "run `cargo xtask docs`");
    }

    #[test]
    fn every_part_has_its_file() {
        let sources = sources(root()).expect("sources");
        for family in Parts::builtin().families() {
            for part in family.parts {
                let docs = sources.get(part.name).map_or("", |source| &source.docs);
                assert!(!docs.is_empty(), "{}", part.name);
            }
        }
    }

    #[test]
    fn links_of_rust_become_words() {
        let file =
            "//! A, see\n//! [`B`](super::B) and [`c`].\n//!\n//! [d](e.md)\n\nuse f;\n//! g";
        assert_eq!(module_docs(file), "A, see\n`B` and `c`.\n\n[d](e.md)");
    }
}
