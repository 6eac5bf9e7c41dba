//! The training loop.

use crate::ranks::{self, Alone, Ranks};
use crate::{Checkpoint, Dtype, DtypeName, Error, Event, Experiment, Flow, Observer, Trainer};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Steps taken.
    pub step: u64,
    /// The moving average of the loss at the end, in nats per character.
    pub smooth_nats_per_char: f64,
    /// Whether an observer ended it before its last step.
    pub stopped: bool,
    /// Whether it ended because the validation loss had not improved for `train.patience` evaluations.
    pub out_of_patience: bool,
    /// The step with the lowest validation loss, and that loss in nats per character.
    pub best: Option<(u64, f64)>,
}

/// Trains what an experiment describes, and tells the observers, in their order, what happens.
///
/// # Errors
/// On the first error of an observer, and when the run diverges and does not roll back. The
/// checkpoint of the last good step goes out before the error of a run that diverged.
pub fn train(
    experiment: &Experiment,
    observers: &mut [&mut dyn Observer],
) -> Result<Outcome, Error> {
    train_from(experiment, None, &Alone, observers)
}

/// The same from a checkpoint on, or from the start where there is none, together with other `ranks`:
/// each calls this with the same experiment and checkpoint. Observers hear of samples and checkpoints on
/// the first rank alone.
///
/// # Errors
/// Also if the ranks do not [`agree`], or one is gone; and if the checkpoint does not fit the experiment, see
/// [`Trainer::restore`].
pub fn train_from(
    experiment: &Experiment,
    checkpoint: Option<&Checkpoint>,
    ranks: &dyn Ranks,
    observers: &mut [&mut dyn Observer],
) -> Result<Outcome, Error> {
    agree(experiment, ranks)?;
    let result = match experiment.config().model.dtype {
        DtypeName::F32 => train_in::<f32>(experiment, checkpoint, ranks, observers),
        DtypeName::F64 => train_in::<f64>(experiment, checkpoint, ranks, observers),
    };
    let finished = observers.iter_mut().map(|observer| observer.finish());
    // All of them finish, whether or not one fails.
    let finished = finished.fold(Ok(()), Result::and);
    result.and_then(|outcome| finished.map(|()| outcome))
}

/// Makes sure that all ranks have the same version, config and text, and that each has something to do.
///
/// # Errors
/// If it is not so, with the first rank that differs.
pub fn agree(experiment: &Experiment, ranks: &dyn Ranks) -> Result<(), Error> {
    if ranks.count() == 1 {
        return Ok(());
    }
    let train = &experiment.config().train;
    let (shards, lanes) = (train.shards.as_usize(), train.batch_size.as_usize());
    let count = ranks.count();
    if shards < count {
        return Err(Error::Config {
            file: experiment.name().to_owned(),
            place: None,
            message: format!("{count} ranks for train.shards = {shards}: each needs one"),
            help: Some(match lanes.is_multiple_of(count) {
                true => format!("start fewer, or --set train.shards={count}"),
                false => format!(
                    "start fewer, or --set train.shards={count} --set train.batch_size={}",
                    lanes.next_multiple_of(count)
                ),
            }),
        });
    }
    let digest = |text: &str| *blake3::hash(text.as_bytes()).as_bytes();
    ranks::same(ranks, "version", digest(env!("CARGO_PKG_VERSION")))?;
    ranks::same(ranks, "config", digest(&experiment.config().to_text_without_directories()))?;
    ranks::same(ranks, "text", digest(experiment.text().digest()?))
}

fn train_in<T: Dtype>(
    experiment: &Experiment,
    checkpoint: Option<&Checkpoint>,
    ranks: &dyn Ranks,
    observers: &mut [&mut dyn Observer],
) -> Result<Outcome, Error> {
    let mut trainer = Trainer::<T>::among(experiment, ranks);
    if let Some(checkpoint) = checkpoint {
        checkpoint.restore(&mut trainer)?;
    } else if trainer.rolls_back() {
        trainer.keep_state()?;
    }
    observers.iter_mut().try_for_each(|observer| observer.start())?;
    let saved = checkpoint.map(Checkpoint::step);
    let mut run = Run { experiment, trainer, observers, saved, stopped: false };
    if let Some(checkpoint) = checkpoint
        && run.trainer.head()? != checkpoint.head
    {
        // It goes on with another config or text, which its directory has from now on. Killed before the
        // next checkpoint, it would find one that does not fit.
        run.save()?;
    }
    run.go_to_end()?;
    Ok(Outcome {
        step: run.trainer.step_count(),
        smooth_nats_per_char: run.trainer.smooth_nats_per_char(),
        stopped: run.stopped,
        out_of_patience: run.trainer.is_out_of_patience(),
        best: run.trainer.best(),
    })
}

/// A run in progress.
struct Run<'a, 'e, 'o, T> {
    experiment: &'e Experiment,
    trainer: Trainer<'e, T>,
    observers: &'a mut [&'o mut dyn Observer],
    /// The step of the last checkpoint.
    saved: Option<u64>,
    /// Whether an observer wants it to end.
    stopped: bool,
}

impl<T: Dtype> Run<'_, '_, '_, T> {
    fn go_to_end(&mut self) -> Result<(), Error> {
        let train = &self.experiment.config().train;
        while !self.is_over() && !self.stopped {
            match self.turn() {
                Ok(()) => {}
                Err(Error::Diverged { step, what, .. })
                    if self.trainer.rolls_back()
                        && self.trainer.rollbacks() < train.max_rollbacks.get() as u64 =>
                {
                    self.trainer.roll_back();
                    let (to, rollbacks) = (self.trainer.step_count(), self.trainer.rollbacks());
                    self.tell(&Event::Rollback { step, what: &what, to, rollbacks })?;
                }
                Err(Error::Diverged { step, what, learning_rate, grad_norm, .. }) => {
                    self.save_last_good()?;
                    let checkpoint = self.saved;
                    return Err(Error::Diverged {
                        step,
                        what,
                        learning_rate,
                        grad_norm,
                        checkpoint,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether there is no step to take. This follows from what a checkpoint holds, so that a run which
    /// ended early does not go on when it is resumed.
    fn is_over(&self) -> bool {
        let steps = self.experiment.config().train.steps.get() as u64;
        steps <= self.trainer.step_count() || self.trainer.is_out_of_patience()
    }

    /// One step, and what is due after it. The checkpoint comes last, so that all the rest of the step
    /// lies before it.
    fn turn(&mut self) -> Result<(), Error> {
        let config = self.experiment.config();
        let report = self.trainer.step()?;
        let step = report.step;
        self.tell(&Event::Step(report))?;
        if config.eval.every.is_due(step)
            && let Some((nats_per_char, chars)) = self.trainer.evaluate()?
        {
            self.tell(&Event::Eval { step, nats_per_char, chars })?;
        }
        if config.sample.every.is_due(step) && self.trainer.ranks().rank() == 0 {
            let text = self.trainer.sample(config.sample.length.as_usize());
            self.tell(&Event::Sample { step, text: &text })?;
        }
        // One that is to stop stops all.
        self.stopped = ranks::any(self.trainer.ranks(), self.stopped)?;
        let is_due = config.checkpoint.every.is_due(step);
        if is_due && self.trainer.rolls_back() {
            self.trainer.keep_state()?;
        }
        let is_best = self.trainer.best().is_some_and(|(best, _)| best == step);
        if is_due || is_best || self.is_over() || self.stopped {
            self.save()?;
        }
        Ok(())
    }

    fn save(&mut self) -> Result<(), Error> {
        let (step, file) = (self.trainer.step_count(), self.trainer.checkpoint()?);
        let best = self.trainer.best().map(|(best, _)| best);
        self.tell(&Event::Checkpoint { step, file: &file, best })?;
        self.saved = Some(step);
        Ok(())
    }

    /// Saves where the last step led to, if it was a good one and is not saved.
    fn save_last_good(&mut self) -> Result<(), Error> {
        let step = self.trainer.step_count();
        if self.saved == Some(step) || step == 0 || !self.trainer.is_finite() {
            return Ok(());
        }
        match self.save() {
            Err(Error::Diverged { .. }) => Ok(()),
            result => result,
        }
    }

    fn tell(&mut self, event: &Event<'_>) -> Result<(), Error> {
        for observer in &mut *self.observers {
            self.stopped |= observer.observe(event)? == Flow::Stop;
        }
        Ok(())
    }
}
