//! The code in the project's documents, for tests that compile, parse or run it.

use std::fs;
use std::path::Path;

use crate::project;

/// A fenced block of code.
#[derive(Clone, Debug)]
pub struct Block {
    /// `docs/guide.md:12`, the line of the fence.
    pub place: String,
    /// What stands after the fence, such as `toml` or `rust,ignore`.
    pub language: String,
    /// The lines between the fences, without the indentation of a list they may stand in.
    pub text: String,
}

/// Every document by its path in the project, in the order of names.
pub fn documents() -> Vec<String> {
    let mut found = vec!["ARCHITECTURE.md".to_owned(), "README.md".to_owned()];
    let mut directories = vec!["docs".to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(project(&directory)).expect("a directory") {
            let entry = entry.expect("an entry");
            let path = format!("{directory}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                directories.push(path);
            } else if Path::new(&path).extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What a document says.
pub fn read(document: &str) -> String {
    fs::read_to_string(project(document)).unwrap_or_else(|error| panic!("{document}: {error}"))
}

/// The blocks of a document.
///
/// # Panics
/// If one does not end.
pub fn blocks(document: &str) -> Vec<Block> {
    let text = read(document);
    let mut lines = text.lines().enumerate();
    let mut blocks = Vec::new();
    while let Some((index, line)) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else { continue };
        let indent = line.len() - line.trim_start().len();
        let place = format!("{document}:{}", index + 1);
        let mut text = String::new();
        loop {
            let Some((_, line)) = lines.next() else { panic!("{place}: does not end") };
            if line.trim() == "```" {
                break;
            }
            let spaces = line.len() - line.trim_start_matches(' ').len();
            text.push_str(&line[spaces.min(indent)..]);
            text.push('\n');
        }
        blocks.push(Block { place, language: language.trim().into(), text });
    }
    blocks
}

/// The commands of a document's `sh` blocks, each with its place.
pub fn shell(document: &str) -> Vec<(String, Vec<String>)> {
    let blocks = blocks(document).into_iter().filter(|block| block.language == "sh");
    let commands = |block: Block| {
        let commands = commands(&block.text);
        commands.into_iter().map(move |command| (block.place.clone(), command))
    };
    blocks.flat_map(commands).collect()
}

/// The commands that a document names within its text, between backquotes.
pub fn spans(document: &str) -> Vec<(String, Vec<String>)> {
    let text = read(document);
    let mut found = Vec::new();
    let mut in_block = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        if !in_block {
            let spans = line.split('`').skip(1).step_by(2);
            for span in spans.filter(|span| span.starts_with("cargo ") || span.starts_with("cli "))
            {
                let commands = commands(span).into_iter();
                found.extend(commands.map(|words| (format!("{document}:{}", index + 1), words)));
            }
        }
    }
    found
}

/// The words of each command of a script of the simplest kind: no variables, no loops. What a command
/// is told to do with its output, and what is set for it alone, is left out.
fn commands(script: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for line in script.replace("\\\n", " ").lines() {
        let words = shlex::split(line).unwrap_or_else(|| panic!("{line}: a quote does not end"));
        for command in words.split(|word| ["&&", "|", ";"].contains(&word.as_str())) {
            let is_setting = |word: &&String| {
                let name = word.split_once('=').map(|(name, _)| name);
                name.is_some_and(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
            };
            let words = command.iter().skip_while(is_setting).take_while(|word| *word != ">");
            let words: Vec<_> = words.cloned().collect();
            if !words.is_empty() {
                commands.push(words);
            }
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_taken_apart_into_words() {
        let script = "\
            cargo cli sample runs/a --prime '# b' > c.txt   # d\n\n\
            CHAR_RNN_SIMD=plain cli list --json | jq .families && cargo xtask \\\n  seeds\n";
        let expected: [&[&str]; 4] = [
            &["cargo", "cli", "sample", "runs/a", "--prime", "# b"],
            &["cli", "list", "--json"],
            &["jq", ".families"],
            &["cargo", "xtask", "seeds"],
        ];
        assert_eq!(commands(script), expected);
    }
}
