//! The gradient of a whole model against two witnesses: finite differences and dual numbers.
//!
//! Both are taken of the very code that trains: [`Model::forward`] and the loss. Differences know
//! nothing of derivatives, but round-off leaves them few digits; dual numbers have all digits, but
//! share the formulas of `f64` only as far as one generic code is the same for both.
//! Clipping is an act of the optimizer and has no part in it. What dropout leaves out is drawn once
//! for a model, so gradient and witnesses see the same.
//!
//! [`cases`] lists the shapes every cell is checked at, [`variants`] the cells; [`Case::check`] and
//! [`Case::check_dual`] check one at one of them. For a model of other origin there are
//! [`Case::point`], [`Gradient::of`] and [`compare`].

mod case;

use std::fmt;
use std::ops::Range;

use ndarray::{Array2, Axis, Slice};
use rand::seq::SliceRandom;
use tensor_core::gradcheck::{Mismatch, worst_mismatch};
use tensor_core::rng::{self, Rng, Stream};
use tensor_core::{Dual, Real, Segment, Shape};

pub use case::{Case, Resets, Variant, cases, variants};

use crate::{Dims, Model, Reduction, Window, softmax_xent};

/// What a gradient is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// Finite differences of the loss.
    Differences,
    /// Derivatives that are carried through every operation.
    Dual,
}

impl Witness {
    /// The largest error that counts as agreement, relative to the tensor's largest gradient.
    pub const fn tolerance(self) -> f64 {
        match self {
            Self::Differences => 1e-8,
            Self::Dual => 1e-12,
        }
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Differences => "finite differences",
            Self::Dual => "dual numbers",
        })
    }
}

/// A window at which a model's gradient is checked.
#[derive(Clone, Debug)]
pub struct Point {
    /// Parameters.
    pub theta: Vec<f64>,
    /// State before the window.
    pub state: Vec<f64>,
    /// Inputs, `[steps·batch_size]`.
    pub x: Vec<u32>,
    /// Where texts start, as many, or empty.
    pub resets: Vec<bool>,
    /// Targets, as many as inputs.
    pub y: Vec<u32>,
    /// The loss that is differentiated.
    pub reduction: Reduction,
}

impl Point {
    /// A random window of `case`, with a state as if something had been read, or zero.
    ///
    /// Parameters are uniform within `±1.2/√hidden_size`, around their start where they have one of
    /// their own: large enough for every unit to leave the linear part of its functions, small
    /// enough for a perturbation to fade over the steps; where it grows, as it would in a wide model,
    /// finite differences converge to nothing.
    fn random(model: &Model<f64>, case: &Case, rng: &mut Rng) -> Self {
        let Dims { hidden_size, batch_size, .. } = model.dims();
        let bound = 1.2 / (hidden_size as f64).sqrt();
        let mut value = |bound: f64| bound * (2.0 * rng::uniform(rng) - 1.0);
        let segments = model.layout().segments().iter();
        let starts = segments.flat_map(|segment| {
            std::iter::repeat_n(segment.start.unwrap_or_default(), segment.range.len())
        });
        let theta = starts.map(|start| start + value(bound)).collect();
        let mut state = model.zero_state();
        if case.carried {
            state.fill_with(|| value(0.9));
        }
        let mut id = || (rng::uniform(rng) * model.vocab_size() as f64) as u32;
        let x = (0..case.steps * batch_size).map(|_| id()).collect();
        let y = (0..case.steps * batch_size).map(|_| id()).collect();
        let resets = case.resets.rows(case.steps, batch_size);
        Self { theta, state, x, resets, y, reduction: case.reduction }
    }

    /// The window that is read.
    pub fn window(&self) -> Window<'_> {
        Window { x: &self.x, resets: &self.resets }
    }

    /// What divides the sum of all losses.
    ///
    /// Not from `Reduction::weight`: that scales the very gradient which is in question.
    fn divisor(&self, batch_size: usize) -> f64 {
        match self.reduction {
            Reduction::Sum => batch_size as f64,
            Reduction::Mean => self.x.len() as f64,
        }
    }
}

/// What back-propagation says at a [`Point`].
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient {
    /// By the parameters.
    pub theta: Vec<f64>,
    /// By the state before the window.
    pub state: Vec<f64>,
}

impl Gradient {
    /// Back-propagates so that nothing a buffer held before goes unnoticed.
    ///
    /// A window of full length comes first, of which nothing on the tape may be read later. Then
    /// comes the window itself twice, as in training and again with the gradient by the state: the mean
    /// of both is the gradient. All buffers start as NaN.
    pub fn of(model: &mut Model<f64>, point: &Point) -> Self {
        let Dims { batch_size, seq_len, .. } = model.dims();
        let nans = |len| vec![f64::NAN; len];
        let mut gradient = Self { theta: nans(point.theta.len()), state: nans(point.state.len()) };

        let ids = (0..model.vocab_size() as u32).cycle();
        let full: Vec<u32> = ids.take(seq_len * batch_size).collect();
        let full = Point { x: full.clone(), resets: Vec::new(), y: full, ..point.clone() };
        back_propagate(model, &full, &mut gradient.theta.clone(), None);

        let mut again = gradient.theta.clone();
        back_propagate(model, point, &mut gradient.theta, None);
        back_propagate(model, point, &mut again, Some(&mut gradient.state));
        for (value, again) in gradient.theta.iter_mut().zip(again) {
            *value = 0.5 * (*value + again);
        }
        gradient
    }

    /// The largest entry of each tensor without its sign, in order of size.
    fn sizes(&self, model: &Model<f64>) -> Vec<f64> {
        let of_theta = parameters_of(model).into_iter().map(|tensor| &self.theta[tensor.range]);
        let of_state = states_of(model).into_iter().map(|tensor| &self.state[tensor.range]);
        let largest =
            |values: &[f64]| values.iter().fold(0.0, |max: f64, value| max.max(value.abs()));
        let mut sizes: Vec<_> = of_theta.chain(of_state).map(largest).collect();
        sizes.sort_by(f64::total_cmp);
        sizes
    }
}

fn back_propagate(
    model: &mut Model<f64>,
    point: &Point,
    grads: &mut [f64],
    d_state: Option<&mut [f64]>,
) {
    model.forward(&point.theta, point.window(), &point.state);
    model.loss(&point.y, point.reduction);
    model.backward(&point.theta, point.window(), grads, d_state);
}

/// How many entries of each tensor are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    /// Every one.
    All,
    /// At most so many: that with the largest gradient, and others at random.
    Some {
        /// How many, at least one.
        most: usize,
        /// Of the random choice.
        seed: u64,
    },
}

/// What was found of one tensor.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What it was compared with.
    pub witness: Witness,
    /// What the tensor is in its layer, such as `w_hh`, or `state h`, the state before the window.
    pub tensor: String,
    /// The layer from below, `None` for the output layer.
    pub layer: Option<usize>,
    /// Its extent.
    pub shape: Shape,
    /// How many of its entries were compared.
    pub compared: usize,
    /// The largest of them by back-propagation, without its sign.
    pub largest: f64,
    /// Where it disagrees most.
    pub worst: Mismatch,
}

impl Finding {
    /// Whether gradient and witness agree.
    pub fn passes(&self) -> bool {
        self.worst.error <= self.witness.tolerance()
    }

    /// Whether a kink of the loss lies so close that finite differences say nothing.
    pub fn is_at_kink(&self) -> bool {
        let Mismatch { spread, .. } = self.worst;
        !self.passes() && self.witness.tolerance() < spread && spread.is_finite()
    }

    /// The entry that disagrees most, such as `w_hh_l1[3, 2]`.
    pub fn place(&self) -> String {
        let layer = self.layer.map(|layer| format!("_l{layer}")).unwrap_or_default();
        let index = self.worst.index;
        match self.shape {
            Shape::Matrix(_, cols) => {
                format!("{}{layer}[{}, {}]", self.tensor, index / cols, index % cols)
            }
            Shape::Vector(_) => format!("{}{layer}[{index}]", self.tensor),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { analytic, numeric, error, .. } = self.worst;
        let (place, witness) = (self.place(), self.witness);
        write!(f, "{place} is {analytic:e}, {witness} say {numeric:e}, error {error:.1e}")
    }
}

/// Compares `gradient` with finite differences, by every parameter and every state.
///
/// # Panics
/// If `gradient` or `point` belongs to a model of other sizes.
#[track_caller]
pub fn compare(
    model: &mut Model<f64>,
    point: &Point,
    gradient: &Gradient,
    entries: Entries,
) -> Vec<Finding> {
    let Point { theta, state, .. } = point;
    let (parameters, states) = (parameters_of(model), states_of(model));
    let divisor = point.divisor(model.dims().batch_size);
    let mut losses = Losses::at(model, point);
    let mut loss =
        |theta: &[f64], state: &[f64]| losses.change(model, point, theta, state) / divisor;

    let mut findings = Vec::new();
    for tensor in parameters {
        let loss = |theta: &[f64]| loss(theta, state);
        findings.extend(tensor.compare(theta, &gradient.theta, entries, loss));
    }
    for tensor in states {
        let loss = |state: &[f64]| loss(theta, state);
        findings.extend(tensor.compare(state, &gradient.state, entries, loss));
    }
    findings
}

/// Compares `gradient` with the derivatives that dual numbers carry, by every parameter and every
/// state.
///
/// # Panics
/// If `gradient` or `point` belongs to a model of other sizes.
#[track_caller]
pub fn compare_dual(
    model: &mut Model<Dual>,
    point: &Point,
    gradient: &Gradient,
    entries: Entries,
) -> Vec<Finding> {
    let (parameters, states) = (parameters_of(model), states_of(model));
    let divisor = point.divisor(model.dims().batch_size);
    let constants = |values: &[f64]| values.iter().copied().map(Dual::from_f64).collect::<Vec<_>>();
    let (mut theta, mut state) = (constants(&point.theta), constants(&point.state));
    let mut derivative = |theta: &[Dual], state: &[Dual]| {
        model.forward(theta, point.window(), state);
        model.loss(&point.y, point.reduction).derivative / divisor
    };

    let mut findings = Vec::new();
    for tensor in parameters {
        let derivative = |theta: &[Dual]| derivative(theta, &state);
        findings.extend(tensor.compare_dual(&mut theta, &gradient.theta, entries, derivative));
    }
    for tensor in states {
        let derivative = |state: &[Dual]| derivative(&theta, state);
        findings.extend(tensor.compare_dual(&mut state, &gradient.state, entries, derivative));
    }
    findings
}

/// The loss of each character at a point, and scratch.
///
/// What is differentiated is their change. A sum of losses is far larger, and its round-off would
/// drown the gradients that many layers and steps have made small.
struct Losses {
    at_point: Vec<f64>,
    /// Not used, but written.
    dlogits: Array2<f64>,
}

impl Losses {
    fn at(model: &mut Model<f64>, point: &Point) -> Self {
        let dlogits = Array2::zeros((1, model.vocab_size()));
        let mut losses = Self { at_point: vec![0.0; point.x.len()], dlogits };
        model.forward(&point.theta, point.window(), &point.state);
        losses.at_point = (0..point.x.len()).map(|row| losses.of_row(model, point, row)).collect();
        losses
    }

    /// The sum of all losses less what it is at the point.
    fn change(
        &mut self,
        model: &mut Model<f64>,
        point: &Point,
        theta: &[f64],
        state: &[f64],
    ) -> f64 {
        model.forward(theta, point.window(), state);
        (0..point.x.len()).map(|row| self.of_row(model, point, row) - self.at_point[row]).sum()
    }

    fn of_row(&mut self, model: &Model<f64>, point: &Point, row: usize) -> f64 {
        let logits = model.logits();
        let logits = logits.slice_axis(Axis(0), Slice::from(row..=row));
        let mut loss = [0.0];
        softmax_xent(logits, &point.y[row..=row], 1.0, self.dlogits.view_mut(), &mut loss);
        loss[0]
    }
}

/// A stretch of the flat parameters, or of the flat state.
struct Tensor {
    name: String,
    layer: Option<usize>,
    shape: Shape,
    range: Range<usize>,
}

fn parameters_of<T: Real>(model: &Model<T>) -> Vec<Tensor> {
    let tensor = |segment: &Segment| {
        let Segment { tensor, layer, shape, range, .. } = segment.clone();
        Tensor { name: tensor.to_owned(), layer, shape, range }
    };
    model.layout().segments().iter().map(tensor).collect()
}

fn states_of<T: Real>(model: &Model<T>) -> Vec<Tensor> {
    let Dims { hidden_size, batch_size, .. } = model.dims();
    let tensor = |(name, range): (String, Range<usize>)| {
        let (state, layer) = name.rsplit_once("_l").expect("a state's name ends in its layer");
        Tensor {
            name: format!("state {state}"),
            layer: layer.parse().ok(),
            shape: Shape::Matrix(batch_size, hidden_size),
            range,
        }
    };
    model.states().into_iter().map(tensor).collect()
}

impl Tensor {
    /// `values` are all parameters or the whole state, `grads` their gradient and `loss` the loss
    /// as a function of them. A tensor without entries has nothing to find.
    fn compare(
        self,
        values: &[f64],
        grads: &[f64],
        entries: Entries,
        mut loss: impl FnMut(&[f64]) -> f64,
    ) -> Option<Finding> {
        let start = self.range.start;
        let chosen = entries.choose(&grads[self.range.clone()]);
        let at =
            |values: &[f64]| -> Vec<f64> { chosen.iter().map(|i| values[start + i]).collect() };
        let grads = at(grads);
        let mut values = values.to_vec();
        let mut some = at(&values);
        let worst = worst_mismatch(&mut some, 0..chosen.len(), &grads, |some| {
            for (index, value) in chosen.iter().zip(some) {
                values[start + index] = *value;
            }
            loss(&values)
        })?;
        let worst = Mismatch { index: chosen[worst.index], ..worst };
        Some(self.finding(Witness::Differences, &grads, worst))
    }

    /// The same with `derivative`, that of the loss by whichever of `values` has one.
    fn compare_dual(
        self,
        values: &mut [Dual],
        grads: &[f64],
        entries: Entries,
        mut derivative: impl FnMut(&[Dual]) -> f64,
    ) -> Option<Finding> {
        let start = self.range.start;
        let grads = &grads[self.range.clone()];
        let chosen = entries.choose(grads);
        let mut by = |index: &usize| {
            values[start + index].derivative = 1.0;
            let derivative = derivative(values);
            values[start + index].derivative = 0.0;
            derivative
        };
        let exact: Vec<_> = chosen.iter().map(&mut by).collect();
        let grads: Vec<_> = chosen.iter().map(|index| grads[*index]).collect();
        let worst = Mismatch::worst(&grads, &exact)?;
        let worst = Mismatch { index: chosen[worst.index], ..worst };
        Some(self.finding(Witness::Dual, &grads, worst))
    }

    fn finding(self, witness: Witness, grads: &[f64], worst: Mismatch) -> Finding {
        let Self { name: tensor, layer, shape, .. } = self;
        let largest = grads.iter().fold(0.0, |max: f64, grad| max.max(grad.abs()));
        Finding { witness, tensor, layer, shape, compared: grads.len(), largest, worst }
    }
}

impl Entries {
    /// The entries of a tensor with gradient `grads` that are to be compared.
    fn choose(self, grads: &[f64]) -> Vec<usize> {
        let mut indices: Vec<usize> = (0..grads.len()).collect();
        match self {
            Self::Some { most, seed } if 0 < most && most < grads.len() => {
                // By this order a NaN is the largest of all.
                let by_size = |a: &usize, b: &usize| grads[*a].abs().total_cmp(&grads[*b].abs());
                let largest = (0..grads.len()).max_by(by_size).expect("more entries than `most`");
                indices.swap_remove(largest);
                let mut rng = rng::stream(seed, Stream::Sample);
                let (others, _) = indices.partial_shuffle(&mut rng, most - 1);
                std::iter::once(largest).chain(others.iter().copied()).collect()
            }
            _ => indices,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BuildLayer, LayerOptions, cell};

    #[test]
    fn the_losses_that_are_differentiated_add_up_to_the_one_of_training() {
        for case in cases() {
            let mut model = case.model(|dims, options| cell::Gru::default().f64(dims, options));
            let point = case.point(&mut model);
            let mut losses = Losses::at(&mut model, &point);
            assert_eq!(losses.change(&mut model, &point, &point.theta, &point.state), 0.0);
            let total: f64 = losses.at_point.iter().sum();
            let found = model.loss(&point.y, point.reduction);
            assert!((total - found).abs() <= 1e-13 * found, "{case}: {total}, not {found}");
        }
    }

    fn finding(witness: Witness, error: f64, spread: f64) -> Finding {
        let worst = Mismatch { index: 7, analytic: 0.5, numeric: 0.25, error, spread };
        let (tensor, shape) = ("w_hh".into(), Shape::Matrix(3, 5));
        Finding { witness, tensor, layer: Some(1), shape, compared: 15, largest: 2.0, worst }
    }

    #[test]
    fn a_finding_says_what_is_wrong_and_where() {
        let matrix = finding(Witness::Dual, 1e-3, 0.0);
        let expected = "w_hh_l1[1, 2] is 5e-1, dual numbers say 2.5e-1, error 1.0e-3";
        assert_eq!(matrix.to_string(), expected);
        let bias = Finding { tensor: "b_y".into(), layer: None, shape: Shape::Vector(9), ..matrix };
        assert_eq!(bias.place(), "b_y[7]");
        assert_eq!(Witness::Differences.to_string(), "finite differences");
    }

    #[test]
    fn an_error_passes_up_to_its_tolerance_and_a_kink_needs_a_spread_beyond() {
        for witness in [Witness::Differences, Witness::Dual] {
            let tolerance = witness.tolerance();
            assert!(finding(witness, tolerance, 0.0).passes());
            assert!(!finding(witness, 2.0 * tolerance, 1.0).passes());
            let is_at_kink = |error, spread| finding(witness, error, spread).is_at_kink();
            assert!(is_at_kink(2.0 * tolerance, 2.0 * tolerance));
            assert!(!is_at_kink(2.0 * tolerance, tolerance));
            assert!(!is_at_kink(2.0 * tolerance, f64::INFINITY));
            assert!(!is_at_kink(tolerance, 2.0 * tolerance));
        }
    }

    #[test]
    fn a_random_point_is_as_large_as_it_is_said_to_be() {
        let options = LayerOptions { layer_norm: true, ..LayerOptions::default() };
        let case = Case { options, carried: true, ..cases()[0] };
        let random = |case: Case| {
            let model = case.model(|dims, options| cell::Gru::default().f64(dims, options));
            let point = Point::random(&model, &case, &mut rng::stream(1, Stream::Init));
            (model, point)
        };
        let (model, point) = random(case);
        for segment in model.layout().segments() {
            let start = segment.start.unwrap_or_default();
            let values = point.theta[segment.range.clone()].iter().map(|value| value - start);
            let (least, most) = values.fold((0.0, 0.0), |(least, most): (f64, f64), value| {
                (least.min(value), most.max(value))
            });
            // 1.2/√4; a tensor has at least seven values.
            assert!((-0.6..-0.2).contains(&least), "{}: {least}", segment.name());
            assert!((0.2..=0.6).contains(&most), "{}: {most}", segment.name());
        }
        let largest = point.state.iter().fold(0.0, |max: f64, value| max.max(value.abs()));
        assert!((0.1..=0.9).contains(&largest), "{largest}");
        let ids = || point.x.iter().chain(&point.y);
        assert!(ids().all(|id| *id < 7) && ids().any(|id| *id != point.x[0]));
        let (_, point) = random(Case { carried: false, ..case });
        assert!(point.state.iter().all(|value| *value == 0.0));
    }

    #[test]
    fn a_choice_of_entries_has_no_doubles_and_holds_the_largest_gradient() {
        let mut grads: Vec<f64> = (0..50).map(|i| f64::from(i).sin()).collect();
        for (largest, value) in [(17, -2.0), (31, f64::NAN)] {
            grads[largest] = value;
            for seed in 0..100 {
                let mut chosen = Entries::Some { most: 5, seed }.choose(&grads);
                assert!(chosen.contains(&largest), "{chosen:?}");
                chosen.sort_unstable();
                chosen.dedup();
                assert_eq!(chosen.len(), 5);
            }
        }
        let all: Vec<_> = (0..50).collect();
        assert_eq!(Entries::Some { most: 50, seed: 0 }.choose(&grads), all);
        assert_eq!(Entries::All.choose(&grads), all);
    }

    #[test]
    fn a_choice_of_entries_is_perturbed_where_it_lies() {
        // The loss is Σ (1 + i)·θ[i]², of which the tensor is the middle part.
        let values: Vec<f64> = (0..30).map(|i| 0.1 * f64::from(i)).collect();
        let mut grads: Vec<f64> =
            (0..30).map(|i| 2.0 * f64::from(1 + i) * 0.1 * f64::from(i)).collect();
        let loss = |values: &[f64]| (1..).zip(values).map(|(n, v)| f64::from(n) * v * v).sum();
        let tensor = || Tensor {
            name: "w".into(),
            layer: Some(1),
            shape: Shape::Matrix(5, 4),
            range: 6..26,
        };
        let entries = Entries::Some { most: 7, seed: 3 };
        let finding = tensor().compare(&values, &grads, entries, loss).expect("entries");
        assert!(finding.passes(), "{finding}");
        assert_eq!(finding.compared, 7);

        grads[25] *= 1.0 + 1e-6;
        let finding = tensor().compare(&values, &grads, entries, loss).expect("entries");
        assert!(!finding.passes());
        assert_eq!(finding.place(), "w_l1[4, 3]");

        let mut values: Vec<_> = values.into_iter().map(Dual::from_f64).collect();
        let derivative = |values: &[Dual]| {
            let terms = (1..).zip(values).map(|(n, v)| f64::from(n) * (*v * *v).derivative);
            terms.sum()
        };
        let finding = tensor().compare_dual(&mut values, &grads, entries, derivative);
        assert_eq!(finding.expect("entries").place(), "w_l1[4, 3]");
    }
}
