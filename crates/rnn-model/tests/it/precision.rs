//! The model in `f32`, which trains, against the same one in `f64`, whose gradients are proven.
//!
//! Parameters, state and window are those of the gradient check, rounded to `f32` before either sees
//! them, so what differs is the round-off of arithmetic. Its bound is that of a backward error: each
//! operation is off by half of `f32::EPSILON` relative to its result, so what is computed is the exact
//! result of nearby numbers, `n·f32::EPSILON / 2` away for `n` operations one after the other (Higham,
//! "Accuracy and stability of numerical algorithms", 2002, sections 1.5 and 3.1). How far that moves a
//! result, its condition, is measured: by `f64` at parameters and a state
//! that are one rounding away.

use rnn_model::gradcheck::{Case, Point, Variant, cases, variants};
use rnn_model::{Model, builtin_cells};
use tensor_core::Real;
use tensor_core::rng::{self, Stream};

/// Operations one after the other in a step: a sum over at most 10 units or characters, and those of
/// a gate. Those of earlier steps fade as what a step passes on does, which the condition knows.
const OPERATIONS: f64 = 20.0;
/// Nearby numbers that are tried, of which the farthest result counts.
const TRIES: u64 = 8;

#[test]
fn f32_gives_the_logits_the_loss_and_the_gradients_of_f64_within_its_round_off() {
    for cell in variants(&builtin_cells()) {
        for case in cases() {
            let (tensor, roundings) = worst_tensor(&cell, &case);
            assert!(roundings <= OPERATIONS, "{} at {case}: {tensor} by {roundings}", cell.name);
        }
    }
}

/// The tensor with the largest error, as a multiple of what one rounding of all numbers does to it.
fn worst_tensor(cell: &Variant, case: &Case) -> (String, f64) {
    let mut double = case.model(|dims, options| cell.cell.f64(dims, options));
    let mut single = case.model(|dims, options| cell.cell.f32(dims, options));
    let mut point = case.point(&mut double);
    for value in point.theta.iter_mut().chain(&mut point.state) {
        *value = f64::from(*value as f32);
    }
    let exact = results(&mut double, &point);
    let found = results(&mut single, &point);
    let nearby: Vec<_> = (0..TRIES).map(|seed| results(&mut double, &near(&point, seed))).collect();

    let roundings = |(index, (tensor, exact)): (usize, &(String, Vec<f64>))| {
        let largest = exact.iter().fold(0.0, |max: f64, value| max.max(value.abs()));
        let moved = nearby.iter().map(|nearby| distance(&nearby[index].1, exact));
        let moved = moved.fold(f64::from(f32::EPSILON) * largest, f64::max);
        let error = distance(&found[index].1, exact);
        (tensor.clone(), if error == 0.0 { 0.0 } else { error / moved })
    };
    let all = exact.iter().enumerate().map(roundings);
    all.max_by(|(_, a), (_, b)| a.total_cmp(b)).expect("tensors")
}

/// `point` with every parameter and the state off by half of `f32::EPSILON`, to either side.
fn near(point: &Point, seed: u64) -> Point {
    let mut rng = rng::stream(seed, Stream::Noise);
    let mut near = point.clone();
    for value in near.theta.iter_mut().chain(&mut near.state) {
        let side = if rng::uniform(&mut rng) < 0.5 { -0.5 } else { 0.5 };
        *value *= 1.0 + side * f64::from(f32::EPSILON);
    }
    near
}

/// The largest difference between entries; infinite if one is NaN.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.map(|d| if d.is_nan() { f64::INFINITY } else { d }).fold(0.0, f64::max)
}

/// What a model makes of a window: logits, loss and every gradient, by name.
fn results<T: Real>(model: &mut Model<T>, point: &Point) -> Vec<(String, Vec<f64>)> {
    let rounded = |values: &[f64]| values.iter().copied().map(T::from_f64).collect::<Vec<_>>();
    let (theta, state) = (rounded(&point.theta), rounded(&point.state));
    let (mut d_theta, mut d_state) = (vec![T::ZERO; theta.len()], vec![T::ZERO; state.len()]);
    model.forward(&theta, point.window(), &state);
    let loss = model.loss(&point.y, point.reduction);
    model.backward(&theta, point.window(), &mut d_theta, Some(&mut d_state));

    let exact = |values: &[T]| values.iter().map(|value| value.to_f64()).collect::<Vec<_>>();
    let logits = model.logits().iter().map(|value| value.to_f64()).collect();
    let segments = model.layout().segments().iter();
    let by_theta = segments.map(|s| (s.name(), exact(&d_theta[s.range.clone()])));
    let states = model.states().into_iter();
    let by_state = states.map(|(name, range)| (name, exact(&d_state[range])));
    let others = [("logits".to_owned(), logits), ("loss".to_owned(), vec![loss.to_f64()])];
    others.into_iter().chain(by_theta).chain(by_state).collect()
}
