//! `cli score`: how much each character and line of a text surprises a model.

mod page;

use std::cmp::Ordering;
use std::f64::consts::LN_2;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args as Arguments;
use data_io::{Corpus, EncodedCorpus, Looks, TextError};
use experiment::{Error, Parts, TextModel, counted};
use serde_json::json;
use tensor_core::Real;

use self::page::Page;
use crate::args::ModelArgs;
use crate::failure::printable;
use crate::progress::Meter;
use crate::{Console, Failure};

/// Say how much each character and line of a text surprises a model
#[derive(Debug, Arguments)]
#[command(after_help = "\
Examples:
  cli score runs/karpathy my.txt
  cli score runs/karpathy my.txt --html my.html
  cli score runs/log today.log --lines | sort -rn | head
  tail -n 1000 today.log | cli score runs/log - --lines --sort
  cli score runs/karpathy my.txt --chars | awk '8 < $1'
  cli score runs/karpathy my.txt --json | jq .bits_per_char

Every character is read once, and its surprise is -log2 of the probability that the model gave it after
all that came before it in its document; the first one comes after what the model reads before it
writes. A line has its line end. Without an option the whole text is summed up, and the lines that are
hardest for their length are shown.

--lines writes a line `BITS_PER_CHAR <tab> LINE_NUMBER <tab> LINE` for each one, --chars writes
`BITS <tab> LINE_NUMBER <tab> COLUMN <tab> CHARACTER` with control characters written as \\n or \\u{7}.
--json writes one object: by_line (line, chars, bits, bits_per_char), then chars, lines, bits,
nats_per_char, bits_per_char, perplexity, opening, step and digest.

A character that the model never saw is an error, unless its tokenizer reads every text (byte and
char_byte): then it costs what its bytes cost together.")]
pub struct ScoreArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The text, in UTF-8; - is standard input
    pub file: PathBuf,
    /// Write a page that colours the text by surprise; it needs nothing but a browser
    #[arg(long, value_name = "OUT")]
    pub html: Option<PathBuf>,
    /// Write every line with its surprise, to be sorted
    #[arg(long)]
    pub lines: bool,
    /// Hardest lines first
    #[arg(long, requires = "lines")]
    pub sort: bool,
    /// Write every character with its surprise
    #[arg(long, conflicts_with = "lines")]
    pub chars: bool,
    /// Write JSON, as described below
    #[arg(long, conflicts_with_all = ["lines", "chars"])]
    pub json: bool,
    /// Lines to show of the hardest ones
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with_all = ["lines", "chars", "json"])]
    pub top: usize,
}

/// The most that is read from standard input, which cannot be read twice and so is held in memory.
const MAX_STDIN: u64 = 256 << 20;

/// Characters that are kept of a line to show it.
const EXCERPT: usize = 60;

/// Characters between two drawings of the bar.
const REDRAW: usize = 20_000;

pub fn run(args: &ScoreArgs, parts: &Parts, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut model = TextModel::open(&args.model.checkpoint()?, parts)?;
    let is_stdin = args.file == Path::new("-");
    let name = if is_stdin { "standard input".into() } else { args.file.display().to_string() };
    let corpus = match is_stdin {
        true => read_stdin(&name, console.err)?,
        false => Corpus::of_files(vec![args.file.clone()]).map_err(Error::from)?,
    };
    let text = model.encode(corpus, &name)?;
    let mut page = args.html.as_deref().map(|path| Page::create(path, &name)).transpose()?;

    let draws_bar = console.draws_bar && !args.lines && !args.chars;
    let mut out = BufWriter::new(&mut *console.out);
    let output: &mut dyn Output = match args {
        ScoreArgs { lines: true, sort: false, .. } => &mut Lines { out: &mut out },
        ScoreArgs { lines: true, .. } => &mut Sorted { out: &mut out, lines: Vec::new() },
        ScoreArgs { chars: true, .. } => &mut Chars { out: &mut out },
        ScoreArgs { json: true, .. } => &mut Json { out: &mut out, is_first: true },
        _ => &mut Summary { out: &mut out, top: args.top, hardest: Vec::new() },
    };
    let mut scored = Scored { output, page: page.as_mut(), total: Total::default() };
    let meter = draws_bar.then(|| Meter::new(&mut *console.err));
    let total = scored.read(&mut model, &text, meter)?;
    let about = About { name: &name, model: &model };
    scored.output.finish(&total, &about).map_err(Failure::Output)?;
    if let Some(page) = page {
        let left_out = page.left_out();
        page.finish(&total, &about)?;
        if 0 < left_out {
            let _ = writeln!(
                console.err,
                "{}: the last {left_out} characters are left out, as no browser shows so many",
                printable(&args.html.as_ref().expect("asked for").display().to_string()),
            );
        }
    }
    out.flush().map_err(Failure::Output)
}

/// All of standard input.
fn read_stdin(name: &str, err: &mut dyn Write) -> Result<Corpus, Error> {
    let (path, mut bytes) = (PathBuf::from(name), Vec::new());
    let stdin = io::stdin().lock();
    if stdin.is_terminal() {
        // Not a mistake, but a program that says nothing looks like one that hangs.
        let _ = writeln!(err, "reading standard input up to its end, Ctrl-D");
    }
    if let Err(source) = stdin.take(MAX_STDIN + 1).read_to_end(&mut bytes) {
        return Err(TextError::Read { path, source }.into());
    }
    if MAX_STDIN < bytes.len() as u64 {
        return Err(Error::Argument {
            place: name.into(),
            message: format!("longer than {} MiB", MAX_STDIN >> 20),
            help: "write it to a file, and give that".into(),
        });
    }
    if bytes.is_empty() {
        return Err(TextError::Empty { path }.into());
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Corpus::from(text)),
        Err(error) => {
            let (offset, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
            let line = 1 + bytes[..offset].iter().filter(|byte| **byte == b'\n').count();
            let looks = Looks::of(bytes, error.utf8_error().error_len().is_none());
            Err(TextError::NotUtf8 { path, line, offset, byte: bytes[offset], looks }.into())
        }
    }
}

/// A character with its surprise.
#[derive(Clone, Copy)]
struct Char {
    symbol: char,
    bits: f64,
    /// From 1.
    line: usize,
    /// From 1.
    column: usize,
}

/// A line, its end included.
#[derive(Clone, Default)]
struct Line {
    /// From 1.
    number: usize,
    chars: usize,
    bits: f64,
    /// As much of it as is asked for, without its end.
    text: String,
}

impl Line {
    fn bits_per_char(&self) -> f64 {
        self.bits / self.chars as f64
    }

    /// The hardest line first, of equal ones the first.
    fn by_hardness(&self, other: &Self) -> Ordering {
        let harder = other.bits_per_char().total_cmp(&self.bits_per_char());
        harder.then(self.number.cmp(&other.number))
    }

    /// The start of it for one row of a terminal.
    fn excerpt(&self) -> String {
        let start: String = self.text.chars().take(EXCERPT).collect();
        printable(&start) + if EXCERPT < self.text.chars().count() { "…" } else { "" }
    }
}

/// All of a text.
#[derive(Clone, Copy, Default)]
struct Total {
    chars: usize,
    lines: usize,
    nats: f64,
}

impl Total {
    fn bits(&self) -> f64 {
        self.nats / LN_2
    }

    fn nats_per_char(&self) -> f64 {
        self.nats / self.chars as f64
    }

    fn bits_per_char(&self) -> f64 {
        self.nats_per_char() / LN_2
    }

    fn perplexity(&self) -> f64 {
        Real::exp(self.nats_per_char())
    }
}

/// What was read by what.
struct About<'a> {
    name: &'a str,
    model: &'a TextModel,
}

/// What becomes of the scores.
trait Output {
    /// Characters of a line that are kept for it.
    fn kept(&self) -> usize {
        0
    }
    fn char(&mut self, _: Char) -> io::Result<()> {
        Ok(())
    }
    fn line(&mut self, line: &Line) -> io::Result<()>;
    fn finish(&mut self, _: &Total, _: &About<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// Hands on what a model says of a text.
struct Scored<'a> {
    output: &'a mut dyn Output,
    page: Option<&'a mut Page>,
    total: Total,
}

impl Scored<'_> {
    fn read(
        &mut self,
        model: &mut TextModel,
        text: &EncodedCorpus,
        mut meter: Option<Meter<'_>>,
    ) -> Result<Total, Failure> {
        let (mut line, mut failed) = (Line { number: 1, ..Line::default() }, None);
        let kept = self.output.kept();
        let read = model.score(&text.excerpt(0..text.len()), |symbol, nats| {
            if let Some(meter) = &mut meter
                && self.total.chars.is_multiple_of(REDRAW)
            {
                // A symbol may be less than a character, so this is the least that is done.
                meter.show(self.total.chars as f64 / text.len() as f64);
            }
            self.total.chars += 1;
            self.total.nats += nats;
            line.chars += 1;
            line.bits += nats / LN_2;
            if line.chars <= kept && symbol != '\n' {
                line.text.push(symbol);
            }
            let (bits, column) = (nats / LN_2, line.chars);
            let written = self.char(Char { symbol, bits, line: line.number, column });
            let written = match symbol {
                '\n' => written.and_then(|()| self.line(&mut line)),
                _ => written,
            };
            match written {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        drop(meter);
        read.map_err(Error::from)?;
        if let Some(error) = failed {
            return Err(Failure::Output(error));
        }
        if 0 < line.chars {
            self.line(&mut line).map_err(Failure::Output)?;
        }
        Ok(self.total)
    }

    fn char(&mut self, char: Char) -> io::Result<()> {
        if let Some(page) = &mut self.page {
            page.char(char);
        }
        self.output.char(char)
    }

    /// Ends a line, and begins the next.
    fn line(&mut self, line: &mut Line) -> io::Result<()> {
        self.total.lines += 1;
        if let Some(page) = &mut self.page {
            page.line(line);
        }
        self.output.line(line)?;
        line.text.clear();
        *line = Line {
            number: line.number + 1,
            text: std::mem::take(&mut line.text),
            ..Line::default()
        };
        Ok(())
    }
}

struct Lines<'a, W> {
    out: &'a mut W,
}

fn write_line(out: &mut impl Write, line: &Line) -> io::Result<()> {
    writeln!(out, "{:.4}\t{}\t{}", line.bits_per_char(), line.number, line.text)
}

impl<W: Write> Output for Lines<'_, W> {
    fn kept(&self) -> usize {
        usize::MAX
    }
    fn line(&mut self, line: &Line) -> io::Result<()> {
        write_line(self.out, line)
    }
}

/// The same in another order, for which all lines are held in memory.
struct Sorted<'a, W> {
    out: &'a mut W,
    lines: Vec<Line>,
}

impl<W: Write> Output for Sorted<'_, W> {
    fn kept(&self) -> usize {
        usize::MAX
    }
    fn line(&mut self, line: &Line) -> io::Result<()> {
        self.lines.push(line.clone());
        Ok(())
    }
    fn finish(&mut self, _: &Total, _: &About<'_>) -> io::Result<()> {
        self.lines.sort_unstable_by(Line::by_hardness);
        self.lines.iter().try_for_each(|line| write_line(self.out, line))
    }
}

struct Chars<'a, W> {
    out: &'a mut W,
}

impl<W: Write> Output for Chars<'_, W> {
    fn char(&mut self, char: Char) -> io::Result<()> {
        let Char { symbol, bits, line, column } = char;
        write!(self.out, "{bits:.4}\t{line}\t{column}\t")?;
        match symbol.is_control() {
            true => writeln!(self.out, "{}", symbol.escape_debug()),
            false => writeln!(self.out, "{symbol}"),
        }
    }
    fn line(&mut self, _: &Line) -> io::Result<()> {
        Ok(())
    }
}

struct Json<'a, W> {
    out: &'a mut W,
    is_first: bool,
}

impl<W: Write> Output for Json<'_, W> {
    fn line(&mut self, line: &Line) -> io::Result<()> {
        let before = if std::mem::take(&mut self.is_first) { "{\"by_line\":[" } else { "," };
        let Line { number, chars, bits, .. } = line;
        let bits_per_char = line.bits_per_char();
        let line = json!({
            "line": number, "chars": chars, "bits": bits, "bits_per_char": bits_per_char,
        });
        write!(self.out, "{before}\n{line}")
    }
    fn finish(&mut self, total: &Total, about: &About<'_>) -> io::Result<()> {
        let summary = about.model.summary();
        let rest = json!({
            "text": about.name,
            "chars": total.chars,
            "lines": total.lines,
            "bits": total.bits(),
            "nats_per_char": total.nats_per_char(),
            "bits_per_char": total.bits_per_char(),
            "perplexity": total.perplexity(),
            "opening": about.model.opening(),
            "step": summary.step,
            "digest": summary.digest,
        });
        let rest = rest.to_string();
        writeln!(self.out, "\n],{}", &rest[1..])
    }
}

struct Summary<'a, W> {
    out: &'a mut W,
    top: usize,
    /// The hardest lines so far, in order.
    hardest: Vec<Line>,
}

impl<W: Write> Output for Summary<'_, W> {
    fn kept(&self) -> usize {
        EXCERPT + 1
    }
    fn line(&mut self, line: &Line) -> io::Result<()> {
        keep_hardest(&mut self.hardest, line, self.top);
        Ok(())
    }
    fn finish(&mut self, total: &Total, about: &About<'_>) -> io::Result<()> {
        let Total { chars, lines, .. } = total;
        let name = printable(about.name);
        writeln!(
            self.out,
            "text        {name}: {}, {}",
            counted(*chars as u64, "character"),
            counted(*lines as u64, "line")
        )?;
        writeln!(
            self.out,
            "surprise    {:.1} bits: {:.4} bits a character, {:.4} nats a character, perplexity {:.3}",
            total.bits(),
            total.bits_per_char(),
            total.nats_per_char(),
            total.perplexity(),
        )?;
        writeln!(self.out, "model       {}", printable(&in_words(about.model)))?;
        if self.hardest.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "\nhardest lines\n bits/char       bits     line  text")?;
        for line in &self.hardest {
            let (bits, number) = (line.bits, line.number);
            let text = line.excerpt();
            writeln!(self.out, "{:>10.3} {bits:>10.1} {number:>8}  {text}", line.bits_per_char())?;
        }
        Ok(())
    }
}

/// The model, and how it reads.
fn in_words(model: &TextModel) -> String {
    let summary = model.summary();
    format!(
        "step {}, {} {}×{}; the first character is read after {:?}, the others after all before them \
         in their document",
        summary.step,
        summary.cell,
        summary.layers,
        summary.hidden_size,
        model.opening(),
    )
}

/// Puts a line among the `most` hardest ones, if it is one of them.
fn keep_hardest(hardest: &mut Vec<Line>, line: &Line, most: usize) {
    let place = hardest.partition_point(|other| other.by_hardness(line).is_lt());
    if place < most {
        hardest.truncate(most - 1);
        hardest.insert(place, line.clone());
    }
}
