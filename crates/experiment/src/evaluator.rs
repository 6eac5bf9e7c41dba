//! What a text costs a model, character by character.

use std::ops::ControlFlow;

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
        self.read_after(theta, &[], text, |ids, losses| {
            see(ids, losses);
            ControlFlow::Continue(())
        })
    }

    /// The same after an `opening`, which the first document of the text goes on from; with one the
    /// first symbol of the text is shown too. Reads on until `see` breaks.
    ///
    /// # Errors
    /// If the text cannot be read any more.
    pub fn read_after(
        &mut self,
        theta: &[T],
        opening: &[u32],
        text: &Excerpt<'_>,
        mut see: impl FnMut(&[u32], &[T]) -> ControlFlow<()>,
    ) -> Result<(), TextError> {
        let Self { model, state } = self;
        let mut reader = text.reader(1);
        let n = (opening.len() + text.len()).saturating_sub(1);
        let (mut ids, mut starts) = ([0; EVAL_STEPS + 1], [false; EVAL_STEPS + 1]);
        model.prepare(theta);
        for place in (0..n).step_by(EVAL_STEPS) {
            let len = EVAL_STEPS.min(n - place);
            let opened = opening.len().saturating_sub(place).min(len + 1);
            if 0 < opened {
                ids[..opened].copy_from_slice(&opening[place..][..opened]);
                starts[..opened].fill(false);
                starts[0] = place == 0;
            }
            if opened <= len {
                let (ids, starts) = (&mut ids[opened..=len], &mut starts[opened..=len]);
                reader.read(0, place + opened - opening.len(), ids, starts)?;
            }
            // The text goes on from the opening.
            if 0 < opening.len() && place <= opening.len() && opening.len() <= place + len {
                starts[opening.len() - place] = false;
            }
            model.read(theta, Window { x: &ids[..len], resets: &starts[..len] }, state);
            let targets = &ids[1..=len];
            model.loss(targets, Reduction::Sum);
            model.carry(state);
            let opened = opening.len().saturating_sub(place + 1).min(len);
            if see(&targets[opened..], &model.losses()[opened..]).is_break() {
                break;
            }
        }
        Ok(())
    }
}
