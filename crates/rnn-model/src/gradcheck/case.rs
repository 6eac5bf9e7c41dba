//! The shapes at which every cell's gradient is checked.

use std::fmt;

use registry::{Chosen, Document, Registry};
use tensor_core::Real;
use tensor_core::rng::{self, Stream};

use super::{Entries, Finding, Gradient, Point, compare};
use crate::{Architecture, BuildLayer, Dims, Layer, LayerOptions, Model, Reduction};

/// Where the first random point starts; any other number would do.
const SEED: u64 = 1;
/// Points that are tried where a kink of the loss lies too close. A wrong gradient never passes by
/// it: that disagrees also where the loss is smooth.
const POINTS: u64 = 50;

/// A model's sizes, and the window at which its gradient is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Recurrent layers on top of each other.
    pub layers: usize,
    /// Number of different characters, V.
    pub vocab_size: usize,
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
    /// The loss that is differentiated.
    pub reduction: Reduction,
}

/// Every combination of what may go wrong on its own.
///
/// All sizes of a case differ, so that a transposed matrix cannot pass for the right one.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![Case {
        layers: 1,
        vocab_size: 7,
        hidden_size: 4,
        batch_size: 1,
        seq_len: 6,
        steps: 6,
        carried: false,
        reduction: Reduction::Sum,
    }];
    // Only a third layer has one below that is neither first nor last.
    vary(&mut cases, [1, 2, 3], |case, layers| case.layers = layers);
    vary(&mut cases, [1, 3], |case, batch_size| case.batch_size = batch_size);
    // One step; several, but fewer than there is room for; as many as there is room for.
    vary(&mut cases, [1, 5, 6], |case, steps| case.steps = steps);
    vary(&mut cases, [false, true], |case, carried| case.carried = carried);
    vary(&mut cases, [Reduction::Sum, Reduction::Mean], |case, loss| case.reduction = loss);
    cases
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
    /// `L2 V7 H4 B3 T5/6 carried mean`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layers, vocab_size, hidden_size, batch_size, seq_len, steps, .. } = self;
        write!(f, "L{layers} V{vocab_size} H{hidden_size} B{batch_size} T{steps}/{seq_len}")?;
        f.write_str(if self.carried { " carried" } else { " zero" })?;
        f.write_str(match self.reduction {
            Reduction::Sum => " sum",
            Reduction::Mean => " mean",
        })
    }
}

impl Case {
    /// A model of these sizes from layers that `layer` builds, that of characters first.
    pub fn model<T: Real>(
        &self,
        mut layer: impl FnMut(Dims, LayerOptions) -> Box<dyn Layer<T>>,
    ) -> Model<T> {
        let Self { layers, vocab_size, hidden_size, batch_size, seq_len, .. } = *self;
        let input_size = |index| if index == 0 { vocab_size } else { hidden_size };
        let dims = |index| Dims { input_size: input_size(index), hidden_size, batch_size, seq_len };
        let architecture = Architecture { vocab_size, ..Architecture::default() };
        let layers = (0..layers).map(|index| layer(dims(index), LayerOptions::default()));
        Model::new(architecture, layers.collect())
    }

    /// The window and the parameters at which `model` is checked, always the same.
    pub fn point(&self, model: &Model<f64>) -> Point {
        self.point_from(model, SEED)
    }

    fn point_from(&self, model: &Model<f64>, seed: u64) -> Point {
        let mut rng = rng::stream(seed, Stream::Init);
        Point::random(model, self.steps, self.carried, self.reduction, &mut rng)
    }

    /// Checks a model of layers that `layer` builds.
    pub fn check(
        &self,
        layer: impl FnMut(Dims, LayerOptions) -> Box<dyn Layer<f64>>,
    ) -> Vec<Finding> {
        let mut model = self.model(layer);
        let mut at = |seed| {
            let point = self.point_from(&model, seed);
            let gradient = Gradient::of(&mut model, &point);
            compare(&mut model, &point, &gradient, Entries::All)
        };
        let mut findings = at(SEED);
        let mut seeds = SEED + 1..SEED + POINTS;
        while findings.iter().any(Finding::is_at_kink)
            && let Some(seed) = seeds.next()
        {
            findings = at(seed);
        }
        findings
    }
}

/// Every cell of `cells` with its default keys.
///
/// # Panics
/// If a cell refuses its defaults.
#[track_caller]
pub fn with_default_keys(cells: &Registry<dyn BuildLayer>) -> Vec<Chosen<dyn BuildLayer>> {
    let nothing = Document::new("", "", [""; 0]);
    let choose = |name: &str| {
        let named = nothing.parse()?.part("cell", name)?;
        cells.choose(named)
    };
    let entries = cells.entries().iter();
    entries.map(|entry| choose(entry.name).expect("defaults are valid")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin_cells;

    #[test]
    fn no_two_sizes_of_a_case_are_equal() {
        for case in cases() {
            let sizes = [case.vocab_size, case.hidden_size, case.batch_size, case.seq_len];
            for (index, size) in sizes.iter().enumerate() {
                assert!(!sizes[..index].contains(size), "{case}");
            }
        }
    }

    #[test]
    fn every_registered_cell_is_chosen_with_its_own_name() {
        let cells = builtin_cells();
        let chosen = with_default_keys(&cells);
        let names: Vec<_> = chosen.iter().map(|cell| cell.name).collect();
        let registered: Vec<_> = cells.entries().iter().map(|entry| entry.name).collect();
        assert_eq!(names, registered);
    }
}
