//! What a text costs a model, character by character.

use data_io::{Excerpt, TextError};
use rnn_model::{Model, Reduction, Window};

use crate::config::Mode;
use crate::{Config, Dtype, build_model};

/// Time steps that are read at once. No result depends on it.
pub(crate) const EVAL_STEPS: usize = 128;

/// Reads texts in one lane, each from its start, with the state carried within each document.
pub(crate) struct Evaluator<T> {
    model: Model<T>,
    state: Vec<T>,
}

impl<T: Dtype> Evaluator<T> {
    /// An evaluator for models over `vocab_size` symbols.
    pub fn new(config: &Config, vocab_size: usize) -> Self {
        let model = build_model::<T>(config, Mode::Read, vocab_size, 1, EVAL_STEPS);
        Self { state: model.zero_state(), model }
    }

    /// Reads `text` with the weights `theta`, and shows every symbol of it but the first, some at a
    /// time, in order, with the loss of each in nats.
    ///
    /// # Errors
    /// If the text cannot be read any more.
    pub fn read(
        &mut self,
        theta: &[T],
        text: &Excerpt<'_>,
        mut see: impl FnMut(&[u32], &[T]),
    ) -> Result<(), TextError> {
        let Self { model, state } = self;
        let (mut reader, n) = (text.reader(1), text.len().saturating_sub(1));
        let (mut ids, mut starts) = ([0; EVAL_STEPS + 1], [false; EVAL_STEPS + 1]);
        model.prepare(theta);
        for place in (0..n).step_by(EVAL_STEPS) {
            let len = EVAL_STEPS.min(n - place);
            reader.read(0, place, &mut ids[..=len], &mut starts[..=len])?;
            model.read(theta, Window { x: &ids[..len], resets: &starts[..len] }, state);
            let targets = &ids[1..=len];
            model.loss(targets, Reduction::Sum);
            model.carry(state);
            see(targets, model.losses());
        }
        Ok(())
    }
}
