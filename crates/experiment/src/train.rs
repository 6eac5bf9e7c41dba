//! The training loop.

use crate::{Dtype, DtypeName, Error, Event, Experiment, Flow, Observer, Trainer};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Steps taken.
    pub step: u64,
    /// The moving average of the loss at the end.
    pub smooth_nats_per_char: f64,
    /// Whether an observer ended it before its last step.
    pub stopped: bool,
    /// The lowest validation loss and the step at which it was found.
    pub best: Option<(u64, f64)>,
}

/// Trains what an experiment describes, and tells the observers, in their order, what happens.
///
/// # Errors
/// On the first error of an observer, and when the run diverges. The checkpoint of the last good
/// step goes out before the error of a run that diverged.
pub fn train(
    experiment: &Experiment,
    observers: &mut [&mut dyn Observer],
) -> Result<Outcome, Error> {
    match experiment.config().model.dtype {
        DtypeName::F32 => train_in::<f32>(experiment, observers),
        DtypeName::F64 => train_in::<f64>(experiment, observers),
    }
}

fn train_in<T: Dtype>(
    experiment: &Experiment,
    observers: &mut [&mut dyn Observer],
) -> Result<Outcome, Error> {
    let config = experiment.config();
    let steps = config.train.steps.get() as u64;
    let mut trainer = Trainer::<T>::new(experiment);
    let mut outcome =
        Outcome { step: 0, smooth_nats_per_char: f64::NAN, stopped: false, best: None };
    let mut saved = None;
    let mut tell = |event: Event<'_>| {
        for observer in &mut *observers {
            outcome.stopped |= observer.observe(&event)? == Flow::Stop;
        }
        Ok::<_, Error>(outcome.stopped)
    };

    while outcome.step < steps {
        let report = match trainer.step() {
            Ok(report) => report,
            Err(error) => {
                let step = outcome.step;
                if saved != Some(step) && 0 < step && trainer.is_finite() {
                    tell(Event::Checkpoint { step, file: &trainer.checkpoint()?, best: false })?;
                }
                return Err(error);
            }
        };
        let step = report.step;
        outcome.step = step;
        outcome.smooth_nats_per_char = report.smooth_nats_per_char;
        let mut stop = tell(Event::Step(report))?;

        let mut best = false;
        if config.eval.every.is_due(step)
            && let Some((nats_per_char, chars)) = trainer.evaluate()?
        {
            best = outcome.best.is_none_or(|(_, least)| nats_per_char < least);
            if best {
                outcome.best = Some((step, nats_per_char));
            }
            stop |= tell(Event::Eval { step, nats_per_char, chars })?;
        }
        if config.sample.every.is_due(step) {
            let text = trainer.sample(config.sample.length.as_usize());
            stop |= tell(Event::Sample { step, text: &text })?;
        }
        if best || config.checkpoint.every.is_due(step) || step == steps || stop {
            tell(Event::Checkpoint { step, file: &trainer.checkpoint()?, best })?;
            saved = Some(step);
        }
        if stop {
            break;
        }
    }
    Ok(outcome)
}
