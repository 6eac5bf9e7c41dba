//! What a page says of a run, gathered from its directory.

use std::path::Path;

use data_io::{TextError, Unit};
use experiment::{
    Config, Copied, Error, HeldOut, Neurons, NoveltyPlan, Parts, Record, SplitText, Summary,
    TextModel, Yardsticks, novelty,
};
use rnn_model::Sampler;

use crate::curves::Curves;
use crate::{Copies, LENGTHS};

/// A text shorter than this shows little of a unit; then the training text is taken.
const ENOUGH: usize = 200;

/// Samples are drawn at these to see what they repeat.
const TEMPERATURES: [f64; 4] = [0.5, 0.8, 1.0, 1.2];

/// Symbols of such a sample.
const SAMPLE_LEN: u64 = 2000;

/// A run and what there is to say of it.
#[derive(Debug)]
pub struct Run {
    /// The directory's name.
    pub name: String,
    /// Its logs.
    pub record: Record,
    /// What its losses are for each of.
    pub unit: Unit,
    /// The same as curves.
    pub curves: Curves,
    /// Keys and values of its `config.toml`, in their order.
    pub config: Vec<(String, String)>,
    /// Its newest model; or why there is none.
    pub model: Result<Model, String>,
    /// What its units do on its text; or why that is not known.
    pub neurons: Result<(Passage, Neurons), String>,
    /// Nats per symbol that its text holds on average, where that is known.
    pub entropy: Option<f64>,
    /// What can be reached without a neural network: names, and nats per symbol on the validation
    /// text.
    pub yardsticks: Vec<(String, f64)>,
    /// What its samples repeat of the training text, where that was found out.
    pub copies: Vec<Copies>,
}

/// The newest model of a run.
#[derive(Clone, Debug)]
pub struct Model {
    /// What it is.
    pub summary: Summary,
    /// Digest of the text it was trained on.
    pub text: String,
}

/// Which part of a text its units were watched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// What they were trained on.
    Training,
    /// What they never saw.
    Validation,
}

impl Run {
    /// Gathers what a run directory has. It may still be written to.
    ///
    /// # Errors
    /// If it is no run directory, or a log in it cannot be read. A model or a text that cannot be had
    /// is no error: the page says so.
    pub fn open(path: &Path, parts: &Parts) -> Result<Self, Error> {
        let record = Record::open(path)?;
        let name = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let name = name.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let (model, neurons, entropy, copies) = match TextModel::open(path, parts) {
            Err(error) => {
                let reason = format!("{}: {error}", error.place());
                (Err(reason), Err("There is no model to look into.".to_owned()), None, vec![])
            }
            Ok(mut model) => {
                let text = read_text(&record, &model, parts);
                let entropy = text.as_ref().ok().and_then(SplitText::entropy);
                let copies = text.as_ref().map_or(vec![], |text| copies(&mut model, text));
                let neurons = text.and_then(|text| watch(&model, &text));
                let text = model.text_digest().to_owned();
                (Ok(Model { summary: model.summary().clone(), text }), neurons, entropy, copies)
            }
        };
        let is_of_text = |yardsticks: &Yardsticks| match &model {
            Ok(model) => model.text == yardsticks.ground.text,
            Err(_) => true,
        };
        let yardsticks = Yardsticks::read(path).filter(is_of_text);
        let yardsticks = yardsticks.map_or(vec![], |yardsticks| yardsticks.named());
        let (curves, unit) = (Curves::of(&record), record.unit(parts));
        let config = std::fs::read_to_string(path.join("config.toml")).unwrap_or_default();
        let config = settings(&config);
        Ok(Self { name, record, unit, curves, config, model, neurons, entropy, yardsticks, copies })
    }

    /// The steps its config asks for, where it says so.
    pub fn planned_steps(&self) -> Option<f64> {
        let steps = self.config.iter().find(|(key, _)| key == "train.steps")?;
        steps.1.replace('_', "").parse().ok()
    }
}

/// The text of the run, if it is the one the model was trained on.
fn read_text(record: &Record, model: &TextModel, parts: &Parts) -> Result<SplitText, String> {
    let config = Config::parse(&record.config, parts)
        .map_err(|error| format!("{}: {error}. So its text cannot be found.", error.place()))?;
    let cannot = |error: TextError| {
        format!(
            "{}: {error}. The units are shown on the text of the run: put it back, or set data.path in the run's config.toml to where it is now.",
            error.path().display()
        )
    };
    let text = SplitText::read(&config, Some(model.new_tokenizer())).map_err(cannot)?;
    if text.digest().map_err(cannot)? != model.text_digest() {
        return Err("The text is no longer the one the model was trained on, so its units are not shown on it.".into());
    }
    Ok(text)
}

fn watch(model: &TextModel, text: &SplitText) -> Result<(Passage, Neurons), String> {
    let (passage, excerpt) = match text.val() {
        val if ENOUGH <= val.len() => (Passage::Validation, val),
        _ => (Passage::Training, text.train()),
    };
    let neurons = model.neurons(&excerpt);
    neurons.map(|neurons| (passage, neurons)).map_err(|error| error.to_string())
}

/// What the model repeats of its training text, and beside it a text that it did not write. Nothing where
/// the text cannot be read any more.
fn copies(model: &mut TextModel, text: &SplitText) -> Vec<Copies> {
    let plan = NoveltyPlan {
        temperatures: TEMPERATURES.to_vec(),
        sampler: Sampler::default(),
        prime: String::new(),
        length: SAMPLE_LEN,
        seed: 42,
    };
    let Ok(found) = novelty(model, text, &plan) else { return vec![] };
    let of = |name: String, text: &str, copied: &Copied| {
        let longest = copied.longest().map(|span| {
            let symbols = text.chars().skip(span.start).take(span.len);
            (symbols.collect(), span.line)
        });
        Copies { name, shares: LENGTHS.map(|len| copied.share(len)), longest }
    };
    let samples = found.samples.iter();
    let mut copies: Vec<_> = samples
        .map(|sample| {
            of(format!("temperature {}", sample.temperature), &sample.text, &sample.copied)
        })
        .collect();
    let baseline = match found.baseline.held_out {
        HeldOut::Validation => "for comparison: the validation text",
        HeldOut::Test => "for comparison: the test text",
        HeldOut::LastTenth => "for comparison: the last tenth of the training text, in the rest",
    };
    copies.push(of(baseline.into(), &found.baseline.text, &found.baseline.copied));
    copies
}

/// The keys and values of a config, tables taken apart.
fn settings(config: &str) -> Vec<(String, String)> {
    fn collect(prefix: &str, table: &toml::Table, into: &mut Vec<(String, String)>) {
        for (key, value) in table {
            let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                toml::Value::Table(table) => collect(&key, table, into),
                value => into.push((key, value.to_string())),
            }
        }
    }
    let mut settings = Vec::new();
    collect("", &config.parse().unwrap_or_default(), &mut settings);
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_keys_with_their_tables() {
        let config =
            "[train]\nsteps = 3\n[model.init]\nkind = \"normal\"\n[[transform]]\nlimit = 5.0\n";
        let settings = settings(config);
        let shown: Vec<_> =
            settings.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let expected =
            ["train.steps = 3", "model.init.kind = \"normal\"", "transform = [{ limit = 5.0 }]"];
        assert_eq!(shown, expected);
    }
}
