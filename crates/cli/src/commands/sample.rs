//! `cli sample`: writes text with a trained model.

use std::io::{self, BufRead, BufWriter, IsTerminal, Write};

use data_io::{Looks, TextError};
use experiment::{Error, NoRepeat, Parts, TextModel};
use rnn_model::Sampler;
use tensor_core::rng::{Rng, Stream, stream};

use crate::args::SampleArgs;
use crate::{Console, Failure, commands};

/// Text is handed on in pieces of about this many characters: soon enough to watch, seldom enough
/// not to slow the model down.
const FLUSH_EVERY: u64 = 64;

/// What an error calls it.
const STDIN: &str = "standard input";

pub fn run(args: &SampleArgs, parts: &Parts, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut model = TextModel::open(&args.model.checkpoint()?, parts)?;
    match args {
        SampleArgs { novelty: true, .. } => {
            commands::novelty::run(args, &mut model, parts, console)
        }
        SampleArgs { interactive: true, .. } => converse(args, &mut model, console),
        _ => write_samples(args, &mut model, console),
    }
}

/// How the arguments say that characters are drawn.
pub fn sampler(args: &SampleArgs) -> Sampler {
    Sampler {
        temperature: args.temperature.unwrap_or(1.0),
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
    }
}

fn write_samples(
    args: &SampleArgs,
    model: &mut TextModel,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let mut out = BufWriter::new(&mut *console.out);
    for index in 0..args.count {
        let seed = args.seed.wrapping_add(index);
        model.prime(&args.prime)?;
        let _ = writeln!(console.err, "seed {seed}");
        let mut text = Text::new(args, 500, seed);
        let end = text.write(model, &mut out).map_err(Failure::Output)?;
        if 1 < args.count && end != End::Line {
            out.write_all(b"\n").map_err(Failure::Output)?;
        }
        out.flush().map_err(Failure::Output)?;
        if end == End::Repeats {
            say_that_it_repeats(console.err);
        }
    }
    out.flush().map_err(Failure::Output)
}

fn say_that_it_repeats(err: &mut dyn Write) {
    let _ = writeln!(err, "stopped: every character that could come next repeats a span");
}

/// How a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is as long as was asked for, or what was to stop it came.
    Here,
    /// What stopped it is a line end.
    Line,
    /// There was nothing left to write but what repeats a span.
    Repeats,
}

/// A text while it is written.
struct Text<'a> {
    args: &'a SampleArgs,
    sampler: Sampler,
    /// Symbols to write at a time.
    length: u64,
    rng: Rng,
    /// What must not be said again.
    said: Option<NoRepeat>,
}

impl<'a> Text<'a> {
    fn new(args: &'a SampleArgs, length: u64, seed: u64) -> Self {
        let mut said = args.no_repeat.map(NoRepeat::new);
        said.iter_mut().for_each(|said| said.push(&args.prime));
        Self {
            args,
            sampler: sampler(args),
            length: args.length.unwrap_or(length),
            rng: stream(seed, Stream::Sample),
            said,
        }
    }

    /// Writes up to `length` symbols.
    fn write(&mut self, model: &mut TextModel, out: &mut impl Write) -> io::Result<End> {
        let longest_stop = self.args.stop.iter().map(String::len).max().unwrap_or(0);
        let (mut tail, mut how) = (String::new(), End::Here);
        for written in 1..=self.length {
            let (sampler, rng) = (&self.sampler, &mut self.rng);
            let symbol = match &self.said {
                None => Some(model.write(sampler, rng)),
                Some(said) => model.write_unless(|text| said.would_repeat(text), sampler, rng),
            };
            let Some(symbol) = symbol else {
                how = End::Repeats;
                break;
            };
            out.write_all(symbol.as_bytes())?;
            self.said.iter_mut().for_each(|said| said.push(symbol));
            tail.push_str(symbol);
            if self.args.stop.iter().any(|stop| tail.ends_with(stop.as_str())) {
                how = if tail.ends_with('\n') { End::Line } else { End::Here };
                break;
            }
            // Only as much as the longest stop is long can matter.
            let excess = tail.len().saturating_sub(longest_stop);
            tail.drain(..tail.floor_char_boundary(excess));
            if written.is_multiple_of(FLUSH_EVERY) {
                out.flush()?;
            }
        }
        let end = model.finish();
        if !self.said.as_ref().is_some_and(|said| said.would_repeat(end)) {
            out.write_all(end.as_bytes())?;
            self.said.iter_mut().for_each(|said| said.push(end));
        }
        Ok(how)
    }
}

/// Goes on from each line of standard input.
fn converse(
    args: &SampleArgs,
    model: &mut TextModel,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let mut input = io::stdin().lock();
    let by_hand = input.is_terminal();
    let mut text = Text::new(args, 200, args.seed);
    model.prime(&args.prime)?;
    let _ = writeln!(console.err, "seed {}", args.seed);
    let (mut out, mut line, mut number) = (BufWriter::new(&mut *console.out), Vec::new(), 0);
    // The first line is the prime where none is given.
    let mut is_fresh = args.prime.is_empty();
    loop {
        if by_hand {
            let _ = write!(console.err, "> ").and_then(|()| console.err.flush());
        }
        line.clear();
        let unreadable = |source| Error::Text(TextError::Read { path: STDIN.into(), source });
        if input.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            if by_hand {
                let _ = writeln!(console.err);
            }
            return Ok(());
        }
        number += 1;
        let result = typed(&line, number).and_then(|typed| {
            read_on(model, typed, is_fresh, number)?;
            text.said.iter_mut().for_each(|said| said.push(typed));
            Ok(())
        });
        match result {
            Ok(()) => is_fresh = false,
            // Somebody who types can type it again.
            Err(error) if by_hand => {
                let _ = write!(console.err, "{}", Failure::Run(error));
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        let end = text.write(model, &mut out).map_err(Failure::Output)?;
        if end != End::Line {
            out.write_all(b"\n").map_err(Failure::Output)?;
        }
        out.flush().map_err(Failure::Output)?;
        if end == End::Repeats {
            say_that_it_repeats(console.err);
        }
    }
}

/// The text of a line of standard input, without its end.
fn typed(line: &[u8], number: usize) -> Result<&str, Error> {
    let text = std::str::from_utf8(line).map_err(|error| {
        let offset = error.valid_up_to();
        let (byte, path) = (line[offset], STDIN.into());
        TextError::NotUtf8 { path, line: number, offset, byte, looks: Looks::of(line, false) }
    })?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(text.strip_suffix('\r').unwrap_or(text))
}

/// Reads a line after all that came before it, or as the prime.
fn read_on(model: &mut TextModel, typed: &str, is_fresh: bool, number: usize) -> Result<(), Error> {
    let result = match is_fresh {
        true => model.prime(typed),
        false => model.go_on(typed),
    };
    result.map_err(|error| match error {
        Error::Prime { unknown, known } => Error::Unknown {
            place: format!("{STDIN}:{number}:{}", unknown.position),
            symbol: unknown.symbol,
            others: Vec::new(),
            known,
        },
        error => error,
    })
}
