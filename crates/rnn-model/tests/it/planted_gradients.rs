//! Wrong gradients, planted on purpose: a checker is worth what it catches.
//!
//! A vanilla layer is written here a second time, plainly and with no kernel in common with the
//! library. Without a bug it agrees with the library; with any of them the checker has to find the
//! tensors that the bug spoils, and no others. `cargo test -p rnn-model planted -- --nocapture`
//! shows each bug with the worst error that exposed it.

use std::collections::BTreeSet;
use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis, Slice};
use rnn_model::gradcheck::{Case, Entries, Finding, Gradient, Point, Resets, cases, compare};
use rnn_model::{
    Architecture, BuildLayer, Dims, Grads, Input, Layer, LayerOptions, LayerWindow, Model,
    Reduction, cell,
};
use tensor_core::pool::Pool;
use tensor_core::{Shape, Tensor};

/// What is wrong with a [`Plain`] layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// The gradient that comes from the next step is forgotten.
    NoNextStep,
    /// The slope of tanh is taken for `1 - h`.
    WrongSlope,
    /// The slope of tanh is taken at the state before the step.
    SlopeBeforeStep,
    /// `W_hh` in place of its transpose takes the gradient a step back.
    TransposedRecurrence,
    /// `W_xh` in place of its transpose takes it a layer down, where both widths are the same.
    TransposedInput,
    /// `dW_hh` is transposed.
    TransposedProduct,
    /// The last step is skipped.
    NoLastStep,
    /// The first step is skipped.
    NoFirstStep,
    /// The gradient is cut off every three steps.
    TruncatedEarly,
    /// The bias is counted twice.
    BiasTwice,
    /// `h[t]` in place of `h[t-1]` makes `dW_hh`.
    StateAfterStep,
    /// The gradient by the state before the window is not passed out.
    StateGradientLost,
    /// The gradient by the state before the window is added to what was there.
    StateGradientAdded,
    /// Only the first lane has a gradient.
    FirstLaneOnly,
    /// Every lane takes the gradient of the first one a step back.
    LanesMixed,
    /// The gradient by the inputs is left zero.
    InputGradientLost,
    /// The gradient by the inputs is added to what was there.
    InputGradientAdded,
    /// Gradients are added to what was there.
    Added,
    /// The gradient starts where that of the window before ended.
    LeftOver,
    /// The bias sums over all steps there is room for, also those of an earlier, longer window.
    StaleTape,
    /// Without the gradient by the state, the product of the second step is saved as well.
    SavedTooMuch,
    /// The largest entry of `dW_hh` is off by a millionth.
    OffByAMillionth,
    /// One entry is not a number.
    NotANumber,
    /// The gradient passes a reset, to the step before it and to the state before the window.
    ResetLeaks,
    /// At a reset, the state that was left behind makes `dW_hh`.
    ResetProduct,
    /// The learned initial state has no gradient.
    InitialForgotten,
    /// Only the first lane counts for it.
    InitialOfFirstLane,
    /// Only texts that start with the window count for it.
    InitialOfFirstStep,
}

/// As [`IN_THE_LAYER`], where texts start within a window.
const AT_RESETS: &[(Bug, &[&str])] = &[
    // From there it goes on to the texts that started before.
    (Bug::ResetLeaks, &["b_h", "h_0", "state h", "w_hh", "w_xh"]),
    (Bug::ResetProduct, &["w_hh"]),
    (Bug::InitialForgotten, &["h_0"]),
    (Bug::InitialOfFirstLane, &["h_0"]),
    (Bug::InitialOfFirstStep, &["h_0"]),
];

const RECURRENT: &[&str] = &["b_h", "state h", "w_hh", "w_xh"];

/// Each bug with the tensors it spoils.
const IN_THE_LAYER: &[(Bug, &[&str])] = &[
    (Bug::NoNextStep, RECURRENT),
    (Bug::WrongSlope, RECURRENT),
    (Bug::SlopeBeforeStep, RECURRENT),
    (Bug::TransposedRecurrence, RECURRENT),
    (Bug::TransposedInput, RECURRENT),
    (Bug::TransposedProduct, &["w_hh"]),
    (Bug::NoLastStep, RECURRENT),
    (Bug::NoFirstStep, RECURRENT),
    (Bug::TruncatedEarly, RECURRENT),
    (Bug::BiasTwice, &["b_h"]),
    (Bug::StateAfterStep, &["w_hh"]),
    (Bug::StateGradientLost, &["state h"]),
    (Bug::StateGradientAdded, &["state h"]),
    (Bug::FirstLaneOnly, &["b_h", "w_hh", "w_xh"]),
    (Bug::LanesMixed, RECURRENT),
    (Bug::InputGradientLost, RECURRENT),
    (Bug::InputGradientAdded, RECURRENT),
    (Bug::Added, &["b_h", "w_hh", "w_xh"]),
    (Bug::LeftOver, RECURRENT),
    (Bug::StaleTape, &["b_h"]),
    // Where the gradient by the state is asked for, it is right.
    (Bug::SavedTooMuch, &["b_h", "w_hh", "w_xh"]),
    (Bug::OffByAMillionth, &["w_hh"]),
    (Bug::NotANumber, &["b_h"]),
];

#[test]
fn every_bug_in_a_layer_is_caught_where_it_is() {
    // A layer knows nothing of the reduction.
    let cases = || plain_cases().into_iter().filter(|case| case.reduction == Reduction::Sum);
    for (bug, spoilt) in IN_THE_LAYER {
        let found = Found::among(cases(), |case| case.check(Plain::with(*bug)));
        found.check(&format!("{bug:?}"), spoilt);
    }
}

#[test]
fn every_bug_at_a_reset_is_caught_where_it_is() {
    for (bug, spoilt) in AT_RESETS {
        let found = Found::among(reset_cases(), |case| case.check(Plain::with(*bug)));
        found.check(&format!("{bug:?}"), spoilt);
    }
}

/// The cases without any option.
fn plain_cases() -> Vec<Case> {
    let mut cases = cases();
    cases.retain(|case| {
        is_plain(case) && case.options == LayerOptions::default() && case.resets == Resets::Never
    });
    cases
}

/// The cases with texts that start within the window, and from a state that is learned or not.
fn reset_cases() -> Vec<Case> {
    let mut cases = cases();
    cases.retain(|case| {
        let LayerOptions { learned_state, .. } = case.options;
        is_plain(case)
            && case.options == LayerOptions { learned_state, ..LayerOptions::default() }
            && case.resets != Resets::Never
    });
    cases
}

/// Whether nothing is around the layers.
fn is_plain(case: &Case) -> bool {
    let Architecture { vocab_size, .. } = case.architecture;
    case.architecture == Architecture { vocab_size, ..Architecture::default() }
}

/// What is wrong around a layer of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Around {
    Nothing,
    /// What goes around a layer takes no gradient down.
    ResidualForgotten,
    /// Outputs are left out on the way there, and not on the way back.
    MaskForgotten,
    /// The outputs that stay are scaled on the way there, and not on the way back.
    MaskNotScaled,
    /// The largest entry of the first tensor is off by a millionth.
    OffByAMillionth,
}

#[test]
fn a_residual_without_its_gradient_is_caught_below_it() {
    let mut cases = cases();
    cases.retain(|case| {
        let Architecture { vocab_size, .. } = case.architecture;
        let plain = Architecture { vocab_size, residual: true, ..Architecture::default() };
        case.architecture == plain && case.options == LayerOptions::default()
    });
    for bug in [Around::Nothing, Around::ResidualForgotten] {
        let found = Found::among(cases.clone(), |case| case.check(bug.with(cell::Lstm::default())));
        let spoilt = ["b_h", "state c", "state h", "w_hh", "w_xh"];
        found.check(&format!("{bug:?}"), if bug == Around::Nothing { &[] } else { &spoilt });
    }
}

#[test]
fn a_mask_that_is_not_the_same_on_the_way_back_is_caught() {
    for bug in [Around::MaskForgotten, Around::MaskNotScaled] {
        let found = Found::among(plain_cases(), |case| case.check(bug.with(cell::Gru::default())));
        let spoilt = ["b_h", "b_hh", "state h", "w_hh", "w_xh"];
        found.check(&format!("{bug:?}"), &spoilt);
    }
}

/// Their kinks are a reason to try another point, and no excuse.
#[test]
fn one_entry_off_by_a_millionth_is_caught_in_every_case_of_a_cell_with_kinks() {
    let relu = cell::Activation::Relu;
    let bug = Around::OffByAMillionth;
    let among = |check: &dyn Fn(&Case) -> Vec<Finding>| {
        let found = Found::among(plain_cases(), check);
        assert_eq!(found.caught, found.cases);
        found.check("OffByAMillionth", &["w_xh"]);
    };
    among(&|case| case.check(bug.with(cell::Vanilla { activation: relu })));
    among(&|case| case.check(bug.with(cell::IndRnn { activation: relu })));
    among(&|case| case.check(bug.with(cell::MinGru {})));
}

impl Around {
    fn with(self, cell: impl BuildLayer) -> impl Fn(Dims, LayerOptions) -> Box<dyn Layer<f64>> {
        move |dims, options| {
            let layer = cell.f64(dims, options);
            Box::new(Wrapped { layer, around: self, output: Array2::zeros((0, 0)) })
        }
    }

    /// What becomes of the output of a row and unit.
    fn mask(self, (row, unit): (usize, usize)) -> f64 {
        match self {
            Self::MaskForgotten | Self::MaskNotScaled if (row + unit).is_multiple_of(3) => 0.0,
            Self::MaskForgotten | Self::MaskNotScaled => 1.5,
            _ => 1.0,
        }
    }

    /// What becomes of its gradient.
    fn mask_back(self, at: (usize, usize)) -> f64 {
        match self {
            Self::MaskNotScaled => self.mask(at).min(1.0),
            _ => 1.0,
        }
    }
}

/// A layer with something wrong [`Around`] it.
struct Wrapped {
    layer: Box<dyn Layer<f64>>,
    around: Around,
    /// `[batch_size·steps, hidden_size]`
    output: Array2<f64>,
}

impl Layer<f64> for Wrapped {
    fn dims(&self) -> Dims {
        self.layer.dims()
    }

    fn tensors(&self) -> Vec<Tensor> {
        self.layer.tensors()
    }

    fn states(&self) -> &'static [&'static str] {
        self.layer.states()
    }

    fn tape_len(&self) -> usize {
        self.layer.tape_len()
    }

    fn prepare(&mut self, theta: &[f64], x: Input<'_, f64>, pool: &mut Pool) {
        self.layer.prepare(theta, x, pool);
    }

    fn forward(
        &mut self,
        theta: &[f64],
        window: LayerWindow<'_, f64>,
        state: &[f64],
        pool: &mut Pool,
    ) {
        self.layer.forward(theta, window, state, pool);
        self.output = self.layer.output().to_owned();
        for (at, value) in self.output.indexed_iter_mut() {
            *value *= self.around.mask(at);
        }
    }

    fn output(&self) -> ArrayView2<'_, f64> {
        self.output.view()
    }

    fn carry(&self, state: &mut [f64]) {
        self.layer.carry(state);
    }

    fn backward(
        &mut self,
        theta: &[f64],
        window: LayerWindow<'_, f64>,
        dy: ArrayView2<'_, f64>,
        grads: Grads<'_, f64>,
        pool: &mut Pool,
    ) {
        let mut masked = dy.to_owned();
        for (at, dy) in masked.indexed_iter_mut() {
            *dy *= self.around.mask_back(at);
        }
        let Grads { theta: d_theta, x: mut dx, state } = grads;
        let x = dx.as_mut().map(|dx| dx.view_mut());
        let grads = Grads { theta: &mut *d_theta, x, state };
        self.layer.backward(theta, window, masked.view(), grads, pool);

        if let (Around::ResidualForgotten, Some(mut dx)) = (self.around, dx) {
            // The model adds it.
            dx -= &dy;
        }
        if self.around == Around::OffByAMillionth {
            let first = &mut d_theta[..self.layer.tensors()[0].shape.len()];
            let largest = first.iter_mut().max_by(|a, b| a.abs().total_cmp(&b.abs()));
            *largest.expect("entries") *= 1.0 + 1e-6;
        }
    }
}

#[test]
fn tied_weights_that_count_as_one_of_both_alone_are_caught() {
    let mut cases = cases();
    cases.retain(|case| case.architecture.tied);
    for forgotten in ["w_e", "w_hy"] {
        let found = Found::among(cases.clone(), |case| {
            let (mut model, point, gradient) = true_gradient(case);
            let wrong = counted_apart(case, &model, &point, gradient, forgotten);
            compare(&mut model, &point, &wrong, Entries::All)
        });
        found.check(&format!("Tied without {forgotten}"), &["w_e"]);
    }
    // Both together are the gradient, so they were taken apart rightly.
    let right = Found::among(cases, |case| {
        let (mut model, point, gradient) = true_gradient(case);
        let right = counted_apart(case, &model, &point, gradient, "");
        compare(&mut model, &point, &right, Entries::All)
    });
    right.check("Tied", &[]);
}

/// `gradient` with that of the tied weights from a model in which they are two tensors of the same
/// values, and `forgotten` has none.
fn counted_apart(
    case: &Case,
    tied: &Model<f64>,
    point: &Point,
    mut gradient: Gradient,
    forgotten: &str,
) -> Gradient {
    let Architecture { vocab_size, .. } = case.architecture;
    let architecture = Architecture { tied: false, ..case.architecture };
    let mut apart = Case { architecture, ..*case }
        .model(|dims, options| cell::Vanilla::default().f64(dims, options));
    let w_e = range(tied, "w_e");
    let mut theta = vec![0.0; apart.layout().len()];
    // All that comes before the output is in the same place.
    let (head, b_y) = (range(&apart, "w_hy"), range(&apart, "b_y"));
    theta[..head.start].copy_from_slice(&point.theta[..head.start]);
    theta[b_y].copy_from_slice(&point.theta[range(tied, "b_y")]);
    for (index, value) in theta[head.clone()].iter_mut().enumerate() {
        let (unit, character) = (index / vocab_size, index % vocab_size);
        *value = point.theta[w_e.start + character * case.hidden_size + unit];
    }
    let found = Gradient::of(&mut apart, &Point { theta, ..point.clone() }).theta;
    for (index, value) in gradient.theta[w_e.clone()].iter_mut().enumerate() {
        let (character, unit) = (index / case.hidden_size, index % case.hidden_size);
        let of_input = if forgotten == "w_e" { 0.0 } else { found[w_e.start + index] };
        let of_output = found[head.start + unit * vocab_size + character];
        *value = of_input + if forgotten == "w_hy" { 0.0 } else { of_output };
    }
    gradient
}

/// What is wrong outside the layers, done to a true gradient.
type Spoil = fn(&mut Gradient, &Case, &Model<f64>, &Point);

/// Each bug with the tensors it spoils.
const OUTSIDE: &[(&str, Spoil, &[&str])] = &[
    (
        "SumOverLanes",
        |gradient, case, _, _| scale(gradient, case.batch_size as f64),
        &["b_h", "b_y", "state h", "w_hh", "w_hy", "w_xh"],
    ),
    (
        "MeanOverSteps",
        |gradient, case, _, _| {
            if case.reduction == Reduction::Sum {
                scale(gradient, 1.0 / case.steps as f64);
            }
        },
        &["b_h", "b_y", "state h", "w_hh", "w_hy", "w_xh"],
    ),
    (
        "SoftmaxWithoutTarget",
        |gradient, case, model, point| {
            let weight = point.reduction.weight(case.steps, case.batch_size);
            for target in &point.y {
                gradient.theta[range(model, "b_y")][*target as usize] += weight;
            }
        },
        &["b_y"],
    ),
    (
        "HeadBiasForgotten",
        |gradient, _, model, _| gradient.theta[range(model, "b_y")].fill(0.0),
        &["b_y"],
    ),
    (
        "HeadTransposed",
        |gradient, case, model, _| {
            let d_w_hy = &mut gradient.theta[range(model, "w_hy")];
            let (rows, cols) = (case.hidden_size, case.architecture.vocab_size);
            let right = d_w_hy.to_vec();
            for (index, value) in d_w_hy.iter_mut().enumerate() {
                *value = right[index % rows * cols + index / rows];
            }
        },
        &["w_hy"],
    ),
];

#[test]
fn every_bug_outside_the_layers_is_caught_where_it_is() {
    for (name, spoil, spoilt) in OUTSIDE {
        let found = Found::among(plain_cases(), |case| {
            let (mut model, point, mut gradient) = true_gradient(case);
            spoil(&mut gradient, case, &model, &point);
            compare(&mut model, &point, &gradient, Entries::All)
        });
        found.check(name, spoilt);
    }
}

/// What is wrong with one entry.
type Distort = fn(f64) -> f64;

const OF_ONE_ENTRY: &[(&str, Distort)] = &[
    ("off by a millionth", |value| value * (1.0 + 1e-6)),
    ("NaN", |_| f64::NAN),
    ("infinite", |_| f64::INFINITY),
    ("of the other sign", |value| -value),
];

#[test]
fn one_entry_off_by_a_millionth_or_not_finite_is_caught_in_every_tensor() {
    let case = Case { carried: true, ..*plain_cases().last().expect("cases") };
    let (mut model, point, right) = true_gradient(&case);
    let findings = compare(&mut model, &point, &right, Entries::All);
    let tensors = model.layout().segments().to_vec();
    let n_parameters = tensors.len();
    assert_eq!(findings.len(), n_parameters + model.states().len());
    for (index, right_finding) in findings.iter().enumerate() {
        assert!(right_finding.passes(), "{right_finding}");
        for (what, distort) in OF_ONE_ENTRY {
            let mut gradient = right.clone();
            let values = match tensors.get(index) {
                Some(segment) => &mut gradient.theta[segment.range.clone()],
                None => {
                    let (_, range) = model.states().swap_remove(index - n_parameters);
                    &mut gradient.state[range]
                }
            };
            let largest = (0..values.len())
                .max_by(|a, b| values[*a].abs().total_cmp(&values[*b].abs()))
                .expect("entries");
            values[largest] = distort(values[largest]);

            let findings = compare(&mut model, &point, &gradient, Entries::All);
            let wrong: Vec<_> = (findings.iter().enumerate())
                .filter(|(_, finding)| !finding.passes())
                .map(|(tensor, finding)| (tensor, finding.worst.index))
                .collect();
            assert_eq!(wrong, [(index, largest)], "{what}");
        }
    }
}

#[test]
fn the_plain_layer_without_a_bug_is_true_and_agrees_with_the_library() {
    for case in [plain_cases(), reset_cases()].concat() {
        let (mut library, point, found) = true_gradient(&case);
        let mut plain = case.model(Plain::with(Bug::None));
        let expected = Gradient::of(&mut plain, &point);
        assert_close(&found.theta, &expected.theta, &case);
        assert_close(&found.state, &expected.state, &case);
        let in_order = |model: &Model<f64>| model.logits().iter().copied().collect::<Vec<_>>();
        assert_close(&in_order(&library), &in_order(&plain), &case);
        let carry = |model: &Model<f64>| {
            let mut state = point.state.clone();
            model.carry(&mut state);
            state
        };
        assert_close(&carry(&library), &carry(&plain), &case);

        for model in [&mut library, &mut plain] {
            for finding in compare(model, &point, &expected, Entries::All) {
                assert!(finding.passes(), "{case}: {finding}");
            }
        }
    }
}

/// Equal to a hundred-millionth of what the checker allows.
#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], case: &Case) {
    let largest = expected.iter().fold(0.0, |max: f64, value| max.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-12 * largest, "{case}: {found}, not {expected}");
    }
    assert_eq!(found.len(), expected.len());
}

/// The library's own model, with its gradient where it is checked.
fn true_gradient(case: &Case) -> (Model<f64>, Point, Gradient) {
    let mut model = case.model(|dims, options| cell::Vanilla::default().f64(dims, options));
    let point = case.point(&mut model);
    let gradient = Gradient::of(&mut model, &point);
    (model, point, gradient)
}

fn range(model: &Model<f64>, tensor: &str) -> Range<usize> {
    let segments = model.layout().segments();
    segments.iter().find(|segment| segment.tensor == tensor).expect("a tensor").range.clone()
}

fn scale(gradient: &mut Gradient, factor: f64) {
    for value in gradient.theta.iter_mut().chain(&mut gradient.state) {
        *value *= factor;
    }
}

/// What the checker found of one bug.
struct Found {
    /// Cases that were checked.
    cases: usize,
    /// Cases in which anything was wrong.
    caught: usize,
    /// The tensors that were wrong in any case.
    spoilt: BTreeSet<String>,
    /// The worst of all, and where.
    worst: Option<(Finding, Case)>,
}

impl Found {
    fn among(cases: impl IntoIterator<Item = Case>, check: impl Fn(&Case) -> Vec<Finding>) -> Self {
        let mut found = Self { cases: 0, caught: 0, spoilt: BTreeSet::new(), worst: None };
        for case in cases {
            let mut wrong = check(&case);
            wrong.retain(|finding| !finding.passes());
            found.cases += 1;
            found.caught += usize::from(!wrong.is_empty());
            found.spoilt.extend(wrong.iter().map(|finding| finding.tensor.clone()));
            let worst = found.worst.take().into_iter();
            found.worst = worst
                .chain(wrong.into_iter().map(|finding| (finding, case)))
                .max_by(|(a, _), (b, _)| a.worst.error.total_cmp(&b.worst.error));
        }
        found
    }

    #[track_caller]
    fn check(self, bug: &str, spoilt: &[&str]) {
        match &self.worst {
            None => println!("{bug:20} in none of {} cases", self.cases),
            Some((worst, case)) => {
                println!("{bug:20} in {} of {} cases; at {case}: {worst}", self.caught, self.cases);
            }
        }
        assert!(self.spoilt.iter().eq(spoilt), "{bug} was found in {:?}", self.spoilt);
    }
}

/// `h[t] = tanh(x[t]·W_xh + h[t-1]·W_hh + b_h)` by the definition, one number at a time.
struct Plain {
    dims: Dims,
    learned_state: bool,
    bug: Bug,
    /// The state before the window, then after each step, `[(1 + steps)·batch_size, hidden_size]`:
    /// all lanes of a step, then those of the next.
    h: Array2<f64>,
    /// The states after each step as a layer orders them, lane after lane.
    output: Array2<f64>,
    /// Gradient by the pre-activations, `[seq_len·batch_size, hidden_size]`.
    da: Array2<f64>,
    /// Gradient by `h[t]` from later steps, `[batch_size, hidden_size]`.
    dh_next: Array2<f64>,
}

impl Plain {
    fn with(bug: Bug) -> impl Fn(Dims, LayerOptions) -> Box<dyn Layer<f64>> {
        move |dims, LayerOptions { learned_state, .. }| {
            let Dims { hidden_size, batch_size, seq_len, .. } = dims;
            let zeros = |rows| Array2::zeros((rows, hidden_size));
            let (da, dh_next) = (zeros(seq_len * batch_size), zeros(batch_size));
            Box::new(Self { dims, learned_state, bug, h: zeros(0), output: zeros(0), da, dh_next })
        }
    }

    /// Where a layer has the row that is here step after step.
    fn outside(&self, row: usize, rows: usize) -> usize {
        let Dims { batch_size, .. } = self.dims;
        row % batch_size * (rows / batch_size) + row / batch_size
    }

    /// Entry `k` of the state that the step of `row` starts from. `h_0` is empty if that is zero.
    fn before(&self, row: usize, k: usize, h_0: &[f64], resets: &[bool]) -> f64 {
        if starts(resets, self.outside(row, resets.len())) {
            h_0.get(k).copied().unwrap_or_default()
        } else {
            self.h[(row, k)]
        }
    }
}

impl Layer<f64> for Plain {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn tensors(&self) -> Vec<Tensor> {
        let Dims { input_size, hidden_size, .. } = self.dims;
        let always = [
            ("w_xh", Shape::Matrix(input_size, hidden_size)),
            ("b_h", Shape::Vector(hidden_size)),
            ("w_hh", Shape::Matrix(hidden_size, hidden_size)),
        ];
        let initial = self.learned_state.then_some(("h_0", Shape::Vector(hidden_size)));
        always.into_iter().chain(initial).map(Tensor::from).collect()
    }

    fn states(&self) -> &'static [&'static str] {
        &["h"]
    }

    fn tape_len(&self) -> usize {
        self.h.len() + self.da.len() + self.dh_next.len()
    }

    fn forward(
        &mut self,
        theta: &[f64],
        window: LayerWindow<'_, f64>,
        state: &[f64],
        _pool: &mut Pool,
    ) {
        let x = window.x;
        let Dims { input_size, hidden_size, batch_size, .. } = self.dims;
        let (w_xh, rest) = theta.split_at(input_size * hidden_size);
        let (b_h, rest) = rest.split_at(hidden_size);
        let (w_hh, h_0) = rest.split_at(hidden_size * hidden_size);

        self.h = Array2::zeros((batch_size + x.rows(), hidden_size));
        for (h, state) in self.h.iter_mut().zip(state) {
            *h = *state;
        }
        for row in 0..x.rows() {
            for j in 0..hidden_size {
                let mut a = b_h[j];
                for i in 0..input_size {
                    a += entry(&x, self.outside(row, x.rows()), i) * w_xh[i * hidden_size + j];
                }
                for k in 0..hidden_size {
                    a += self.before(row, k, h_0, window.resets) * w_hh[k * hidden_size + j];
                }
                self.h[(row + batch_size, j)] = a.tanh();
            }
        }
        self.output = Array2::zeros((x.rows(), hidden_size));
        for row in 0..x.rows() {
            let outside = self.outside(row, x.rows());
            self.output.row_mut(outside).assign(&self.h.row(row + batch_size));
        }
    }

    fn output(&self) -> ArrayView2<'_, f64> {
        self.output.view()
    }

    fn carry(&self, state: &mut [f64]) {
        let last = self.h.nrows() - self.dims.batch_size;
        let h = self.h.slice_axis(Axis(0), Slice::from(last..));
        for (state, h) in state.iter_mut().zip(h) {
            *state = *h;
        }
    }

    fn backward(
        &mut self,
        theta: &[f64],
        window: LayerWindow<'_, f64>,
        dy: ArrayView2<'_, f64>,
        grads: Grads<'_, f64>,
        _pool: &mut Pool,
    ) {
        let x = window.x;
        let bug = self.bug;
        let Dims { input_size, hidden_size, batch_size, .. } = self.dims;
        let steps = x.rows() / batch_size;
        let (w_xh, rest) = theta.split_at(input_size * hidden_size);
        let (w_hh, h_0) = rest[hidden_size..].split_at(hidden_size * hidden_size);
        let mut d_h_0 = vec![0.0; h_0.len()];
        let mut d_w_xh = vec![0.0; w_xh.len()];
        let mut d_w_hh = vec![0.0; w_hh.len()];
        let mut d_b_h = vec![0.0; hidden_size];
        let mut dx = Array2::<f64>::zeros((x.rows(), input_size));

        self.da.slice_axis_mut(Axis(0), Slice::from(..x.rows())).fill(0.0);
        if bug != Bug::LeftOver {
            self.dh_next.fill(0.0);
        }
        for t in (0..steps).rev() {
            if bug == Bug::NoLastStep && t + 1 == steps || bug == Bug::NoFirstStep && t == 0 {
                continue;
            }
            let mut dh_prev = Array2::<f64>::zeros((batch_size, hidden_size));
            for (lane, j) in (0..batch_size).flat_map(|b| (0..hidden_size).map(move |j| (b, j))) {
                let row = t * batch_size + lane;
                let outside = self.outside(row, x.rows());
                let dh = match bug {
                    Bug::NoNextStep => dy[(outside, j)],
                    Bug::TruncatedEarly if t % 3 == 2 => dy[(outside, j)],
                    Bug::LanesMixed => dy[(outside, j)] + self.dh_next[(0, j)],
                    _ => dy[(outside, j)] + self.dh_next[(lane, j)],
                };
                let h = self.h[(row + batch_size, j)];
                let da = match bug {
                    Bug::WrongSlope => dh * (1.0 - h),
                    Bug::SlopeBeforeStep => dh * (1.0 - self.h[(row, j)] * self.h[(row, j)]),
                    _ => dh * (1.0 - h * h),
                };

                let counted = if bug == Bug::FirstLaneOnly && lane != 0 { 0.0 } else { da };
                self.da[(row, j)] = counted;
                for i in 0..input_size {
                    d_w_xh[i * hidden_size + j] += entry(&x, outside, i) * counted;
                    let transposed = bug == Bug::TransposedInput && input_size == hidden_size;
                    let at = if transposed { j * hidden_size + i } else { i * hidden_size + j };
                    dx[(outside, i)] += w_xh[at] * da;
                }
                for k in 0..hidden_size {
                    let (kj, jk) = (k * hidden_size + j, j * hidden_size + k);
                    let before = match bug {
                        Bug::StateAfterStep => self.h[(row + batch_size, k)],
                        Bug::ResetProduct => self.h[(row, k)],
                        _ => self.before(row, k, h_0, window.resets),
                    };
                    let at = if bug == Bug::TransposedProduct { jk } else { kj };
                    d_w_hh[at] += before * counted;
                    let at = if bug == Bug::TransposedRecurrence { jk } else { kj };
                    dh_prev[(lane, k)] += w_hh[at] * da;
                }
            }
            for lane in (0..batch_size).filter(|lane| starts(window.resets, lane * steps + t)) {
                let is_counted = match bug {
                    Bug::InitialForgotten => false,
                    Bug::InitialOfFirstLane => lane == 0,
                    Bug::InitialOfFirstStep => t == 0,
                    _ => true,
                };
                for (d_h_0, dh) in d_h_0.iter_mut().zip(dh_prev.row(lane)).filter(|_| is_counted) {
                    *d_h_0 += dh;
                }
                if bug != Bug::ResetLeaks {
                    dh_prev.row_mut(lane).fill(0.0);
                }
            }
            if bug == Bug::SavedTooMuch && t == 1 && grads.state.is_none() {
                continue;
            }
            self.dh_next = dh_prev;
        }

        let rows = if bug == Bug::StaleTape { self.da.nrows() } else { x.rows() };
        for ((_, j), da) in self.da.indexed_iter().filter(|((row, _), _)| *row < rows) {
            d_b_h[j] += if bug == Bug::BiasTwice { 2.0 * da } else { *da };
        }
        match bug {
            Bug::OffByAMillionth => {
                let largest = d_w_hh.iter_mut().max_by(|a, b| a.abs().total_cmp(&b.abs()));
                *largest.expect("entries") *= 1.0 + 1e-6;
            }
            Bug::NotANumber => d_b_h[1] = f64::NAN,
            _ => {}
        }
        for (out, grad) in grads.theta.iter_mut().zip([d_w_xh, d_b_h, d_w_hh, d_h_0].concat()) {
            *out = if bug == Bug::Added { *out + grad } else { grad };
        }
        if let Some(mut out) = grads.x {
            match bug {
                Bug::InputGradientLost => out.fill(0.0),
                Bug::InputGradientAdded => out += &dx,
                _ => out.assign(&dx),
            }
        }
        for (out, dh) in grads.state.into_iter().flatten().zip(&self.dh_next) {
            match bug {
                Bug::StateGradientLost => {}
                Bug::StateGradientAdded => *out += dh,
                _ => *out = *dh,
            }
        }
    }
}

/// Whether a text starts at `row`.
fn starts(resets: &[bool], row: usize) -> bool {
    resets.get(row).is_some_and(|starts| *starts)
}

/// Entry `i` of row `row`; a character is a one-hot vector.
fn entry(x: &Input<'_, f64>, row: usize, i: usize) -> f64 {
    match x {
        Input::Ids(ids) => f64::from(ids[row] as usize == i),
        Input::Dense(rows) => rows[(row, i)],
    }
}
