//! What a text costs a model, character by character.

use std::ops::ControlFlow;

use data_io::{Excerpt, TextError};
use rnn_model::{Model, Reduction, Window};

use crate::config::Mode;
use crate::{Config, Dtype, build_model};

/// Time steps that are read at once. No loss depends on it, but their sum in its last bits.
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
    /// time, in order, with the model that has just predicted them, until `see` breaks. Returns the sum
    /// of their losses in nats.
    ///
    /// With an `opening`, from which the first document of the text goes on, the first symbol is
    /// predicted too.
    ///
    /// # Errors
    /// If the text cannot be read any more.
    pub fn read(
        &mut self,
        theta: &[T],
        opening: &[u32],
        text: &Excerpt<'_>,
        mut see: impl FnMut(&[u32], &Model<T>) -> ControlFlow<()>,
    ) -> Result<f64, TextError> {
        let Self { model, state } = self;
        model.prepare(theta);
        let before = opening.split_last().map(|(last, earlier)| {
            for (place, id) in earlier.iter().enumerate() {
                model.read(theta, Window { x: &[*id], resets: &[place == 0] }, state);
                model.carry(state);
            }
            (*last, earlier.is_empty())
        });
        let mut total = 0.0;
        each_window(before, text, EVAL_STEPS, |window, targets| {
            model.read(theta, window, state);
            total += model.loss(targets, Reduction::Sum).to_f64();
            model.carry(state);
            see(targets, model)
        })?;
        Ok(total)
    }
}

/// Goes through a text from its start in windows of at most `steps` symbols, each with the symbols
/// that come after it, until `see` breaks. Where a symbol comes `before` the text, which goes on from
/// it, that is read first; a document may start with it.
///
/// # Errors
/// If the text cannot be read any more.
pub(crate) fn each_window(
    before: Option<(u32, bool)>,
    text: &Excerpt<'_>,
    steps: usize,
    mut see: impl FnMut(Window<'_>, &[u32]) -> ControlFlow<()>,
) -> Result<(), TextError> {
    let offset = usize::from(before.is_some());
    let (mut reader, n) = (text.reader(1), (offset + text.len()).saturating_sub(1));
    let (mut ids, mut starts) = (vec![0; steps + 1], vec![false; steps + 1]);
    for place in (0..n).step_by(steps) {
        let len = steps.min(n - place);
        let first = if place == 0 { offset } else { 0 };
        let (of_text, starts_of_text) = (&mut ids[first..=len], &mut starts[first..=len]);
        reader.read(0, place + first - offset, of_text, starts_of_text)?;
        if let (0, Some((id, starts_document))) = (place, before) {
            ids[0] = id;
            starts[..2].copy_from_slice(&[starts_document, false]);
        }
        if see(Window { x: &ids[..len], resets: &starts[..len] }, &ids[1..=len]).is_break() {
            break;
        }
    }
    Ok(())
}
