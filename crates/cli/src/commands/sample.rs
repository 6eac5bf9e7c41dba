//! `cli sample`: writes text with a trained model.

use std::io::{BufWriter, Write};

use experiment::{Parts, TextModel};
use rnn_model::Sampler;
use tensor_core::rng::{Stream, stream};

use crate::args::SampleArgs;
use crate::{Console, Failure};

/// Text is handed on in pieces of about this many characters: soon enough to watch, seldom enough
/// not to slow the model down.
const FLUSH_EVERY: u64 = 64;

pub fn run(args: &SampleArgs, parts: &Parts, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut model = TextModel::open(&args.model, parts)?;
    let sampler = Sampler { temperature: args.temperature, top_k: args.top_k, top_p: args.top_p };
    let mut rng = stream(args.seed, Stream::Sample);
    let mut out = BufWriter::new(&mut *console.out);
    for _ in 0..args.count {
        model.prime(&args.prime)?;
        let mut tail = String::new();
        for written in 1..=args.length {
            let symbol = model.write(&sampler, &mut rng);
            out.write_all(symbol.as_bytes()).map_err(Failure::Output)?;
            if let Some(stop) = &args.stop {
                tail.push_str(symbol);
                if tail.ends_with(stop.as_str()) {
                    break;
                }
                // Only as much as `stop` is long can matter.
                let excess = tail.len().saturating_sub(stop.len());
                tail.drain(..tail.floor_char_boundary(excess));
            }
            if written.is_multiple_of(FLUSH_EVERY) {
                out.flush().map_err(Failure::Output)?;
            }
        }
        out.write_all(model.finish().as_bytes()).map_err(Failure::Output)?;
        if 1 < args.count {
            out.write_all(b"\n").map_err(Failure::Output)?;
        }
    }
    out.flush().map_err(Failure::Output)
}
