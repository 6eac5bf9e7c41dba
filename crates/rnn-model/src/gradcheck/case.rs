//! The shapes at which every cell's gradient is checked, and the cells.

use std::cmp::Ordering;
use std::fmt;

use registry::{Chosen, ConfigError, Document, Key, Registry};
use tensor_core::Real;
use tensor_core::rng::{self, Stream};

use super::{Entries, Finding, Gradient, Point, compare, compare_dual};
use crate::{Architecture, BuildLayer, Dims, Layer, LayerOptions, Model, Reduction};

/// Where the first random point starts, and the masks; any other number would do.
const SEED: u64 = 1;
/// Points to choose from.
const POINTS: u64 = 16;

/// A model's sizes and options, and the window at which its gradient is checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// What is around the layers, with the number of different characters, V.
    pub architecture: Architecture,
    /// What is done to every layer.
    pub options: LayerOptions,
    /// Recurrent layers on top of each other.
    pub layers: usize,
    /// Width of every layer's output, H.
    pub hidden_size: usize,
    /// Lanes side by side, B.
    pub batch_size: usize,
    /// Steps the model has room for, T.
    pub seq_len: usize,
    /// Steps of the window, at most `seq_len`.
    pub steps: usize,
    /// Whether the window starts from a state as if something had been read, or from zero.
    pub carried: bool,
    /// Where texts start within the window.
    pub resets: Resets,
    /// The loss that is differentiated.
    pub reduction: Reduction,
}

/// Where texts start within a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resets {
    /// Nowhere.
    Never,
    /// At the first step, in every other lane.
    First,
    /// At later steps, in no two neighbouring lanes at once.
    Later,
    /// Both.
    Both,
}

impl Resets {
    /// For each row of a window whether a text starts there, or nothing if none does.
    pub fn rows(self, steps: usize, batch_size: usize) -> Vec<bool> {
        let starts = |(t, lane): (usize, usize)| match t {
            0 => matches!(self, Self::First | Self::Both) && lane.is_multiple_of(2),
            _ => matches!(self, Self::Later | Self::Both) && (t + lane) % 3 == 2,
        };
        let rows = (0..batch_size).flat_map(|lane| (0..steps).map(move |t| (t, lane)));
        match self {
            Self::Never => Vec::new(),
            _ => rows.map(starts).collect(),
        }
    }
}

/// Every combination of what may go wrong on its own, and every option alone and with each other.
///
/// All sizes of a case differ, so that a transposed matrix cannot pass for the right one. (Tied
/// weights need two of one size.)
pub fn cases() -> Vec<Case> {
    let mut cases = vec![PLAIN];
    // Only a third layer has one below that is neither first nor last.
    vary(&mut cases, [1, 2, 3], |case, layers| case.layers = layers);
    vary(&mut cases, [1, 3], |case, batch_size| case.batch_size = batch_size);
    // One step; several, but fewer than there is room for; as many as there is room for.
    vary(&mut cases, [1, 5, 6], |case, steps| case.steps = steps);
    vary(&mut cases, [false, true], |case, carried| case.carried = carried);
    vary(&mut cases, [Reduction::Sum, Reduction::Mean], |case, loss| case.reduction = loss);

    let mut with_options = Vec::new();
    for base in bases() {
        with_options.push(base);
        with_options.extend(OPTIONS.map(|option| with(base, &[option])));
    }
    // Pairs are many, so each is put on four of the bases in turn.
    let mut turn = bases().into_iter().cycle();
    for (index, first) in OPTIONS.iter().enumerate() {
        for second in &OPTIONS[index + 1..] {
            let bases = turn.by_ref().take(4);
            with_options.extend(bases.map(|base| with(base, &[*first, *second])));
        }
    }
    // A layer hands a cell sixteen units at a time, then four, then one: with 21 it does all three.
    let architecture = Architecture { vocab_size: 3, ..PLAIN.architecture };
    let wide = Case { architecture, hidden_size: 21, batch_size: 2, seq_len: 4, steps: 4, ..PLAIN };
    with_options.extend([wide, with(wide, &[|case| case.options.layer_norm = true])]);
    for case in with_options {
        if !cases.contains(&case) {
            cases.push(case);
        }
    }
    cases
}

const PLAIN: Case = Case {
    architecture: Architecture {
        vocab_size: 7,
        embedding_size: None,
        tied: false,
        residual: false,
        dropout: 0.0,
        variational: false,
    },
    options: LayerOptions { layer_norm: false, learned_state: false, drop_connect: 0.0 },
    layers: 1,
    hidden_size: 4,
    batch_size: 1,
    seq_len: 6,
    steps: 6,
    carried: false,
    resets: Resets::Never,
    reduction: Reduction::Sum,
};

/// What the options are put on, with small and large sizes in turn.
fn bases() -> Vec<Case> {
    let sizes = [
        // L, V, H, B, T and the steps of the window.
        (2, 7, 4, 3, 6, 5),
        (1, 2, 5, 1, 4, 4),
        (3, 5, 4, 2, 3, 3),
        (2, 2, 4, 3, 5, 5),
        (2, 6, 3, 4, 1, 1),
        (1, 9, 3, 2, 7, 7),
        (2, 3, 5, 1, 6, 4),
        (3, 2, 3, 1, 5, 4),
        (1, 4, 6, 3, 2, 2),
        (2, 6, 5, 1, 4, 1),
        (2, 9, 6, 2, 4, 3),
    ];
    let base = |(index, (layers, vocab_size, hidden_size, batch_size, seq_len, steps))| Case {
        architecture: Architecture { vocab_size, ..PLAIN.architecture },
        layers,
        hidden_size,
        batch_size,
        seq_len,
        steps,
        carried: index % 3 != 2,
        reduction: if index % 2 == 0 { Reduction::Sum } else { Reduction::Mean },
        ..PLAIN
    };
    sizes.into_iter().enumerate().map(base).collect()
}

/// What can be asked of any model.
///
/// Dropout leaves out less than half, so that more than one output stays. What a normalized row makes
/// of a single one does not depend on its size: the true gradient is next to nothing, the difference
/// of numbers that are not.
const OPTIONS: [fn(&mut Case); 10] = [
    |case| case.options.layer_norm = true,
    |case| {
        case.options.learned_state = true;
        case.resets = Resets::Both;
    },
    |case| case.resets = Resets::First,
    |case| case.resets = Resets::Later,
    |case| case.options.drop_connect = 0.4,
    |case| case.architecture.embedding_size = Some(8),
    |case| {
        case.architecture.tied = true;
        case.architecture.embedding_size = Some(case.hidden_size);
    },
    |case| {
        case.architecture.residual = true;
        case.layers = case.layers.max(2);
    },
    |case| case.architecture.dropout = 0.3,
    |case| {
        case.architecture.dropout = 0.3;
        case.architecture.variational = true;
    },
];

fn with(mut case: Case, options: &[fn(&mut Case)]) -> Case {
    for option in options {
        option(&mut case);
    }
    case
}

/// Replaces each case by one for every value.
fn vary<V: Copy, const N: usize>(
    cases: &mut Vec<Case>,
    values: [V; N],
    set: impl Fn(&mut Case, V),
) {
    *cases = (cases.iter())
        .flat_map(|case| values.map(|value| (*case, value)))
        .map(|(mut case, value)| {
            set(&mut case, value);
            case
        })
        .collect();
}

impl fmt::Display for Case {
    /// `L2 V7 H4 B3 T6 norm tied, 5 steps, carried, mean`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let carried = if self.carried { "carried" } else { "zero" };
        let resets = match self.resets {
            Resets::Never => "",
            Resets::First => ", reset first",
            Resets::Later => ", reset later",
            Resets::Both => ", reset first and later",
        };
        let reduction = match self.reduction {
            Reduction::Sum => "sum",
            Reduction::Mean => "mean",
        };
        let (shape, steps) = (self.shape(), self.steps);
        write!(f, "{shape}, {steps} steps, {carried}{resets}, {reduction}")
    }
}

impl Case {
    /// The model's sizes and options, as in `L2 V7 H4 B3 T6 norm tied`.
    pub fn shape(&self) -> String {
        let Self { architecture, options, layers, hidden_size, batch_size, seq_len, .. } = self;
        let vocab_size = architecture.vocab_size;
        let sizes = format!("L{layers} V{vocab_size} H{hidden_size} B{batch_size} T{seq_len}");
        let embedding = architecture.embedding_size.map(|size| format!(" E{size}"));
        let words = [
            (options.layer_norm, " norm"),
            (options.learned_state, " learned"),
            (options.drop_connect != 0.0, " connect"),
            (architecture.tied, " tied"),
            (architecture.residual, " residual"),
            (architecture.dropout != 0.0, " dropout"),
            (architecture.variational, " variational"),
        ];
        let words = words.iter().filter(|(is_asked, _)| *is_asked).map(|(_, word)| *word);
        sizes + &embedding.unwrap_or_default() + &words.collect::<String>()
    }

    /// A model of these sizes and options from layers that `layer` builds, that of characters first.
    /// What dropout leaves out is drawn, and the same for every type of number.
    pub fn model<T: Real>(
        &self,
        mut layer: impl FnMut(Dims, LayerOptions) -> Box<dyn Layer<T>>,
    ) -> Model<T> {
        let Self { architecture, layers, hidden_size, batch_size, seq_len, .. } = *self;
        let below = architecture.embedding_size.unwrap_or(architecture.vocab_size);
        let input_size = |index| if index == 0 { below } else { hidden_size };
        let dims = |index| Dims { input_size: input_size(index), hidden_size, batch_size, seq_len };
        let layers = (0..layers).map(|index| layer(dims(index), self.options));
        let mut model = Model::new(architecture, layers.collect());
        model.draw_masks(&mut rng::stream(SEED, Stream::Dropout));
        model
    }

    /// The window and the parameters at which `model` is checked, always the same.
    pub fn point(&self, model: &mut Model<f64>) -> Point {
        self.points(model).swap_remove(0)
    }

    /// Random points. First comes the one at which the smallest gradient of any tensor is largest:
    /// one that many steps and layers have made tiny drowns in round-off, and says little.
    ///
    /// What is wrong with a gradient is not known here, and not hidden: it only has to be wrong at
    /// the point that is taken.
    fn points(&self, model: &mut Model<f64>) -> Vec<Point> {
        let mut points: Vec<_> = (SEED..SEED + POINTS)
            .map(|seed| {
                let point = Point::random(model, self, &mut rng::stream(seed, Stream::Init));
                let sizes = Gradient::of(model, &point).sizes(model);
                (sizes, point)
            })
            .collect();
        // Where the smallest are zero at both, the next ones decide.
        let by_size = |a: &f64, b: &f64| b.total_cmp(a);
        points.sort_by(|(a, _), (b, _)| compare_each(a, b, by_size));
        points.into_iter().map(|(_, point)| point).collect()
    }

    /// Checks a model of layers that `layer` builds against finite differences.
    ///
    /// Where a kink lies too close, the next point is tried. A wrong gradient never passes by that: it
    /// disagrees also where the loss is smooth.
    pub fn check(
        &self,
        layer: impl FnMut(Dims, LayerOptions) -> Box<dyn Layer<f64>>,
    ) -> Vec<Finding> {
        let mut model = self.model(layer);
        let mut findings = Vec::new();
        for point in self.points(&mut model) {
            let gradient = Gradient::of(&mut model, &point);
            findings = compare(&mut model, &point, &gradient, Entries::All);
            if !say_nothing(&findings) {
                break;
            }
        }
        findings
    }

    /// Checks a model of this cell against dual numbers.
    pub fn check_dual(&self, cell: &dyn BuildLayer) -> Vec<Finding> {
        let mut model = self.model(|dims, options| cell.f64(dims, options));
        let point = self.point(&mut model);
        let gradient = Gradient::of(&mut model, &point);
        let mut model = self.model(|dims, options| cell.dual(dims, options));
        compare_dual(&mut model, &point, &gradient, Entries::All)
    }
}

/// The first difference between two lists of one length decides.
fn compare_each(a: &[f64], b: &[f64], by: impl Fn(&f64, &f64) -> Ordering) -> Ordering {
    a.iter().zip(b).map(|(a, b)| by(a, b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Whether kinks alone keep findings from passing.
fn say_nothing(findings: &[Finding]) -> bool {
    let mut wrong = findings.iter().filter(|finding| !finding.passes()).peekable();
    wrong.peek().is_some() && wrong.all(Finding::is_at_kink)
}

/// A cell with its keys.
pub struct Variant {
    /// The cell's name and every key that is not at its default, as in `gru reset_after=false`.
    pub name: String,
    /// The cell.
    pub cell: Chosen<dyn BuildLayer>,
}

/// Every cell of `cells` with every combination of those keys that are true or false, or one of some
/// words; other keys keep their defaults. A combination that the cell refuses is left out.
///
/// # Panics
/// If a cell refuses its defaults.
#[track_caller]
pub fn variants(cells: &Registry<dyn BuildLayer>) -> Vec<Variant> {
    let mut variants = Vec::new();
    for entry in cells.entries() {
        let mut combinations = vec![Vec::new()];
        for key in entry.keys() {
            let words = other_words(&key);
            let with =
                |set: &Vec<String>, word| [&**set, &[format!("{}={word}", key.name)]].concat();
            let more: Vec<_> = words
                .iter()
                .flat_map(|word| combinations.iter().map(move |set| with(set, word)))
                .collect();
            combinations.extend(more);
        }
        for set in combinations {
            let cell = match choose(cells, entry.name, &set) {
                Ok(cell) => cell,
                Err(error) => {
                    assert!(
                        !set.is_empty(),
                        "{} refuses its defaults: {}",
                        entry.name,
                        error.message
                    );
                    continue;
                }
            };
            let name =
                std::iter::once(entry.name.to_owned()).chain(set).collect::<Vec<_>>().join(" ");
            variants.push(Variant { name, cell });
        }
    }
    variants
}

/// The values of a key that is true or false, or one of some words, but for its default.
fn other_words(key: &Key) -> Vec<String> {
    let default = key.default_text().unwrap_or_default();
    let words = match &*default {
        "true" | "false" => ["true", "false"].map(str::to_owned).to_vec(),
        _ => key.words.clone(),
    };
    words.into_iter().filter(|word| word != default.trim_matches('"')).collect()
}

fn choose(
    cells: &Registry<dyn BuildLayer>,
    name: &str,
    keys: &[String],
) -> Result<Chosen<dyn BuildLayer>, ConfigError> {
    let kind = format!("cell.kind={name}");
    let keys = keys.iter().map(|key| format!("cell.{key}"));
    let document = Document::new("", "", std::iter::once(kind).chain(keys));
    let named = document.parse()?.part("cell", name)?;
    cells.choose(named)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tensor_core::Shape;
    use tensor_core::gradcheck::Mismatch;

    use super::super::Witness;
    use super::*;
    use crate::builtin_cells;

    #[test]
    fn no_two_sizes_of_a_case_are_equal() {
        for case in cases() {
            let Architecture { vocab_size, embedding_size, tied, .. } = case.architecture;
            let sizes = [vocab_size, case.hidden_size, case.batch_size, case.seq_len];
            let embedding_size = embedding_size.filter(|_| !tied);
            let sizes: Vec<_> = sizes.into_iter().chain(embedding_size).collect();
            for (index, size) in sizes.iter().enumerate() {
                assert!(!sizes[..index].contains(size), "{case}");
            }
        }
    }

    #[test]
    fn there_are_more_than_two_hundred_shapes_and_no_case_comes_twice() {
        let cases = cases();
        let shapes: BTreeSet<_> = cases.iter().map(Case::shape).collect();
        assert!(200 <= shapes.len(), "{}", shapes.len());
        let names: BTreeSet<_> = cases.iter().map(Case::to_string).collect();
        assert_eq!(names.len(), cases.len());
    }

    #[test]
    fn a_case_names_its_sizes_and_what_is_asked_for() {
        let expected = "L1 V7 H4 B1 T6, 6 steps, zero, sum";
        assert_eq!(PLAIN.to_string(), expected);
        let case = Case {
            architecture: Architecture {
                embedding_size: Some(3),
                tied: true,
                residual: true,
                dropout: 0.3,
                variational: true,
                ..PLAIN.architecture
            },
            options: LayerOptions { layer_norm: true, learned_state: true, drop_connect: 0.2 },
            carried: true,
            resets: Resets::Both,
            reduction: Reduction::Mean,
            ..PLAIN
        };
        let expected = "L1 V7 H4 B1 T6 E3 norm learned connect tied residual dropout variational, \
                        6 steps, carried, reset first and later, mean";
        assert_eq!(case.to_string(), expected);
    }

    #[test]
    fn without_options_every_layer_count_is_tried_with_every_window() {
        let cases = cases();
        for (layers, steps) in [1, 2, 3].into_iter().flat_map(|l| [1, 5, 6].map(|t| (l, t))) {
            for (carried, reduction) in [(false, Reduction::Mean), (true, Reduction::Sum)] {
                let case = Case { layers, steps, carried, reduction, ..PLAIN };
                assert!(cases.contains(&case), "{case}");
                let case = Case { batch_size: 3, ..case };
                assert!(cases.contains(&case), "{case}");
            }
        }
    }

    #[test]
    fn another_point_is_tried_where_kinks_are_all_that_is_wrong() {
        let finding = |error, spread| Finding {
            witness: Witness::Differences,
            tensor: "b_h".into(),
            layer: Some(0),
            shape: Shape::Vector(4),
            compared: 4,
            largest: 1.0,
            worst: Mismatch { index: 2, analytic: 1.0, numeric: 1.0, error, spread },
        };
        let (right, kink, wrong) = (finding(0.0, 0.0), finding(0.1, 0.1), finding(0.1, 0.0));
        assert!(say_nothing(&[right.clone(), kink.clone()]));
        assert!(!say_nothing(&[right.clone(), kink, wrong]));
        assert!(!say_nothing(&[right]));
    }

    #[test]
    fn options_are_tried_in_one_to_three_layers_with_either_loss_and_any_state() {
        let layers: BTreeSet<_> = bases().iter().map(|case| case.layers).collect();
        assert_eq!(layers, BTreeSet::from([1, 2, 3]));
        // Losses in turn, and two states carried for one that is zero.
        assert!(bases().windows(2).all(|cases| cases[0].reduction != cases[1].reduction));
        let carried = |cases: &[Case]| cases.iter().filter(|case| case.carried).count();
        assert!(bases().windows(3).all(|cases| carried(cases) == 2));
    }

    #[test]
    fn texts_start_in_some_lanes_and_not_in_others() {
        for case in cases() {
            let rows = case.resets.rows(case.steps, case.batch_size);
            let of = |kind: fn(usize) -> bool| {
                let mut steps =
                    rows.iter().enumerate().map(|(row, starts)| (row % case.steps, *starts));
                steps.any(|(t, starts)| kind(t) && starts)
            };
            let (first, later) = (of(|t| t == 0), of(|t| 0 < t));
            let (at_first, at_later) = match case.resets {
                Resets::Never => (false, false),
                Resets::First => (true, false),
                Resets::Later => (false, true),
                Resets::Both => (true, true),
            };
            assert_eq!(first, at_first, "{case}");
            let enough_steps = if case.batch_size == 1 { 3 } else { 2 };
            assert_eq!(later, at_later && enough_steps <= case.steps, "{case}");
            assert!(case.batch_size == 1 || rows.contains(&false) || rows.is_empty(), "{case}");
            assert_eq!(rows.is_empty(), case.resets == Resets::Never, "{case}");
            // No two neighbouring lanes at once.
            for (row, lane_after) in rows.iter().zip(rows.iter().skip(case.steps)) {
                assert!(!(*row && *lane_after), "{case}");
            }
        }
    }

    #[test]
    fn every_registered_cell_has_all_its_variants() {
        let variants = variants(&builtin_cells());
        let names: Vec<_> = variants.iter().map(|variant| &*variant.name).collect();
        let expected = [
            "vanilla",
            "vanilla activation=relu",
            "lstm",
            "lstm peepholes=true",
            "lstm coupled=true",
            "lstm peepholes=true coupled=true",
            "gru",
            "gru reset_after=false",
            "mgu",
            "min_gru",
            "min_lstm",
            "mlstm",
            "indrnn",
            "indrnn activation=tanh",
        ];
        assert_eq!(names, expected);
    }
}
