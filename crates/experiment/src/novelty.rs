//! Memorised or made up: how much of what a model writes stands verbatim in its training text.
//!
//! A language repeats itself, so some of any text stands in any other. What the model copies shows next
//! to a text that it never saw: where a sample has more and longer copies than that, they are
//! memorised.

use data_io::TextError;
use rnn_model::Sampler;
use tensor_core::rng::{Stream, stream};

use crate::{Copied, Error, SplitText, TextModel, find_copies};

/// Which samples to look at.
#[derive(Clone, Debug)]
pub struct NoveltyPlan {
    /// A sample is drawn at each.
    pub temperatures: Vec<f64>,
    /// How else it is drawn.
    pub sampler: Sampler,
    /// What the model reads first.
    pub prime: String,
    /// Symbols of a sample.
    pub length: u64,
    /// Of the random numbers of each sample.
    pub seed: u64,
}

/// What stands verbatim in the training text.
#[derive(Clone, Debug)]
pub struct Novelty {
    /// The samples, by temperature.
    pub samples: Vec<Sample>,
    /// A text that the model did not write, for comparison.
    pub baseline: Baseline,
    /// Symbols of the training text.
    pub training_len: usize,
}

/// A text by the model.
#[derive(Clone, Debug)]
pub struct Sample {
    /// How bold the model was.
    pub temperature: f64,
    /// What it wrote.
    pub text: String,
    /// What of it stands in the training text.
    pub copied: Copied,
}

/// A text of the same kind as the training text, as long as a sample if there is enough of it.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// Where it is from.
    pub held_out: HeldOut,
    /// The text.
    pub text: String,
    /// What of it stands in the training text, or in the rest of it.
    pub copied: Copied,
}

/// Where a text is from that a model can be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldOut {
    /// The start of the validation text.
    Validation,
    /// The start of the test text, where there is no validation text.
    Test,
    /// The start of the last tenth of the training text, where nothing is held out. It is looked for in
    /// the other nine.
    LastTenth,
}

/// Draws samples, and finds what of them stands in the training text of `text`, and as much of a text
/// that the model did not write.
///
/// # Errors
/// If the prime has a character that the vocabulary does not have, or the text cannot be read any more.
pub fn novelty(
    model: &mut TextModel,
    text: &SplitText,
    plan: &NoveltyPlan,
) -> Result<Novelty, Error> {
    let drawn: Vec<String> = plan
        .temperatures
        .iter()
        .map(|temperature| draw(model, plan, *temperature))
        .collect::<Result<_, _>>()?;
    let training = text.train();
    let length = usize::try_from(plan.length).unwrap_or(usize::MAX);
    let start_of = |part: data_io::Excerpt<'_>| -> Result<String, TextError> {
        let ids = part.part(0..part.len().min(length)).to_ids()?;
        Ok(part.tokenizer().decode(&ids))
    };
    let (held_out, piece) = match () {
        _ if !text.val().is_empty() => (HeldOut::Validation, start_of(text.val())?),
        _ if !text.test().is_empty() => (HeldOut::Test, start_of(text.test())?),
        _ => (HeldOut::LastTenth, String::new()),
    };
    let mut passages: Vec<&str> = drawn.iter().map(String::as_str).collect();
    passages.push(&piece);
    let mut copied = find_copies(&passages, &training)?;
    let of_piece = copied.pop().expect("as many as passages");
    let baseline = match held_out {
        HeldOut::Validation | HeldOut::Test => Baseline { held_out, text: piece, copied: of_piece },
        HeldOut::LastTenth => {
            let border = training.len() - training.len() / 10;
            let piece = start_of(training.part(border..training.len()))?;
            let copied = find_copies(&[&piece], &training.part(0..border))?.remove(0);
            Baseline { held_out, text: piece, copied }
        }
    };
    let sample = |((temperature, text), copied)| Sample { temperature, text, copied };
    let samples = plan.temperatures.iter().copied().zip(drawn).zip(copied).map(sample).collect();
    Ok(Novelty { samples, baseline, training_len: training.len() })
}

/// The very text that `cli sample` writes with this seed and temperature.
fn draw(model: &mut TextModel, plan: &NoveltyPlan, temperature: f64) -> Result<String, Error> {
    let sampler = Sampler { temperature, ..plan.sampler };
    let mut rng = stream(plan.seed, Stream::Sample);
    model.prime(&plan.prime)?;
    let mut text = String::new();
    for _ in 0..plan.length {
        text.push_str(model.write(&sampler, &mut rng));
    }
    text.push_str(model.finish());
    Ok(text)
}
