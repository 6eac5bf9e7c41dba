//! What an output depends on, to the bit: never on a later input, never on another lane, and after
//! a reset on nothing before it. Proven twice, by back-propagation from one output and by dual
//! numbers from one input.

use ndarray::Array2;
use rnn_model::gradcheck::variants;
use rnn_model::{BuildLayer, Dims, Grads, Input, Layer, LayerOptions, LayerWindow, builtin_cells};
use tensor_core::pool::Pool;
use tensor_core::rng::{self, Rng, Stream};
use tensor_core::{Dual, Real};

const DIMS: Dims = Dims { input_size: 3, hidden_size: 4, batch_size: 2, seq_len: 6 };
/// Fewer than there is room for.
const STEPS: usize = 5;
/// Lane 0 starts a text at step 0 and at step 3, lane 1 never.
const RESETS: [(usize, usize); 2] = [(0, 0), (3, 0)];

#[test]
fn no_output_has_a_gradient_by_a_later_input_another_lane_or_what_was_before_a_reset() {
    for_every_layer(|name, cell, options, resets| {
        let mut layer = cell.f64(DIMS, options);
        let Values { theta, state, x, .. } = Values::random(&mut *layer);
        let window = LayerWindow { x: Input::Dense(x.view()), resets };
        let mut pool = Pool::default();
        layer.prepare(&theta, window.x, &mut pool);
        for (to, to_lane) in places() {
            layer.forward(&theta, window, &state, &mut pool);
            let mut dy = Array2::zeros((STEPS * DIMS.batch_size, DIMS.hidden_size));
            dy.row_mut(row(to, to_lane)).assign(&ndarray::arr1(&[0.7, -0.4, 1.1, 0.5]));
            // What is overwritten starts as NaN, which is no zero.
            let mut dx = Array2::from_elem(x.dim(), f64::NAN);
            let mut d_state = vec![f64::NAN; state.len()];
            let mut d_theta = vec![f64::NAN; theta.len()];
            let grads =
                Grads { theta: &mut d_theta, x: Some(dx.view_mut()), state: Some(&mut d_state) };
            layer.backward(&theta, window, dy.view(), grads, &mut pool);

            let what = format!("{name} {options:?}, output of step {to} in lane {to_lane}");
            for (from, from_lane) in places() {
                let is_read = reads(resets, (to, to_lane), (from, from_lane));
                let is_zero = dx.row(row(from, from_lane)).iter().all(|dx| *dx == 0.0);
                assert_eq!(is_zero, !is_read, "{what}, input of step {from} in lane {from_lane}");
            }
            for (lane, is_zero) in zeros_by_lane(&d_state) {
                let is_read = reads_state(resets, (to, to_lane), lane);
                assert_eq!(is_zero, !is_read, "{what}, state of lane {lane}");
            }
        }
    });
}

#[test]
fn no_output_has_a_derivative_by_a_later_input_another_lane_or_what_was_before_a_reset() {
    for_every_layer(|name, cell, options, resets| {
        let mut layer = cell.dual(DIMS, options);
        let Values { theta, mut state, mut x } = Values::random(&mut *layer);
        let mut pool = Pool::new(2);
        layer.prepare(&theta, Input::Dense(x.view()), &mut pool);
        let is_zero = |layer: &dyn Layer<Dual>, (to, lane): (usize, usize)| {
            layer.output().row(row(to, lane)).iter().all(|y| y.derivative == 0.0)
        };
        for (from, from_lane) in places() {
            let what = format!("{name} {options:?}, input of step {from} in lane {from_lane}");
            x.row_mut(row(from, from_lane))[1].derivative = 1.0;
            let window = LayerWindow { x: Input::Dense(x.view()), resets };
            layer.forward(&theta, window, &state, &mut pool);
            x.row_mut(row(from, from_lane))[1].derivative = 0.0;
            for to in places() {
                let is_read = reads(resets, to, (from, from_lane));
                assert_eq!(is_zero(&*layer, to), !is_read, "{what}, output {to:?}");
            }
        }
        let window = LayerWindow { x: Input::Dense(x.view()), resets };
        for lane in 0..DIMS.batch_size {
            for index in of_lane(lane, state.len()) {
                state[index].derivative = 1.0;
            }
            layer.forward(&theta, window, &state, &mut pool);
            state.iter_mut().for_each(|value| value.derivative = 0.0);
            for to in places() {
                let is_read = reads_state(resets, to, lane);
                let what = format!("{name} {options:?}, state of lane {lane}, output {to:?}");
                assert_eq!(is_zero(&*layer, to), !is_read, "{what}");
            }
        }
    });
}

/// Every cell with every combination of the options of a layer, with texts that start and without.
fn for_every_layer(check: impl Fn(&str, &dyn BuildLayer, LayerOptions, &[bool])) {
    let mut resets = vec![false; STEPS * DIMS.batch_size];
    for (t, lane) in RESETS {
        resets[row(t, lane)] = true;
    }
    for variant in variants(&builtin_cells()) {
        for index in 0..8 {
            let options = LayerOptions {
                layer_norm: index & 1 != 0,
                learned_state: index & 2 != 0,
                drop_connect: if index & 4 != 0 { 0.3 } else { 0.0 },
            };
            for resets in [&[][..], &resets] {
                check(&variant.name, &*variant.cell, options, resets);
            }
        }
    }
}

/// Whether the output at `to`, a step and a lane, may depend on the input at `from`.
fn reads(resets: &[bool], to: (usize, usize), from: (usize, usize)) -> bool {
    let starts = |t: usize| !resets.is_empty() && resets[row(t, to.1)];
    to.1 == from.1 && from.0 <= to.0 && !(from.0 + 1..=to.0).any(starts)
}

/// Whether the output at `to` may depend on what was carried into the window in `lane`.
fn reads_state(resets: &[bool], to: (usize, usize), lane: usize) -> bool {
    let starts = |t: usize| !resets.is_empty() && resets[row(t, lane)];
    to.1 == lane && !(0..=to.0).any(starts)
}

fn row(t: usize, lane: usize) -> usize {
    lane * STEPS + t
}

fn places() -> impl Iterator<Item = (usize, usize)> {
    (0..STEPS).flat_map(|t| (0..DIMS.batch_size).map(move |lane| (t, lane)))
}

/// Where the values of a lane lie in the flat state.
fn of_lane(lane: usize, len: usize) -> impl Iterator<Item = usize> {
    (0..len).filter(move |index| index / DIMS.hidden_size % DIMS.batch_size == lane)
}

fn zeros_by_lane(state: &[f64]) -> impl Iterator<Item = (usize, bool)> {
    (0..DIMS.batch_size)
        .map(|lane| (lane, of_lane(lane, state.len()).all(|index| state[index] == 0.0)))
}

/// What a layer reads.
struct Values<T> {
    theta: Vec<T>,
    state: Vec<T>,
    x: Array2<T>,
}

impl<T: Real> Values<T> {
    /// All positive, so that no rectifier cuts what is not cut elsewhere; so are biases, and weights
    /// for the most part. The masks of `layer` are drawn as well.
    fn random(layer: &mut dyn Layer<T>) -> Self {
        let mut rng = rng::stream(1, Stream::Init);
        layer.draw_masks(&mut rng::stream(1, Stream::Dropout));
        let value = |rng: &mut Rng| T::from_f64(rng::uniform(rng) - 0.1);
        let mut values = |len| (0..len).map(|_| value(&mut rng)).collect::<Vec<_>>();
        let theta = values(layer.tensors().iter().map(|tensor| tensor.shape.len()).sum());
        let state = values(layer.states().len() * DIMS.batch_size * DIMS.hidden_size);
        let (rows, width) = (STEPS * DIMS.batch_size, DIMS.input_size);
        let x = Array2::from_shape_vec((rows, width), values(rows * width)).expect("as many");
        Self { theta, state, x }
    }
}
