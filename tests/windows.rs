//! How a text is cut into windows and lanes changes nothing of what a model computes, to the bit.

use ndarray::{Array2, Axis, Slice, concatenate};
use proptest::prelude::*;
use rnn_model::gradcheck::{Case, with_default_keys};
use rnn_model::{BuildLayer, Dims, Layer, LayerOptions, Model, Reduction, builtin_cells};
use tensor_core::Real;
use tensor_core::rng::{self, Stream};

proptest! {
    #[test]
    fn one_long_window_equals_two_with_carried_state(
        case in sizes(), first in 1_usize..6, second in 1_usize..6, seed: u64,
    ) {
        let case = Case { seq_len: first + second, steps: first + second, ..case };
        for_every_cell(|cell| {
            two_windows_equal_one(case, first, seed, |dims, options| cell.f32(dims, options))?;
            two_windows_equal_one(case, first, seed, |dims, options| cell.f64(dims, options))
        })?;
    }

    #[test]
    fn a_batch_of_lanes_equals_each_lane_alone(
        case in sizes(), steps in 1_usize..8, unused in 0_usize..3, seed: u64,
    ) {
        let case = Case { seq_len: steps + unused, steps, ..case };
        for_every_cell(|cell| {
            lanes_equal_each_alone(case, seed, |dims, options| cell.f32(dims, options))?;
            lanes_equal_each_alone(case, seed, |dims, options| cell.f64(dims, options))
        })?;
    }
}

/// Sizes around and above the width of the partial sums in a dot product, which is 16.
fn sizes() -> impl Strategy<Value = Case> {
    (1_usize..4, 1_usize..9, 1_usize..20, 1_usize..5).prop_map(
        |(layers, vocab_size, hidden_size, batch_size)| Case {
            layers,
            vocab_size,
            hidden_size,
            batch_size,
            seq_len: 1,
            steps: 1,
            carried: true,
            reduction: Reduction::Sum,
        },
    )
}

fn for_every_cell(
    check: impl Fn(&dyn BuildLayer) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    with_default_keys(&builtin_cells()).iter().try_for_each(|cell| check(&**cell))
}

fn two_windows_equal_one<T: Real>(
    case: Case,
    first: usize,
    seed: u64,
    layer: impl Fn(Dims, LayerOptions) -> Box<dyn Layer<T>>,
) -> Result<(), TestCaseError> {
    let mut model = case.model(&layer);
    let Text { theta, state, x } = Text::random(&model, case, seed);
    let whole = read(&mut model, &theta, &x, &state);

    // As small as will do, so that the second window goes over the tape of the first.
    let seq_len = first.max(case.steps - first);
    let mut model = Case { seq_len, ..case }.model(&layer);
    let (x_first, x_second) = x.split_at(first * case.batch_size);
    let (first, state) = read(&mut model, &theta, x_first, &state);
    let (second, state) = read(&mut model, &theta, x_second, &state);
    let joined = concatenate(Axis(0), &[first.view(), second.view()]).expect("as wide");
    prop_assert_eq!(bits((joined, state)), bits(whole));
    Ok(())
}

fn lanes_equal_each_alone<T: Real>(
    case: Case,
    seed: u64,
    layer: impl Fn(Dims, LayerOptions) -> Box<dyn Layer<T>>,
) -> Result<(), TestCaseError> {
    let mut together = case.model(&layer);
    let Text { theta, state, x } = Text::random(&together, case, seed);
    let (logits, carried) = read(&mut together, &theta, &x, &state);

    let mut alone = Case { batch_size: 1, ..case }.model(&layer);
    for lane in 0..case.batch_size {
        let x: Vec<u32> = x.iter().skip(lane).step_by(case.batch_size).copied().collect();
        let found = read(&mut alone, &theta, &x, &together.lane_state(&state, lane));
        let every = Slice::new(lane as isize, None, case.batch_size as isize);
        let logits = logits.slice_axis(Axis(0), every).to_owned();
        prop_assert_eq!(bits(found), bits((logits, together.lane_state(&carried, lane))));
    }
    Ok(())
}

/// Parameters, a state and a window of characters.
struct Text<T> {
    theta: Vec<T>,
    state: Vec<T>,
    x: Vec<u32>,
}

impl<T: Real> Text<T> {
    fn random(model: &Model<T>, case: Case, seed: u64) -> Self {
        let mut rng = rng::stream(seed, Stream::Init);
        let mut values = |len: usize| -> Vec<T> {
            (0..len).map(|_| T::from_f64(2.0 * rng::uniform(&mut rng) - 1.0)).collect()
        };
        let (theta, state) = (values(model.layout().len()), values(model.zero_state().len()));
        let mut id = || (rng::uniform(&mut rng) * case.vocab_size as f64) as u32;
        Self { theta, state, x: (0..case.steps * case.batch_size).map(|_| id()).collect() }
    }
}

/// The logits of a window, and the state behind it.
fn read<T: Real>(model: &mut Model<T>, theta: &[T], x: &[u32], state: &[T]) -> (Array2<T>, Vec<T>) {
    model.forward(theta, x, state);
    let mut state = state.to_vec();
    model.carry(&mut state);
    (model.logits().to_owned(), state)
}

/// The same values, comparable without `-0.0 == 0.0` and `NaN != NaN`.
fn bits<T: Real>((logits, state): (Array2<T>, Vec<T>)) -> (Array2<u64>, Vec<u64>) {
    let bits = |value: T| value.to_f64().to_bits();
    (logits.mapv(bits), state.into_iter().map(bits).collect())
}
