//! How a text is cut into windows and lanes changes nothing of what a model computes, to the bit.

use std::ops::Range;

use ndarray::{Array2, Axis, Slice, concatenate};
use proptest::prelude::*;
use rnn_model::gradcheck::{Case, Resets, Variant, variants};
use rnn_model::{
    Architecture, BuildLayer, Dims, Layer, LayerOptions, Model, Reduction, Window, builtin_cells,
};
use tensor_core::Real;
use tensor_core::rng::{self, Stream};

proptest! {
    #[test]
    fn one_long_window_equals_two_with_carried_state(
        case in sizes(), drops: bool, first in 1_usize..6, second in 1_usize..6, seed: u64,
    ) {
        let mut case = Case { seq_len: first + second, steps: first + second, ..case };
        if drops {
            // One mask for all steps is the same in both windows; one a step is not.
            case.architecture.dropout = 0.3;
            case.architecture.variational = true;
        }
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

    #[test]
    fn a_text_that_starts_within_a_window_equals_one_that_was_never_preceded(
        case in sizes(), steps in 1_usize..8, start in 0_usize..8, lane in 0_usize..4, seed: u64,
    ) {
        let case = Case { seq_len: steps, steps, ..case };
        let (start, lane) = (start % steps, lane % case.batch_size);
        for_every_cell(|cell| {
            a_reset_forgets(case, start, lane, seed, |dims, options| cell.f32(dims, options))?;
            a_reset_forgets(case, start, lane, seed, |dims, options| cell.f64(dims, options))
        })?;
    }
}

proptest! {
    // Each case starts threads anew for every cell.
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    #[test]
    fn any_number_of_threads_gives_the_same_bits(case in sizes(), steps in 1_usize..8, seed: u64) {
        let case = Case { seq_len: steps, steps, ..case };
        for_every_cell(|cell| {
            threads_change_no_bit(case, seed, |dims, options| cell.f32(dims, options))
        })?;
    }
}

/// What a layer shows as its outputs is what the layer above, the logits and the next window go by.
#[test]
fn the_last_row_of_a_lane_is_the_state_that_is_carried() {
    let case = Case { layers: 2, batch_size: 3, seq_len: 4, steps: 4, ..plain() };
    for Variant { name, cell } in variants(&builtin_cells()) {
        let mut model = case.model(|dims, options| cell.f64(dims, options));
        let text = Text::random(&model, case, 1);
        let (_, state) = read(&mut model, &text.theta, text.window(), &text.state);
        let h: Vec<_> = model.states().into_iter().filter(|(of, _)| of.starts_with('h')).collect();
        let outputs: Vec<_> = model.outputs().map(|outputs| outputs.to_owned()).collect();
        assert_eq!([h.len(), outputs.len()], [2, 2], "{name}");
        for ((_, range), outputs) in h.into_iter().zip(outputs) {
            let last = (0..3).flat_map(|lane| outputs.row(4 * lane + 3).to_vec());
            assert_eq!(last.collect::<Vec<_>>(), state[range], "{name}");
        }
    }
}

/// Options, and sizes around and above the width of the partial sums in a dot product, which is 16.
fn sizes() -> impl Strategy<Value = Case> {
    let sizes = (1_usize..4, 1_usize..9, 1_usize..20, 1_usize..5);
    let around = (proptest::option::of(1_usize..20), any::<bool>(), any::<bool>());
    let options = (any::<bool>(), any::<bool>(), prop_oneof![Just(0.0), Just(0.4)]);
    (sizes, around, options).prop_map(|(sizes, around, options)| {
        let (layers, vocab_size, hidden_size, batch_size) = sizes;
        let (embedding_size, tied, residual) = around;
        let (layer_norm, learned_state, drop_connect) = options;
        let embedding_size = if tied { Some(hidden_size) } else { embedding_size };
        let around =
            Architecture { vocab_size, embedding_size, tied, residual, ..Architecture::default() };
        let options = LayerOptions { layer_norm, learned_state, drop_connect };
        Case { architecture: around, options, layers, hidden_size, batch_size, ..plain() }
    })
}

fn plain() -> Case {
    Case {
        architecture: Architecture { vocab_size: 5, ..Architecture::default() },
        options: LayerOptions::default(),
        layers: 1,
        hidden_size: 6,
        batch_size: 1,
        seq_len: 1,
        steps: 1,
        carried: true,
        resets: Resets::Never,
        reduction: Reduction::Sum,
    }
}

fn for_every_cell(
    check: impl Fn(&dyn BuildLayer) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    variants(&builtin_cells()).iter().try_for_each(|variant| check(&*variant.cell))
}

fn two_windows_equal_one<T: Real>(
    case: Case,
    first: usize,
    seed: u64,
    layer: impl Fn(Dims, LayerOptions) -> Box<dyn Layer<T>>,
) -> Result<(), TestCaseError> {
    let mut model = case.model(&layer);
    let text = Text::random(&model, case, seed);
    let whole = read(&mut model, &text.theta, text.window(), &text.state);

    // As small as will do, so that the second window goes over the tape of the first.
    let seq_len = first.max(case.steps - first);
    let mut model = Case { seq_len, ..case }.model(&layer);
    let (x, resets) = text.of_steps(0..first);
    let window = Window { x: &x, resets: &resets };
    let (head_logits, state) = read(&mut model, &text.theta, window, &text.state);
    let (x, resets) = text.of_steps(first..case.steps);
    let window = Window { x: &x, resets: &resets };
    let (tail_logits, state) = read(&mut model, &text.theta, window, &state);
    let lanes = (0..case.batch_size).flat_map(|lane| {
        [of_lane(&head_logits, lane, case.batch_size), of_lane(&tail_logits, lane, case.batch_size)]
    });
    let lanes: Vec<_> = lanes.collect();
    let views: Vec<_> = lanes.iter().map(|lane| lane.view()).collect();
    let joined = concatenate(Axis(0), &views).expect("as wide");
    prop_assert_eq!(bits((joined, state)), bits(whole), "{}", case);
    Ok(())
}

fn threads_change_no_bit<T: Real>(
    case: Case,
    seed: u64,
    layer: impl Fn(Dims, LayerOptions) -> Box<dyn Layer<T>>,
) -> Result<(), TestCaseError> {
    let run = |threads: usize| {
        let mut model = case.model(&layer);
        model.set_threads(threads);
        assert_eq!(model.pool().threads(), threads.min(case.batch_size), "no more than lanes");
        let text = Text::random(&model, case, seed);
        let found = read(&mut model, &text.theta, text.window(), &text.state);
        model.loss(&text.x, Reduction::Mean);
        let mut grads = vec![T::from_f64(f64::NAN); text.theta.len()];
        let mut d_state = model.zero_state();
        model.backward(&text.theta, text.window(), &mut grads, Some(&mut d_state));
        grads.extend(d_state);
        (bits(found), grads.into_iter().map(|g| g.to_f64().to_bits()).collect::<Vec<_>>())
    };
    let alone = run(1);
    for threads in [2, 3] {
        prop_assert_eq!(&run(threads), &alone, "{} threads, {}", threads, case);
    }
    Ok(())
}

fn lanes_equal_each_alone<T: Real>(
    case: Case,
    seed: u64,
    layer: impl Fn(Dims, LayerOptions) -> Box<dyn Layer<T>>,
) -> Result<(), TestCaseError> {
    let mut together = case.model(&layer);
    let text = Text::random(&together, case, seed);
    let (logits, carried) = read(&mut together, &text.theta, text.window(), &text.state);

    let mut alone = Case { batch_size: 1, ..case }.model(&layer);
    for lane in 0..case.batch_size {
        let (x, resets) = text.of_lane(lane);
        let window = Window { x: &x, resets: &resets };
        let found = read(&mut alone, &text.theta, window, &together.lane_state(&text.state, lane));
        let expected =
            (of_lane(&logits, lane, case.batch_size), together.lane_state(&carried, lane));
        prop_assert_eq!(bits(found), bits(expected), "{}", case);
    }
    Ok(())
}

/// A text that starts in one lane at one step, whatever was carried and read before.
fn a_reset_forgets<T: Real>(
    case: Case,
    start: usize,
    lane: usize,
    seed: u64,
    layer: impl Fn(Dims, LayerOptions) -> Box<dyn Layer<T>>,
) -> Result<(), TestCaseError> {
    let mut model = case.model(&layer);
    let mut text = Text::random(&model, case, seed);
    text.resets[lane * case.steps + start] = true;
    let (logits, carried) = read(&mut model, &text.theta, text.window(), &text.state);
    let found = of_lane(&logits, lane, case.batch_size);
    let found = found.slice_axis(Axis(0), Slice::from(start..)).to_owned();

    let mut fresh = Case { batch_size: 1, ..case }.model(&layer);
    let (x, mut resets) = text.of_lane(lane);
    // Where the initial state is not learned it is zero, and a model starts with that by itself.
    resets[start] = case.options.learned_state;
    let window = Window { x: &x[start..], resets: &resets[start..] };
    let zero = fresh.zero_state();
    let expected = read(&mut fresh, &text.theta, window, &zero);
    prop_assert_eq!(bits((found, model.lane_state(&carried, lane))), bits(expected), "{}", case);
    Ok(())
}

/// Every row of one lane.
fn of_lane<T: Real>(rows: &Array2<T>, lane: usize, batch_size: usize) -> Array2<T> {
    let steps = rows.nrows() / batch_size;
    rows.slice_axis(Axis(0), Slice::from(lane * steps..(lane + 1) * steps)).to_owned()
}

/// Parameters, a state and a window of characters.
struct Text<T> {
    theta: Vec<T>,
    state: Vec<T>,
    x: Vec<u32>,
    resets: Vec<bool>,
    steps: usize,
}

impl<T: Real> Text<T> {
    fn random(model: &Model<T>, case: Case, seed: u64) -> Self {
        let mut rng = rng::stream(seed, Stream::Init);
        let mut values = |len: usize| -> Vec<T> {
            (0..len).map(|_| T::from_f64(2.0 * rng::uniform(&mut rng) - 1.0)).collect()
        };
        let (theta, state) = (values(model.layout().len()), values(model.zero_state().len()));
        let mut id = || (rng::uniform(&mut rng) * case.architecture.vocab_size as f64) as u32;
        let rows = case.steps * case.batch_size;
        let x = (0..rows).map(|_| id()).collect();
        let resets = (0..rows).map(|_| rng::uniform(&mut rng) < 0.2).collect();
        Self { theta, state, x, resets, steps: case.steps }
    }

    fn window(&self) -> Window<'_> {
        Window { x: &self.x, resets: &self.resets }
    }

    /// What one lane reads, and where a text starts in it.
    fn of_lane(&self, lane: usize) -> (Vec<u32>, Vec<bool>) {
        let rows = lane * self.steps..(lane + 1) * self.steps;
        (self.x[rows.clone()].to_vec(), self.resets[rows].to_vec())
    }

    /// Some steps of every lane.
    fn of_steps(&self, steps: Range<usize>) -> (Vec<u32>, Vec<bool>) {
        let lanes = 0..self.x.len() / self.steps;
        let rows = lanes.flat_map(|lane| steps.clone().map(move |t| (lane, t)));
        rows.map(|(lane, t)| lane * self.steps + t)
            .map(|row| (self.x[row], self.resets[row]))
            .unzip()
    }
}

/// The logits of a window, and the state after it.
fn read<T: Real>(
    model: &mut Model<T>,
    theta: &[T],
    window: Window<'_>,
    state: &[T],
) -> (Array2<T>, Vec<T>) {
    model.forward(theta, window, state);
    let mut state = state.to_vec();
    model.carry(&mut state);
    (model.logits().to_owned(), state)
}

/// The same values, comparable without `-0.0 == 0.0` and `NaN != NaN`.
fn bits<T: Real>((logits, state): (Array2<T>, Vec<T>)) -> (Array2<u64>, Vec<u64>) {
    let bits = |value: T| value.to_f64().to_bits();
    (logits.mapv(bits), state.into_iter().map(bits).collect())
}
