//! The gradient of a whole model against finite differences.
//!
//! The differences are taken of the very code that trains: [`Model::forward`] and [`Model::loss`].
//! Clipping is an act of the optimizer and has no part in it.

use tensor_core::gradcheck::{Mismatch, worst_mismatch};
use tensor_core::rng::{self, Rng};

use crate::{Model, Reduction};

/// The largest error that counts as agreement, relative to the tensor's largest gradient.
pub const TOLERANCE: f64 = 1e-8;

/// A window at which a model's gradient is checked.
#[derive(Clone, Debug)]
pub struct Point {
    /// Parameters.
    pub theta: Vec<f64>,
    /// State before the window.
    pub state: Vec<f64>,
    /// Inputs, `[steps·batch_size]`.
    pub x: Vec<u32>,
    /// Targets, as many.
    pub y: Vec<u32>,
    /// The loss that is differentiated.
    pub reduction: Reduction,
}

/// What was found of one tensor.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The tensor, or `d_` and the name of an initial state.
    pub tensor: String,
    /// Number of entries, all of which were checked.
    pub entries: usize,
    /// Where it disagrees most.
    pub worst: Mismatch,
}

impl Finding {
    /// Whether gradient and finite differences agree.
    pub fn passes(&self) -> bool {
        self.worst.error <= TOLERANCE
    }
}

impl Point {
    /// A random point: parameters large enough that every unit leaves the linear part of its
    /// functions, and a state as if something had been read, or zero.
    pub fn random(model: &Model<f64>, steps: usize, carried: bool, rng: &mut Rng) -> Self {
        let n = steps * model.dims().batch_size;
        let mut value = |scale: f64| scale * (2.0 * rng::uniform(rng) - 1.0);
        let theta = (0..model.layout().len()).map(|_| value(0.8)).collect();
        let mut state = model.zero_state();
        if carried {
            state.fill_with(|| value(0.9));
        }
        let mut id = || (rng::uniform(rng) * model.vocab_size() as f64) as u32;
        let x = (0..n).map(|_| id()).collect();
        let y = (0..n).map(|_| id()).collect();
        Self { theta, state, x, y, reduction: Reduction::Sum }
    }
}

/// Checks every parameter and every entry of the state before the window.
pub fn check(model: &mut Model<f64>, point: &Point) -> Vec<Finding> {
    let Point { theta, state, x, y, reduction } = point;
    let mut grads = vec![0.0; theta.len()];
    let mut d_state = vec![0.0; state.len()];
    model.forward(theta, x, state);
    model.loss(y, *reduction);
    model.backward(theta, x, &mut grads, Some(&mut d_state));

    let batch_size = model.dims().batch_size;
    let weight = reduction.weight(x.len() / batch_size, batch_size);
    let parameters: Vec<_> = (model.layout().segments().iter())
        .map(|segment| (segment.name(), segment.range.clone()))
        .collect();
    let states = model.states();
    let mut loss = |theta: &[f64], state: &[f64]| {
        model.forward(theta, x, state);
        weight * model.loss(y, *reduction)
    };

    let mut findings = Vec::new();
    let mut record = |tensor: String, entries: usize, worst: Option<Mismatch>| {
        findings.extend(worst.map(|worst| Finding { tensor, entries, worst }));
    };
    let mut point = theta.clone();
    for (name, range) in parameters {
        let grad = &grads[range.clone()];
        let worst = worst_mismatch(&mut point, range, grad, |theta| loss(theta, state));
        record(name, grad.len(), worst);
    }
    let mut point = state.clone();
    for (name, range) in states {
        let grad = &d_state[range.clone()];
        let worst = worst_mismatch(&mut point, range, grad, |state| loss(theta, state));
        record(format!("{name} before"), grad.len(), worst);
    }
    findings
}
