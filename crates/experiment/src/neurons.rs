//! What the units of a model do while it reads: which simple features of a text they follow, how often
//! their gates are shut or open, and how far back what was read still matters.
//!
//! After Karpathy, Johnson & Fei-Fei, "Visualizing and understanding recurrent networks", 2015.

use std::ops::Range;

use data_io::{Excerpt, TextError, Utf8Stream};
use rnn_model::{Model, Reduction, Window};

use crate::config::Mode;
use crate::evaluator::EVAL_STEPS;
use crate::{Config, Dtype, build_model};

/// What is known of a place in a text without a model: see [`Unit::correlations`].
pub const FEATURES: [&str; 6] = [
    "inside quotes",
    "position in the line",
    "after white space",
    "depth of brackets",
    "digit",
    "capital letter",
];

/// Symbols of the passage.
const PASSAGE: usize = 1000;

/// Symbols read before the passage, where there are as many: enough for a state to settle.
const BEFORE_PASSAGE: usize = 200;

/// A distance counts when the losses of so many symbols tell of it.
const ENOUGH: usize = 30;

/// Symbols that are read, and what a reading may cost in parameters times symbols: a few seconds.
const SYMBOLS: Range<usize> = 2_000..20_000;
const COST: usize = 4_000_000_000;

/// How the units of a model behave on a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Neurons {
    /// Symbols of the text that were read for it.
    pub symbols: usize,
    /// Every unit, layer after layer from below.
    pub units: Vec<Unit>,
    /// A passage, symbol by symbol. A byte in the middle of a character is empty, and the character
    /// stands at its last byte.
    pub passage: Vec<String>,
    /// Every gate of every layer; empty for cells without gates.
    pub gates: Vec<Gate>,
    /// What a symbol costs when all before a distance is cut off, by growing distance.
    pub reach: Vec<Reach>,
}

/// A hidden unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Its layer from below, from 0.
    pub layer: usize,
    /// Its place in the layer, from 0.
    pub index: usize,
    /// Pearson's correlation of its output with each of [`FEATURES`] over all symbols read; 0 where
    /// one of both never changes.
    pub correlations: [f64; FEATURES.len()],
    /// Its output after each symbol of the passage.
    pub activations: Vec<f32>,
}

/// A gate of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// Its layer from below, from 0.
    pub layer: usize,
    /// Its name in the cell's equations.
    pub name: &'static str,
    /// For each unit the share of symbols at which it is left-saturated, below 0.1, and
    /// right-saturated, above 0.9.
    pub units: Vec<[f64; 2]>,
}

/// What is lost when a model does not know what stands further back than a distance.
#[derive(Clone, Debug, PartialEq)]
pub struct Reach {
    /// Symbols that are known, the last one included; both ends belong to it.
    pub distance: [usize; 2],
    /// Mean loss beyond that of the same symbols when all before is known, in nats.
    pub excess: f64,
    /// Standard error of that mean.
    pub error: f64,
    /// Symbols it is the mean over.
    pub symbols: usize,
}

/// A pass over the text cut into pieces of so many symbols, each read from the initial state, tells
/// of all shorter distances at once; but of the short ones once a piece only. So there are three.
const PIECES: [(usize, &[[usize; 2]]); 3] = [
    (8, &[[1, 1], [2, 2], [3, 4], [5, 8]]),
    (64, &[[9, 16], [17, 32], [33, 64]]),
    (512, &[[65, 128], [129, 256], [257, 512]]),
];

/// Reads the start of `text` with the weights `theta`.
///
/// # Errors
/// If the text cannot be read any more.
pub(crate) fn watch<T: Dtype>(
    config: &Config,
    theta: &[T],
    text: &Excerpt<'_>,
) -> Result<Neurons, TextError> {
    let most = (COST / theta.len().max(1)).clamp(SYMBOLS.start, SYMBOLS.end);
    let n = text.len().min(most);
    let (mut ids, mut starts) = (vec![0; n], vec![false; n]);
    if 0 < n {
        text.reader(1).read(0, 0, &mut ids, &mut starts)?;
    }
    let shown = shown(text, &ids);
    let features = features(&shown, &starts);
    let passage = passage(&shown);

    let vocab_size = text.tokenizer().vocab_size();
    let mut model = build_model::<T>(config, Mode::Read, vocab_size, 1, EVAL_STEPS);
    model.prepare(theta);
    let mut sums = Vec::new();
    let mut gates: Vec<Gate> = Vec::new();
    let mut activations: Vec<Vec<f32>> = Vec::new();
    let whole = read(&mut model, theta, &ids, &starts, |model, places| {
        let mut unit = 0;
        for outputs in model.outputs() {
            for output in outputs.columns() {
                if unit == sums.len() {
                    sums.push(Sums::default());
                    activations.push(Vec::with_capacity(passage.len()));
                }
                for (place, value) in places.clone().zip(output) {
                    sums[unit].add(value.to_f64(), &features[place]);
                    if passage.contains(&place) {
                        activations[unit].push(value.to_f64() as f32);
                    }
                }
                unit += 1;
            }
        }
        let mut gate = 0;
        for (layer, values) in model.gates().enumerate() {
            for (name, values) in values {
                if gate == gates.len() {
                    gates.push(Gate { layer, name, units: vec![[0.0; 2]; values.ncols()] });
                }
                for (share, values) in gates[gate].units.iter_mut().zip(values.columns()) {
                    let values = values.iter().map(|value| value.to_f64());
                    for value in values {
                        share[0] += f64::from(u8::from(value < 0.1));
                        share[1] += f64::from(u8::from(0.9 < value));
                    }
                }
                gate += 1;
            }
        }
    });
    for share in gates.iter_mut().flat_map(|gate| &mut gate.units).flatten() {
        *share /= n as f64;
    }
    let hidden_size = config.model.hidden_size.as_usize();
    let units = sums.iter().zip(activations).enumerate().map(|(unit, (sums, activations))| Unit {
        layer: unit / hidden_size,
        index: unit % hidden_size,
        correlations: sums.correlations(),
        activations,
    });
    Ok(Neurons {
        symbols: n,
        units: units.collect(),
        passage: shown[passage].to_vec(),
        gates,
        reach: reach(&mut model, theta, &ids, &starts, &whole),
    })
}

/// Reads `ids` from the initial state, shows every window with the places of its symbols, and returns
/// the loss of each symbol but the first, in nats.
fn read<T: Dtype>(
    model: &mut Model<T>,
    theta: &[T],
    ids: &[u32],
    starts: &[bool],
    mut see: impl FnMut(&Model<T>, Range<usize>),
) -> Vec<f64> {
    let mut state = model.zero_state();
    let mut losses = Vec::with_capacity(ids.len());
    for start in (0..ids.len()).step_by(EVAL_STEPS) {
        let places = start..ids.len().min(start + EVAL_STEPS);
        let window = Window { x: &ids[places.clone()], resets: &starts[places.clone()] };
        model.read(theta, window, &state);
        model.carry(&mut state);
        // What follows the last symbol is not known; it is given any, and its loss left out.
        let known = &ids[places.start + 1..ids.len().min(places.end + 1)];
        let targets: Vec<u32> = known.iter().copied().chain([0]).take(places.len()).collect();
        model.loss(&targets, Reduction::Sum);
        losses.extend(model.losses()[..known.len()].iter().map(|loss| loss.to_f64()));
        see(model, places);
    }
    losses
}

/// What losses gain over `whole`, those of the text in one piece, when it is cut.
fn reach<T: Dtype>(
    model: &mut Model<T>,
    theta: &[T],
    ids: &[u32],
    starts: &[bool],
    whole: &[f64],
) -> Vec<Reach> {
    let mut reach = Vec::new();
    for (piece, distances) in PIECES {
        if whole.len() < piece {
            break;
        }
        let cut: Vec<bool> =
            starts.iter().enumerate().map(|(at, start)| *start || at % piece == 0).collect();
        let losses = read(model, theta, ids, &cut, |_, _| {});
        for distance in distances {
            let known = distance[0] - 1..distance[1];
            // The first piece is the same in both.
            let places = (piece..losses.len()).filter(|at| known.contains(&(at % piece)));
            let excess: Vec<f64> = places.map(|at| losses[at] - whole[at]).collect();
            if ENOUGH <= excess.len() {
                let n = excess.len() as f64;
                let mean = excess.iter().sum::<f64>() / n;
                let squares: f64 = excess.iter().map(|excess| (excess - mean).powi(2)).sum();
                reach.push(Reach {
                    distance: *distance,
                    excess: mean,
                    error: (squares / (n - 1.0) / n).sqrt(),
                    symbols: excess.len(),
                });
            }
        }
    }
    reach
}

/// Symbols as text.
fn shown(text: &Excerpt<'_>, ids: &[u32]) -> Vec<String> {
    let mut stream = Utf8Stream::default();
    let show = |id: &u32| {
        let mut text_of_it = String::new();
        stream.push(text.tokenizer().bytes(*id), &mut text_of_it);
        text_of_it
    };
    ids.iter().map(show).collect()
}

/// Where the passage is: at the start of a line if one starts soon.
fn passage(shown: &[String]) -> Range<usize> {
    let before = shown.len().saturating_sub(PASSAGE).min(BEFORE_PASSAGE);
    let line = shown[..before].iter().rposition(|text| text.ends_with('\n'));
    let start = line.map_or(before, |end| end + 1);
    start..shown.len().min(start + PASSAGE)
}

/// The [`FEATURES`] after each symbol.
fn features(shown: &[String], starts: &[bool]) -> Vec<[f64; FEATURES.len()]> {
    let mut place = Place::default();
    let feature = |(text, starts): (&String, &bool)| {
        if *starts {
            place = Place::default();
        }
        text.chars().for_each(|c| place.read(c));
        place.features()
    };
    shown.iter().zip(starts).map(feature).collect()
}

/// A place in a text, as somebody knows it who counts.
#[derive(Default)]
struct Place {
    is_quoted: bool,
    column: u32,
    depth: u32,
    last: Option<char>,
}

impl Place {
    fn read(&mut self, c: char) {
        match c {
            '"' | '“' | '”' | '„' | '«' | '»' | '「' | '」' => {
                self.is_quoted = !self.is_quoted
            }
            '(' | '[' | '{' => self.depth += 1,
            ')' | ']' | '}' => self.depth = self.depth.saturating_sub(1),
            // A quotation that is never closed ends with its paragraph.
            '\n' if self.last == Some('\n') => self.is_quoted = false,
            _ => {}
        }
        self.column = if c == '\n' { 0 } else { self.column + 1 };
        self.last = Some(c);
    }

    fn features(&self) -> [f64; FEATURES.len()] {
        let is = |what: fn(char) -> bool| f64::from(u8::from(self.last.is_some_and(what)));
        [
            f64::from(u8::from(self.is_quoted)),
            f64::from(self.column),
            is(char::is_whitespace),
            f64::from(self.depth),
            is(char::is_numeric),
            is(char::is_uppercase),
        ]
    }
}

/// What the correlations of a unit with the features are made of: sums over symbols.
#[derive(Default)]
struct Sums {
    n: f64,
    a: f64,
    aa: f64,
    f: [f64; FEATURES.len()],
    ff: [f64; FEATURES.len()],
    af: [f64; FEATURES.len()],
}

impl Sums {
    fn add(&mut self, a: f64, features: &[f64; FEATURES.len()]) {
        self.n += 1.0;
        self.a += a;
        self.aa += a * a;
        for (index, f) in features.iter().enumerate() {
            self.f[index] += f;
            self.ff[index] += f * f;
            self.af[index] += a * f;
        }
    }

    fn correlations(&self) -> [f64; FEATURES.len()] {
        let variance = |sum: f64, squares: f64| self.n * squares - sum * sum;
        std::array::from_fn(|index| {
            let (a, f) = (variance(self.a, self.aa), variance(self.f[index], self.ff[index]));
            // What rounding leaves of a variance of zero.
            let is_constant = a <= 1e-9 * self.n * self.aa || f <= 1e-9 * self.n * self.ff[index];
            let covariance = self.n * self.af[index] - self.a * self.f[index];
            if is_constant { 0.0 } else { covariance / (a.sqrt() * f.sqrt()) }
        })
    }
}

#[cfg(test)]
mod tests {
    use data_io::Corpus;
    use registry::Document;

    use super::*;
    use crate::Parts;

    /// The features after each character of a text.
    fn column(text: &str, feature: &str) -> Vec<f64> {
        let shown: Vec<_> = text.chars().map(String::from).collect();
        let index = FEATURES.iter().position(|name| *name == feature).expect("a feature");
        let features = features(&shown, &vec![false; shown.len()]);
        features.iter().map(|features| features[index]).collect()
    }

    #[test]
    fn features_say_what_stands_in_the_text() {
        let check = |text, feature, expected: &[u32]| {
            let expected: Vec<_> = expected.iter().map(|value| f64::from(*value)).collect();
            assert_eq!(column(text, feature), expected, "{feature} of {text:?}");
        };
        check("a\"b\"c", "inside quotes", &[0, 1, 1, 0, 0]);
        check("„b“ «", "inside quotes", &[1, 1, 0, 0, 1]);
        check("\"b\n\nc", "inside quotes", &[1, 1, 1, 0, 0]);
        check("ab\nc", "position in the line", &[1, 2, 0, 1]);
        check("a b", "after white space", &[0, 1, 0]);
        check("({})))(", "depth of brackets", &[1, 2, 1, 0, 0, 0, 1]);
        check("a7B", "digit", &[0, 1, 0]);
        check("a7BЖ", "capital letter", &[0, 0, 1, 1]);
    }

    #[test]
    fn a_document_starts_without_a_past() {
        let shown: Vec<_> = "(\"a".chars().map(String::from).collect();
        let features = features(&shown, &[false, false, true]);
        assert_eq!(features[1][..4], [1.0, 2.0, 0.0, 1.0]);
        assert_eq!(features[2][..4], [0.0, 1.0, 0.0, 0.0]);
    }

    /// Units made to follow a feature, its opposite, nothing, and half of it.
    #[test]
    fn correlations_find_a_planted_unit() {
        let quotes = column("say \"this\" or \"that\" (7) Now", "inside quotes");
        let text: Vec<_> = "say \"this\" or \"that\" (7) Now".chars().map(String::from).collect();
        let features = features(&text, &vec![false; text.len()]);
        let of = |unit: &dyn Fn(usize) -> f64| {
            let mut sums = Sums::default();
            features.iter().enumerate().for_each(|(at, features)| sums.add(unit(at), features));
            sums.correlations()
        };
        let follows = of(&|at| 0.3 * quotes[at] - 0.7);
        assert!((follows[0] - 1.0).abs() < 1e-12, "{follows:?}");
        assert!(follows[1..].iter().all(|other| other.abs() < 0.8), "{follows:?}");
        assert!((of(&|at| 1.0 - quotes[at])[0] + 1.0).abs() < 1e-12);
        assert_eq!(of(&|_| 0.1), [0.0; FEATURES.len()]);
        // By hand: of 0, 0, 1, 1 and 0, 1, 0, 1 nothing, of 0, 0, 1, 1 and 0, 0, 0, 1 1/√3.
        let mut sums = Sums::default();
        for (a, f) in [(0.0, [0.0, 0.0]), (0.0, [1.0, 0.0]), (1.0, [0.0, 0.0]), (1.0, [1.0, 1.0])] {
            sums.add(a, &[f[0], f[1], 0.0, 0.0, 0.0, 0.0]);
        }
        let by_hand = sums.correlations();
        assert!(by_hand[0].abs() < 1e-12 && (by_hand[1] - 3f64.sqrt().recip()).abs() < 1e-12);
    }

    #[test]
    fn a_passage_starts_with_a_line_behind_the_first_symbols() {
        let long: Vec<_> = "0123456\n89".chars().cycle().take(5000).map(String::from).collect();
        assert_eq!(passage(&long), 198..1198);
        let short: Vec<_> = "ab\ncd".chars().map(String::from).collect();
        assert_eq!(passage(&short), 0..5);
        assert_eq!(passage(&[]), 0..0);
    }

    /// What a model of three units does on a text of letters and digits, with weights that `plant` puts
    /// in the place of nothing: it is called with each tensor's name, its values and the vocabulary.
    fn watched(cell: &str, plant: impl Fn(&str, &mut [f64], &[String])) -> Neurons {
        let config = format!("[data]\npath = \"t\"\n[model]\nhidden_size = 3\ncell = \"{cell}\"");
        let document = Document::new("c.toml".to_owned(), &config, [""; 0]);
        let config = Config::parse(&document, &Parts::builtin()).expect("a config");
        let letters =
            (0..3000).map(|n| if n % 7 == n % 5 { '4' } else { char::from(b'a' + (n % 11) as u8) });
        let corpus = Corpus::of_documents([letters.collect::<String>()]);
        let tokenizer = config.tokenizer.fit(&corpus).expect("a vocabulary");
        let corpus = corpus.encode(tokenizer).expect("known symbols");
        let symbols = corpus.tokenizer().symbols();
        let layout = build_model::<f64>(&config, Mode::Read, symbols.len(), 1, 1).layout().clone();
        let mut theta = vec![0.0; layout.len()];
        for segment in layout.segments() {
            plant(segment.tensor, &mut theta[segment.range.clone()], &symbols);
        }
        watch(&config, &theta, &corpus.excerpt(0..corpus.len())).expect("readable")
    }

    /// The first unit reads digits alone, the second one its neighbour's state.
    fn plant_memory(strength: f64) -> impl Fn(&str, &mut [f64], &[String]) {
        move |tensor, values, symbols| match tensor {
            "w_xh" => {
                for (id, symbol) in symbols.iter().enumerate() {
                    values[3 * id] = if symbol == "4" { 2.0 } else { 0.0 };
                    values[3 * id + 2] = (id as f64).sin();
                }
            }
            // From unit 0 and 1 to unit 1.
            "w_hh" => (values[1], values[4]) = (strength, 0.8 * strength),
            "w_hy" => values.iter_mut().enumerate().for_each(|(at, w)| *w = (at as f64).cos()),
            _ => {}
        }
    }

    #[test]
    fn a_planted_unit_is_found_and_its_memory_measured() {
        let digit = FEATURES.iter().position(|name| *name == "digit").expect("a feature");
        let neurons = watched("vanilla", plant_memory(1.0));
        assert_eq!((neurons.symbols, neurons.units.len(), neurons.passage.len()), (3000, 3, 1000));
        assert!((neurons.units[0].correlations[digit] - 1.0).abs() < 1e-9);
        assert!(neurons.units[2].correlations[digit].abs() < 0.9);
        assert_eq!(neurons.gates, []);
        for (symbol, activation) in neurons.passage.iter().zip(&neurons.units[0].activations) {
            assert_eq!(*activation, if symbol == "4" { 2f32.tanh() } else { 0.0 }, "{symbol}");
        }

        let distances: Vec<_> = neurons.reach.iter().map(|reach| reach.distance[1]).collect();
        assert_eq!(distances, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
        let excess = |at: usize| neurons.reach[at].excess.abs();
        assert!(1e-3 < excess(0) && excess(7) < 1e-9, "it fades: {:?}", neurons.reach);
        let forgetful = watched("vanilla", plant_memory(0.0));
        assert!(forgetful.reach.iter().all(|reach| reach.excess == 0.0), "nothing is remembered");
    }

    #[test]
    fn gates_are_saturated_where_their_biases_say_so() {
        for (bias, expected) in [(0.0, [0.0, 0.0]), (9.0, [0.0, 1.0]), (-9.0, [1.0, 0.0])] {
            let neurons = watched("lstm", |tensor, values, _| {
                if tensor == "b_h" {
                    values.fill(bias);
                }
            });
            let names: Vec<_> = neurons.gates.iter().map(|gate| gate.name).collect();
            assert_eq!(names, ["i", "f", "o"]);
            assert!(neurons.gates.iter().all(|gate| gate.units == [expected; 3]), "{bias}");
        }
    }

    #[test]
    fn an_empty_text_and_one_of_a_symbol_are_no_trouble() {
        let config = "[data]\npath = \"t\"\n[model]\nhidden_size = 3";
        let document = Document::new("c.toml".to_owned(), config, [""; 0]);
        let config = Config::parse(&document, &Parts::builtin()).expect("a config");
        let corpus = Corpus::of_documents(["ab"]);
        let tokenizer = config.tokenizer.fit(&corpus).expect("a vocabulary");
        let corpus = corpus.encode(tokenizer).expect("known symbols");
        let theta = vec![0.1; build_model::<f64>(&config, Mode::Read, 2, 1, 1).layout().len()];
        for len in [0, 1] {
            let neurons = watch(&config, &theta, &corpus.excerpt(0..len)).expect("readable");
            assert_eq!(
                (neurons.symbols, neurons.passage.len(), neurons.reach.len()),
                (len, len, 0)
            );
        }
    }
}
