//! Those who watch a run.

use data_io::TensorFile;

use crate::{Error, StepReport};

/// What happens in a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step was taken.
    Step(StepReport),
    /// The validation text was read.
    Eval {
        /// Steps taken before.
        step: u64,
        /// Mean loss over the whole validation text.
        nats_per_char: f64,
        /// Characters predicted.
        chars: u64,
    },
    /// The model wrote a text.
    Sample {
        /// Steps taken before.
        step: u64,
        /// The text.
        text: &'a str,
    },
    /// Everything needed to go on from here, to be kept.
    Checkpoint {
        /// Steps taken before.
        step: u64,
        /// The checkpoint.
        file: &'a TensorFile,
        /// The step of the model with the lowest validation loss so far.
        best: Option<u64>,
    },
    /// A value was no longer finite, and training went back to an earlier state.
    Rollback {
        /// The step that was not taken, or led nowhere.
        step: u64,
        /// What is not finite.
        what: &'a str,
        /// Steps taken before the state it went back to.
        to: u64,
        /// How often the run went back so far, each time to half the learning rate.
        rollbacks: u64,
    },
}

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    GoOn,
    /// It ends after this step, with a checkpoint.
    Stop,
}

/// Someone who watches a run: writes files, shows progress, ends it early.
pub trait Observer {
    /// Hears that training starts, from a state that was found to be good where it goes on.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    fn start(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Hears of an event.
    ///
    /// # Errors
    /// On anything that makes going on pointless, such as a full disk.
    fn observe(&mut self, event: &Event<'_>) -> Result<Flow, Error>;

    /// Hears that nothing more will happen, however the run ended.
    ///
    /// # Errors
    /// If something that was still going on could not be finished.
    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
