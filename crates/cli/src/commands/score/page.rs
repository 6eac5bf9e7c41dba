//! A page that colours a text by surprise: one file, without scripts and without anything from outside.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use experiment::{Error, counted};
use maud::{DOCTYPE, Markup, PreEscaped, Render, html};

use super::{About, Char, Line, Total, in_words, keep_hardest};

/// Characters that a page shows at most: some 30 MB of it.
const MOST: usize = 1_000_000;

/// Hardest lines that a page lists.
const TOP: usize = 20;

/// Bits at which the colours change, and what the legend says of each.
const LEVELS: [(f64, &str); 6] = [
    (0.0, "less than 1 bit: expected"),
    (1.0, "1 to 2 bits"),
    (2.0, "2 to 4 bits"),
    (4.0, "4 to 6 bits"),
    (6.0, "6 to 8 bits"),
    (8.0, "8 bits or more: a surprise"),
];

/// Colours with a contrast of 7 and more to the letters, and an underline where they are strongest, for
/// whoever cannot tell them apart.
const STYLE: &str = "
:root { color-scheme: light dark; --ink: #111; --paper: #fff; --faint: #595959; --link: #0b4aa2;
  --s1: #fff6d6; --s2: #ffe7a0; --s3: #ffd070; --s4: #ffb061; --s5: #ff9a8a; }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --paper: #161616; --faint: #a8a8a8;
  --link: #9cc4ff; --s1: #2e2a14; --s2: #453a0c; --s3: #5c4300; --s4: #6d3c00; --s5: #7d1f1a; } }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: var(--ink);
  background: var(--paper); font-family: system-ui, sans-serif; line-height: 1.5; }
a { color: var(--link); }
table { border-collapse: collapse; }
th, td { padding: 0 1rem 0 0; text-align: right; }
th:last-child, td:last-child { text-align: left; }
.text, code { font-family: ui-monospace, monospace; }
.text { padding-left: 4rem; }
.text li { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; }
.text li::marker, .note { color: var(--faint); }
.legend { list-style: none; padding: 0; }
.legend span { padding: 0 .5rem; }
.s1 { background: var(--s1); } .s2 { background: var(--s2); } .s3 { background: var(--s3); }
.s4 { background: var(--s4); text-decoration: underline dotted; }
.s5 { background: var(--s5); text-decoration: underline; }
";

/// A page that is being made.
pub struct Page {
    path: PathBuf,
    file: File,
    title: String,
    /// The lines so far, in HTML.
    body: String,
    /// The line so far.
    line: String,
    /// Characters of one level, and their surprise.
    run: String,
    run_bits: String,
    level: usize,
    shown: usize,
    seen: usize,
    hardest: Vec<Line>,
}

impl Page {
    /// A page about the text called `name`, in a new file.
    pub fn create(path: &Path, name: &str) -> Result<Self, Error> {
        let file = File::create(path).map_err(|source| failed(path, source))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            title: format!("Surprise in {name}"),
            body: String::new(),
            line: String::new(),
            run: String::new(),
            run_bits: String::new(),
            level: 0,
            shown: 0,
            seen: 0,
            hardest: Vec::new(),
        })
    }

    /// Characters for which there is no room.
    pub fn left_out(&self) -> usize {
        self.seen - self.shown
    }

    pub fn char(&mut self, char: Char) {
        self.seen += 1;
        if MOST < self.seen {
            return;
        }
        self.shown += 1;
        let level = LEVELS.iter().rposition(|(bits, _)| *bits <= char.bits).unwrap_or(0);
        if level != self.level {
            self.end_run();
            self.level = level;
        }
        self.run.push(visible(char.symbol));
        let space = if self.run_bits.is_empty() { "" } else { " " };
        self.run_bits += &format!("{space}{:.1}", char.bits);
    }

    fn end_run(&mut self) {
        let (run, bits) = (&self.run, &self.run_bits);
        let markup = match self.level {
            _ if run.is_empty() => return,
            0 => html! { span title=(bits) { (run) } },
            level => html! { span class={ "s" (level) } title=(bits) { (run) } },
        };
        markup.render_to(&mut self.line);
        self.run.clear();
        self.run_bits.clear();
    }

    pub fn line(&mut self, line: &Line) {
        let mut line = line.clone();
        self.end_run();
        if self.line.is_empty() {
            return;
        }
        let content = PreEscaped(std::mem::take(&mut self.line));
        let bits = format!("{:.2} bits a character", line.bits_per_char());
        html! { li id={ "l" (line.number) } title=(bits) { (content) } }.render_to(&mut self.body);
        self.body.push('\n');
        line.text.clear();
        keep_hardest(&mut self.hardest, &line, TOP);
    }

    /// Writes the page.
    pub fn finish(mut self, total: &Total, about: &About<'_>) -> Result<(), Error> {
        let body = PreEscaped(std::mem::take(&mut self.body));
        let page = self.markup(&body, total, about).into_string();
        self.file.write_all(page.as_bytes()).map_err(|source| failed(&self.path, source))
    }

    fn markup(&self, body: &Markup, total: &Total, about: &About<'_>) -> Markup {
        let policy = "default-src 'none'; style-src 'unsafe-inline'";
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta http-equiv="Content-Security-Policy" content=(policy);
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    main {
                        h1 { (self.title) }
                        (summary(total, about))
                        h2 { "Colours" }
                        ul.legend {
                            @for (level, (_, meaning)) in LEVELS.iter().enumerate() {
                                li { span class={ "s" (level) } { (meaning) } }
                            }
                        }
                        p.note {
                            "Bits of surprise of a character: 1 bit is a coin, 8 bits one in 256. Those of each "
                            "character are shown where the pointer rests on it. ⏎ is a line end."
                        }
                        h2 { "Hardest lines" }
                        (self.hardest_lines())
                        h2 { "Text" }
                        @if 0 < self.left_out() {
                            p {
                                "The first " (self.shown) " characters; the other " (self.left_out())
                                " are left out."
                            }
                        }
                        ol.text { (body) }
                    }
                }
            }
        }
    }

    fn hardest_lines(&self) -> Markup {
        html! {
            table {
                thead { tr {
                    th scope="col" { "bits a character" }
                    th scope="col" { "bits" }
                    th scope="col" { "line" }
                } }
                tbody { @for line in &self.hardest { tr {
                    td { (format!("{:.2}", line.bits_per_char())) }
                    td { (format!("{:.1}", line.bits)) }
                    td { a href={ "#l" (line.number) } { (line.number) } }
                } } }
            }
        }
    }
}

fn summary(total: &Total, about: &About<'_>) -> Markup {
    html! {
        p {
            (counted(total.chars as u64, "character")) " in " (counted(total.lines as u64, "line")) ", "
            strong { (format!("{:.3} bits a character", total.bits_per_char())) }
            (format!(
                " ({:.3} nats, perplexity {:.2}), {:.0} bits in all.",
                total.nats_per_char(), total.perplexity(), total.bits(),
            ))
        }
        p.note { "Model: " (in_words(about.model)) "." }
    }
}

/// A character that can be seen in the place of one that cannot, or that HTML does not have.
fn visible(symbol: char) -> char {
    match symbol {
        '\t' => '\t',
        '\n' => '⏎',
        // The control pictures are in the order of the control characters.
        '\0'..='\x1f' => char::from_u32(0x2400 + symbol as u32).expect("a picture"),
        '\x7f' => '␡',
        '\u{80}'..='\u{9f}' => char::REPLACEMENT_CHARACTER,
        _ => symbol,
    }
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.to_owned(), action: "write the page", source }
}
