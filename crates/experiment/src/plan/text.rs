//! A plan as a config, with comments.

use std::f64::consts::LN_2;
use std::fmt::Write;

use data_io::Kind;
use registry::value_text;
use toml::Value;

use super::{CELL, Facts, MOMENTUM, Plan, RISE, Symbols, TINY, learning_rate};
use crate::{guessing, in_bytes, in_time};

/// Columns of a comment.
const COLUMNS: usize = 98;
/// The column at which a comment beside a key starts.
const BESIDE: usize = 34;

impl Plan {
    /// What was found in the text that decides something, a paragraph each.
    pub fn notes(&self) -> Vec<String> {
        let survey = &self.survey;
        let mut notes = vec![self.size()];
        let mut note = |text: String| notes.push(text);
        match &self.kind {
            Kind::Letters(letters) if TINY <= survey.chars => note(self.of_letters(letters)),
            Kind::Records => note(
                "Its lines are short and stand for themselves, as names do. So each is a document: it starts \
                 with the line end before it, at which the model forgets all lines before."
                    .into(),
            ),
            Kind::Code => note(
                "It looks like source code or markup: much of it follows from what stands before, and the \
                 loss will be well below that of prose."
                    .into(),
            ),
            // Too few to say anything of a source.
            Kind::Letters(_) | Kind::Prose => {}
        }
        if let Symbols::CharByte { min_count } = self.symbols {
            let (share, n) = survey.frequent(min_count);
            note(format!(
                "Its alphabet is large, and most of it rare. The {} characters that occur {min_count} \
                 times or more, {} % of the text, are symbols of their own; any other is the 2 to 4 bytes \
                 of its UTF-8. A loss is for each symbol, of which the text has more than characters.",
                grouped(n as u64),
                percent(share)
            ));
        }
        if 0 < survey.crlf {
            note(format!(
                "{} end in CR LF. The model learns both characters, and the CR says nothing new: \
                 `tr -d '\\r' < OLD > NEW` leaves a text that is {} % shorter.",
                if survey.lines <= survey.crlf + 1 {
                    "Its lines".into()
                } else {
                    format!("{} of its {} lines", grouped(survey.crlf), grouped(survey.lines))
                },
                percent(survey.crlf as f64 / survey.chars as f64),
            ));
        }
        if survey.has_mark {
            note("It starts with a byte order mark, a character that occurs there alone.".into());
        }
        let zeros = survey.share_of("\0");
        if 0.1 < zeros {
            note(format!(
                "{} % of its characters are zero: it looks like UTF-16. Convert it with \
                 `iconv -f UTF-16LE -t UTF-8 OLD > NEW`.",
                percent(zeros)
            ));
        }
        if 2000 < survey.longest_line && survey.lines < 1 + survey.chars / 2000 {
            note(format!(
                "Its longest line has {} characters, which does no harm: to the model a line end is a \
                 character like any other.",
                grouped(survey.longest_line)
            ));
        }
        if 0.2 < survey.repeated {
            note(format!(
                "It repeats itself: {} % of its stretches of 32 bytes occurred before. The loss will be low \
                 for that reason alone, and what validates may have been trained on.",
                percent(survey.repeated)
            ));
        }
        if survey.chars < TINY {
            let overfits = match self.val {
                0.0 => "",
                _ => ": the training loss falls on and the validation loss rises (overfitting)",
            };
            note(format!(
                "It is tiny. A model soon knows it by heart{overfits}. More text helps more than any setting."
            ));
        }
        if self.val == 0.0 {
            note("It is too short to keep a part of it for validation.".into());
        }
        notes
    }

    fn size(&self) -> String {
        let survey = &self.survey;
        format!(
            "The text has {} ({}) in {}; {} characters are different.",
            counted(survey.chars, "character"),
            in_bytes(survey.bytes.into()),
            counted(survey.lines, "line"),
            grouped(survey.characters.len() as u64),
        )
    }

    fn of_letters(&self, letters: &[char]) -> String {
        let nats = self.survey.frequency_nats_of(letters);
        let names: Vec<_> = letters.iter().map(|letter| format!("{letter:?}")).collect();
        format!(
            "{} letters ({}) make up nearly all of it. If nothing but chance orders them, no model gets below \
             {nats:.3} nats ({:.2} bits) a letter; genomes come within a few per cent of that. There is little \
             to learn, so the model is small and the run short. A loss far below means that the model \
             knows the text by heart.",
            letters.len(),
            names.join(", "),
            nats / LN_2,
        )
    }

    /// The run in one line: its model, its steps and how long they take.
    pub fn summary(&self) -> String {
        let model = format!("{CELL} 1×{}", self.hidden_size);
        let Some(facts) = &self.facts else { return model };
        format!(
            "{model}, {} parameters, {}, {:.1} epochs, about {} on this machine{}",
            grouped(facts.n_params as u64),
            counted(self.steps, "step"),
            facts.epochs,
            in_time(facts.secs()),
            if self.is_short { "; more epochs of this text would teach it little" } else { "" },
        )
    }

    /// The config with its comments. Its paths are those the plan was made with.
    pub fn text(&self) -> String {
        let mut out = Page::default();
        out.paragraph(
            "Made by `cli new` for the text below. `cli check` says how long it takes, `cli run` trains, \
             `cli list` shows every key there is.",
        );
        self.notes().iter().for_each(|note| out.paragraph(note));
        if let Some(facts) = &self.facts {
            self.expect(facts, &mut out);
        }
        self.data(&mut out);
        self.model(&mut out);
        self.learning(&mut out);
        self.looking(&mut out);
        out.text
    }

    /// Time, and the loss where there is ground for one.
    fn expect(&self, facts: &Facts, out: &mut Page) {
        let Facts { speed, turns, .. } = facts;
        out.paragraph(&format!(
            "Time: about {} on the machine and the {} this was made on: {} of {}, {} of {}, {} and up to \
             {}.{} Memory: {}.",
            in_time(facts.secs()),
            if self.threads == 1 { "one thread".into() } else { format!("{} threads", self.threads) },
            counted(turns.steps, "step"),
            in_time(speed.step_secs),
            counted(turns.evals, "evaluation"),
            in_time(speed.eval_secs),
            counted(turns.samples, "sample"),
            counted(turns.checkpoints, "checkpoint"),
            if self.is_short {
                format!(
                    " The budget was {}; more passes over so little text teach nothing.",
                    in_time(self.budget.as_secs_f64())
                )
            } else {
                String::new()
            },
            in_bytes(facts.memory.total()),
        ));
        let uniform = guessing(facts.vocab_size);
        let mut loss = format!(
            "Loss: it starts near ln {} = {uniform:.3} nats a symbol, where every symbol is as likely as any",
            facts.vocab_size
        );
        let known = self.survey.frequency_nats();
        match self.symbols {
            Symbols::Char => {
                let _ = write!(
                    loss,
                    "; {known:.3} is what a model has that knows how often each occurs and nothing else."
                );
            }
            Symbols::CharByte { .. } => loss.push('.'),
        }
        out.paragraph(&loss);
    }

    fn data(&self, out: &mut Page) {
        out.section("data");
        let paths = match self.paths.as_slice() {
            [path] => Value::String(path.clone()),
            paths => Value::Array(paths.iter().cloned().map(Value::String).collect()),
        };
        out.key("path", &value_text(&paths), "the text; a relative path leads from this file");
        match self.symbols {
            Symbols::Char => {
                out.key("tokenizer", "\"char\"", "a symbol for each different character");
            }
            Symbols::CharByte { min_count } => out.key(
                "tokenizer",
                &format!("{{ kind = \"char_byte\", min_count = {min_count} }}"),
                "characters, and bytes for the rare ones",
            ),
        }
        if !self.separator.is_empty() {
            // TOML's own writer would break the line in it.
            out.key(
                "separator",
                &format!("{:?}", self.separator),
                "opens a document, at which the state is zeroed",
            );
        }
        let split = format!("[{:?}, {:?}, 0.0]", 1.0 - self.val, self.val);
        let meaning = "shares to train on, to validate and to test with, in that order";
        out.key("split", &split, meaning);
    }

    fn model(&self, out: &mut Page) {
        out.section("model");
        out.key(
            "cell",
            &format!("\"{CELL}\""),
            "an LSTM with recurrent weights of each character; \"lstm\" is quicker and learns less",
        );
        out.key(
            "hidden_size",
            &self.hidden_size.to_string(),
            "numbers in the state: more learn more, and take longer",
        );
        out.key("layers", "1", "a second one pays when the run is hours long");
        if 0 < self.embedding_size {
            let size = self.embedding_size.to_string();
            out.key("embedding_size", &size, "a learned vector for each symbol, as there are many");
        }
        let dropout = format!("{:?}", self.dropout);
        out.key(
            "dropout",
            &dropout,
            "share of the state hidden in training: raise it against overfitting",
        );
        out.key("init", "{ kind = \"pytorch\" }", "uniform within ±1/√hidden_size");
        out.key("forget_bias", "1.0", "starts with gates that keep (Jozefowicz et al. 2015)");
        out.key("layer_norm", "true", "learns in half the steps what it takes without");
    }

    fn learning(&self, out: &mut Page) {
        out.section("optimizer");
        out.key("kind", "\"muon\"", "moves a matrix along its gradient made orthogonal");
        let rate = format!("{:?}", learning_rate(self.hidden_size));
        out.key("learning_rate", &rate, "the greatest; halve it if the loss jumps");
        let momentum = format!("{MOMENTUM:?}");
        out.key("momentum", &momentum, "how much of the average gradient is kept each step");
        out.section("schedule");
        out.key("kind", "\"one_cycle\"", "up, then down to nothing at the last step");
        out.key("pct_start", &format!("{RISE:?}"), "share of the steps in which it goes up");
        out.table("transform");
        out.key("kind", "\"clip_norm\"", "no gradient is longer than this");
        out.key("limit", "1.0", "");
        out.section("train");
        out.key(
            "seq_len",
            &self.seq_len.to_string(),
            &format!("{} of a window, beyond which no gradient flows", self.symbols.many()),
        );
        out.key(
            "batch_size",
            &self.batch_size.to_string(),
            "places of the text that are read side by side",
        );
        let chars = self.steps * self.batch_size * self.seq_len;
        let steps = match &self.facts {
            Some(facts) => {
                let (chars, many) = (grouped(chars), self.symbols.many());
                format!("{chars} {many}, {:.1} passes over the text", facts.epochs)
            }
            None => "windows to train on".into(),
        };
        out.key("steps", &self.steps.to_string(), &steps);
        out.key("seed", "42", "another one is another run of the same kind");
        out.key("loss", "\"mean\"", "over the window, for which the learning rate is meant");
    }

    fn looking(&self, out: &mut Page) {
        let every = self.every.to_string();
        out.section("eval");
        out.key("every", &every, "steps between losses over the validation text");
        out.section("sample");
        out.key("every", &every, "steps between samples");
        out.key("length", "300", "characters of a sample");
        out.section("checkpoint");
        out.key("every", &every, "steps between checkpoints; what a crash can cost");
        out.key("keep", "2", "newest that are kept, beside the best by validation loss");
        out.section("log");
        let log = (self.steps / 500).max(1);
        out.key("every", &log.to_string(), "steps between lines of metrics.jsonl");
    }
}

impl Facts {
    fn secs(&self) -> f64 {
        self.speed.secs(self.turns)
    }
}

/// TOML that is being written.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// A paragraph as comments. What no comment may hold is escaped.
    fn paragraph(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push_str("#\n");
        }
        let mut line = String::from("#");
        for word in text.split(' ') {
            if COLUMNS < line.chars().count() + 1 + word.chars().count() {
                self.text.push_str(&line);
                self.text.push('\n');
                line = "#".into();
            }
            line.push(' ');
            word.chars().for_each(|c| match c.is_control() {
                true => line.extend(c.escape_default()),
                false => line.push(c),
            });
        }
        self.text.push_str(&line);
        self.text.push('\n');
    }

    fn section(&mut self, name: &str) {
        let _ = writeln!(self.text, "\n[{name}]");
    }

    fn table(&mut self, name: &str) {
        let _ = writeln!(self.text, "\n[[{name}]]");
    }

    fn key(&mut self, key: &str, value: &str, meaning: &str) {
        let line = format!("{key} = {value}");
        let gap = BESIDE.saturating_sub(line.chars().count()).max(1);
        let _ = match meaning {
            "" => writeln!(self.text, "{line}"),
            _ => writeln!(self.text, "{line}{:gap$}# {meaning}", ""),
        };
    }
}

/// `1 line`, `1,234 lines`.
pub fn counted(number: u64, one: &str) -> String {
    format!("{} {one}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if 0 < index && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A share in per cent, with a digit behind the point where it is small.
fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent < 10.0 { format!("{percent:.1}") } else { format!("{percent:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_a_person_reads_them() {
        assert_eq!([0, 1, 1234].map(|n| counted(n, "line")), ["0 lines", "1 line", "1,234 lines"]);
        assert_eq!([7, 999, 1000, 1_115_394].map(grouped), ["7", "999", "1,000", "1,115,394"]);
        assert_eq!([0.034, 0.5, 0.99].map(percent), ["3.4", "50", "99"]);
    }

    #[test]
    fn a_comment_holds_nothing_that_toml_forbids() {
        let mut page = Page::default();
        page.paragraph(&format!("a\u{1b}[31m {}\nb = 1", "word ".repeat(40)));
        page.key("key", "1", "meaning");
        assert!(page.text.lines().all(|line| line.starts_with('#') || line.starts_with("key")));
        assert!(page.text.lines().all(|line| line.chars().count() <= COLUMNS));
        let table: toml::Table = page.text.parse().expect("TOML");
        assert_eq!(table.len(), 1);
    }
}
