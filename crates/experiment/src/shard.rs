//! Some lanes of the batch, with a model of their own.

use std::ops::Range;

use data_io::Window;
use rnn_model::{Model, Reduction};
use tensor_core::pool::Pool;
use tensor_core::rng::Rng;

use crate::config::Mode;
use crate::{Dtype, Experiment, build_model};

/// The lanes of a batch that one model reads: all of them, unless `train.shards` cuts them up.
pub(crate) struct Shard<T> {
    index: usize,
    /// Its lanes among those of the batch.
    lanes: Range<usize>,
    batch_size: usize,
    model: Model<T>,
    /// What is carried into its next window.
    state: Vec<T>,
}

impl<T: Dtype> Shard<T> {
    /// One of the shards of an experiment.
    pub fn new(experiment: &Experiment, index: usize) -> Self {
        let config = experiment.config();
        let rule = config.train.window_rule();
        let vocab_size = experiment.tokenizer().vocab_size();
        let each = rule.batch_size / config.train.shards.as_usize();
        let mut model = build_model::<T>(config, Mode::Train, vocab_size, each, rule.max_len());
        model.set_threads(experiment.threads());
        let (lanes, batch_size) = (index * each..(index + 1) * each, rule.batch_size);
        Self { index, lanes, batch_size, state: model.zero_state(), model }
    }

    pub fn index(&self) -> usize {
        self.index
    }

    pub fn model(&self) -> &Model<T> {
        &self.model
    }

    /// The threads of its model, for what else there is to do.
    pub fn pool(&mut self) -> &mut Pool {
        self.model.pool()
    }

    /// Overwrites the state it carries with that of its lanes.
    pub fn load(&mut self, all: &[T]) {
        let mut rest = &mut self.state[..];
        for place in places(&self.lanes, self.batch_size, &self.model) {
            let own = rest.split_off_mut(..place.len()).expect("all of its vectors");
            own.copy_from_slice(&all[place]);
        }
    }

    /// Overwrites that of its lanes with the state after the last window.
    pub fn carry(&mut self, all: &mut [T]) {
        self.model.carry(&mut self.state);
        let mut rest = &self.state[..];
        for place in places(&self.lanes, self.batch_size, &self.model) {
            let own = rest.split_off(..place.len()).expect("all of its vectors");
            all[place].copy_from_slice(own);
        }
    }

    /// The state of its first lane, as a model of one lane has it.
    pub fn first_lane(&self) -> Vec<T> {
        self.model.lane_state(&self.state, 0)
    }

    /// Its rows of a window.
    fn rows(&self, window: &Window) -> Range<usize> {
        self.lanes.start * window.len()..self.lanes.end * window.len()
    }

    /// Runs its part of a window. Returns the loss, summed over its characters, in nats.
    pub fn forward(
        &mut self,
        theta: &[T],
        window: &Window,
        masks: &mut Rng,
        reduction: Reduction,
    ) -> f64 {
        let rows = self.rows(window);
        self.model.draw_masks(masks);
        self.model.forward(theta, part(window, &rows), &self.state);
        self.model.loss(&window.y()[rows], reduction).to_f64()
    }

    /// The reverse of [`forward`](Self::forward). Overwrites `grads`.
    pub fn backward(&mut self, theta: &[T], window: &Window, grads: &mut [T]) {
        let rows = self.rows(window);
        self.model.backward(theta, part(window, &rows), grads, None);
    }
}

fn part<'w>(window: &'w Window, rows: &Range<usize>) -> rnn_model::Window<'w> {
    let resets = window.resets().get(rows.clone()).unwrap_or_default();
    rnn_model::Window { x: &window.x()[rows.clone()], resets }
}

/// Where each state vector of a model of some `lanes` lies in the state of all of them.
fn places<T: Dtype>(
    lanes: &Range<usize>,
    batch_size: usize,
    model: &Model<T>,
) -> impl Iterator<Item = Range<usize>> + use<T> {
    let hidden_size = model.dims().hidden_size;
    let (first, len) = (lanes.start * hidden_size, lanes.len() * hidden_size);
    let whole = batch_size * hidden_size;
    (0..model.state_len() / len).map(move |vector| {
        let start = vector * whole + first;
        start..start + len
    })
}
