//! `cli sample --novelty`: what of a model's samples is memorised.

use std::io::{self, Write};

use data_io::Unit;
use experiment::{
    Baseline, Copied, HeldOut, Novelty, NoveltyPlan, Parts, Sample, SplitText, TextModel, grouped,
    novelty,
};
use serde_json::{Value, json};

use super::sample::sampler;
use crate::args::SampleArgs;
use crate::failure::printable;
use crate::{Console, Failure};

/// Samples are drawn at these.
const TEMPERATURES: [f64; 4] = [0.5, 0.8, 1.0, 1.2];

/// Lengths of the runs that are counted.
const MIN_LENGTHS: [usize; 7] = [5, 10, 15, 20, 30, 50, 100];

/// Characters that are shown of a span.
const SHOWN: usize = 60;

pub fn run(
    args: &SampleArgs,
    model: &mut TextModel,
    parts: &Parts,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let text = SplitText::of_model(args.model.path(), model, args.text.clone(), parts)?;
    let plan = NoveltyPlan {
        temperatures: args.temperature.map_or(TEMPERATURES.to_vec(), |only| vec![only]),
        sampler: sampler(args),
        prime: args.prime.clone(),
        length: args.length.unwrap_or(5000),
        seed: args.seed,
    };
    let _ = writeln!(console.err, "seed {}", plan.seed);
    let found = novelty(model, &text, &plan)?;
    let written = match args.json {
        true => writeln!(console.out, "{:#}", in_json(&found, plan.seed, args)),
        false => write_table(&found, model.config().tokenizer.unit(), console.out),
    };
    written.map_err(Failure::Output)
}

fn in_json(found: &Novelty, seed: u64, args: &SampleArgs) -> Value {
    let about = |text: &str, copied: &Copied| {
        let shares: serde_json::Map<_, _> =
            MIN_LENGTHS.iter().map(|len| (len.to_string(), json!(copied.share(*len)))).collect();
        let longest = copied.longest().map(|span| {
            let words: String = text.chars().skip(span.start).take(span.len).collect();
            json!({
                "chars": span.len, "line": span.line, "character": span.found + 1, "text": words,
            })
        });
        json!({ "chars": copied.chars, "shares": shares, "longest": longest })
    };
    let sample = |sample: &Sample| {
        let mut value = about(&sample.text, &sample.copied);
        value["temperature"] = json!(sample.temperature);
        value
    };
    let Baseline { held_out, text, copied } = &found.baseline;
    let mut baseline = about(text, copied);
    baseline["of"] = match held_out {
        HeldOut::Validation => "validation text",
        HeldOut::Test => "test text",
        HeldOut::LastTenth => "last tenth of the training text",
    }
    .into();
    json!({
        "model": args.model.path().display().to_string(),
        "seed": seed,
        "training_len": found.training_len,
        "samples": found.samples.iter().map(sample).collect::<Vec<_>>(),
        "held_out": baseline,
    })
}

fn write_table(found: &Novelty, unit: Unit, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "Percent of a text that stands verbatim in the training text, in runs of so many characters or more:"
    )?;
    let lengths = MIN_LENGTHS.map(|len| format!("{len:>6}")).concat();
    writeln!(out, "{:<16}{lengths}  characters", "")?;
    let row = |name: &str, copied: &Copied, out: &mut dyn Write| {
        let shares = MIN_LENGTHS.map(|len| format!("{:>6.1}", 100.0 * copied.share(len))).concat();
        writeln!(out, "{name:<16}{shares}  {:>10}", copied.chars)
    };
    let names: Vec<_> =
        found.samples.iter().map(|sample| format!("temperature {}", sample.temperature)).collect();
    for (name, sample) in names.iter().zip(&found.samples) {
        row(name, &sample.copied, out)?;
    }
    let baseline = &found.baseline;
    let (name, about) = match baseline.held_out {
        HeldOut::Validation => ("validation text", "The validation text is read from its start."),
        HeldOut::Test => ("test text", "The test text is read from its start."),
        HeldOut::LastTenth => (
            "last tenth",
            "As no text is held out, the last tenth of the training text is looked for in the other nine.",
        ),
    };
    let has_baseline = baseline.copied.chars != 0;
    if has_baseline {
        row(name, &baseline.copied, out)?;
    }

    writeln!(out, "\nThe longest run, and where it stands first:")?;
    let texts = found.samples.iter().map(|sample| (&sample.text, &sample.copied));
    let texts = texts.chain(has_baseline.then_some((&baseline.text, &baseline.copied)));
    for (name, (text, copied)) in names.iter().map(String::as_str).chain([name]).zip(texts) {
        let Some(span) = copied.longest() else {
            writeln!(out, "{name:<16}none")?;
            continue;
        };
        let words: String = text.chars().skip(span.start).take(span.len.min(SHOWN)).collect();
        let more = if SHOWN < span.len { "…" } else { "" };
        writeln!(
            out,
            "{name:<16}{} characters, line {}, character {}: {}{more}",
            span.len,
            span.line,
            span.found + 1,
            printable(&format!("{words:?}")),
        )?;
    }
    if has_baseline {
        writeln!(
            out,
            "\n{about} What a sample at temperature 1 has more of than that is memorised; a lower \
             temperature repeats more."
        )?;
    }
    writeln!(
        out,
        "All {} {} of the training text were looked through.",
        grouped(found.training_len as u64),
        unit.many,
    )
}
