//! The body of the training loop: one window after the other.

use data_io::Sweep;
use optim::{Optimizer, Schedule, Transform, Verdict};
use rnn_model::{Generator, Model, Sampler};
use tensor_core::reduce::norm;
use tensor_core::rng::{Rng, Stream, stream};

use crate::{Dtype, Error, Experiment, build_model};

/// What one step of training did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Updates made so far, this one included.
    pub step: u64,
    /// Mean loss of the window's characters, before the update.
    pub nats_per_char: f64,
    /// Moving average, `0.999·average + 0.001·loss`, which starts at ln(vocab_size).
    pub smooth_nats_per_char: f64,
    /// L2 norm of the gradient before transforms.
    pub grad_norm: f64,
    /// The learning rate of this update.
    pub learning_rate: f64,
    /// Characters read so far.
    pub chars: u64,
}

/// A model in training: parameters, what the optimizer keeps, and the place in the text.
pub struct Trainer<'e, T> {
    experiment: &'e Experiment,
    model: Model<T>,
    theta: Vec<T>,
    grads: Vec<T>,
    /// Carried state of every lane.
    state: Vec<T>,
    transforms: Vec<Box<dyn Transform<T>>>,
    optimizer: Box<dyn Optimizer<T>>,
    schedule: Box<dyn Schedule>,
    sweep: Sweep,
    /// Inputs of a window, time-major `[seq_len·batch_size]`.
    x: Vec<u32>,
    /// The characters behind them.
    y: Vec<u32>,
    step: u64,
    smooth_nats_per_char: f64,
    sampling: Sampling<T>,
    /// Reads the validation text.
    evaluator: Option<Evaluator<T>>,
}

/// Draws samples while training.
struct Sampling<T> {
    generator: Generator<T>,
    rng: Rng,
}

/// Reads a text from its start, in one lane.
struct Evaluator<T> {
    model: Model<T>,
    state: Vec<T>,
}

/// Time steps in which an evaluation reads its text. No result depends on it.
const EVAL_STEPS: usize = 128;

impl<'e, T: Dtype> Trainer<'e, T> {
    /// A trainer before its first step, with initial weights.
    pub fn new(experiment: &'e Experiment) -> Self {
        let config = experiment.config();
        let (batch_size, seq_len) =
            (config.train.batch_size.as_usize(), config.train.seq_len.as_usize());
        let vocab_size = experiment.tokenizer().vocab_size();
        let seed = config.train.seed.get() as u64;
        let model = build_model::<T>(config, vocab_size, batch_size, seq_len);
        let layout = model.layout();

        let theta: Vec<T> = experiment.initial().iter().map(|value| T::from_f64(*value)).collect();
        let n = batch_size * seq_len;
        Self {
            grads: vec![T::ZERO; theta.len()],
            state: model.zero_state(),
            transforms: config
                .transforms
                .iter()
                .map(|part| T::transform(&**part, layout, seed))
                .collect(),
            optimizer: T::optimizer(&*config.optimizer, layout),
            schedule: config.schedule.build(),
            sweep: experiment.sweep().clone(),
            x: vec![0; n],
            y: vec![0; n],
            step: 0,
            smooth_nats_per_char: libm::log(vocab_size as f64),
            sampling: Sampling {
                generator: Generator::new(build_model(config, vocab_size, 1, 1)),
                rng: stream(seed, Stream::Sample),
            },
            evaluator: (!experiment.val_ids().is_empty()).then(|| {
                let model = build_model::<T>(config, vocab_size, 1, EVAL_STEPS);
                Evaluator { state: model.zero_state(), model }
            }),
            theta,
            model,
            experiment,
        }
    }

    /// Trains on the next window. Allocates nothing.
    ///
    /// # Errors
    /// If loss or gradient is no longer finite. The step is not taken: parameters, state and place
    /// in the text are as they were.
    pub fn step(&mut self) -> Result<StepReport, Error> {
        let config = self.experiment.config();
        let step = self.step + 1;

        let mut sweep = self.sweep.clone();
        if sweep.next(self.experiment.train_ids(), &mut self.x, &mut self.y) {
            self.state.fill(T::ZERO);
        }

        self.model.forward(&self.theta, &self.x, &self.state);
        let total = self.model.loss(&self.y, config.train.loss).to_f64();
        self.grads.fill(T::ZERO);
        self.model.backward(&self.theta, &self.x, &mut self.grads, None);

        let learning_rate = self.learning_rate(step);
        let grad_norm = norm(&self.grads);
        let mut verdict = Verdict::Step;
        for transform in &mut self.transforms {
            verdict = transform.apply(step, &self.theta, &mut self.grads);
            if verdict == Verdict::Skip {
                break;
            }
        }
        let diverged = |what| Error::Diverged { step, what, learning_rate, grad_norm };
        if !total.is_finite() {
            return Err(diverged("the loss"));
        }
        match verdict {
            Verdict::Skip => {}
            Verdict::Step if !grad_norm.is_finite() => return Err(diverged("the gradient")),
            Verdict::Step => {
                self.optimizer.update(step, learning_rate, &mut self.theta, &self.grads);
            }
        }

        // Only now is the step taken.
        self.model.carry(&mut self.state);
        self.sweep = sweep;
        self.step = step;
        let nats_per_char = total / self.x.len() as f64;
        self.smooth_nats_per_char = 0.999 * self.smooth_nats_per_char + 0.001 * nats_per_char;
        Ok(StepReport {
            step,
            nats_per_char,
            smooth_nats_per_char: self.smooth_nats_per_char,
            grad_norm,
            learning_rate,
            chars: step * self.x.len() as u64,
        })
    }

    fn learning_rate(&self, step: u64) -> f64 {
        let config = self.experiment.config();
        config.learning_rate.get() * self.schedule.factor(step, config.train.steps.get() as u64)
    }

    /// Draws `length` characters that continue what lane 0 has read, without moving the training.
    pub fn sample(&mut self, length: usize) -> String {
        let Sampling { generator, rng } = &mut self.sampling;
        generator.set_state(&self.model.lane_state(&self.state, 0));
        // Behind the last window lies the first character of the next one, as min-char-rnn has it.
        let batch_size = self.model.dims().batch_size;
        let mut id = self.y[self.y.len() - batch_size];
        let mut ids = Vec::with_capacity(length);
        for _ in 0..length {
            generator.feed(&self.theta, id);
            id = generator.draw(&Sampler::default(), rng);
            ids.push(id);
        }
        self.experiment.tokenizer().decode(&ids)
    }

    /// The mean loss over the whole validation text, read from its start with the state carried, and
    /// the number of its characters that were predicted. `None` without such a text.
    pub fn evaluate(&mut self) -> Option<(f64, u64)> {
        let Evaluator { model, state } = self.evaluator.as_mut()?;
        let ids = self.experiment.val_ids();
        let (x, y) = (&ids[..ids.len() - 1], &ids[1..]);
        state.fill(T::ZERO);
        let mut total = 0.0;
        for (x, y) in x.chunks(EVAL_STEPS).zip(y.chunks(EVAL_STEPS)) {
            model.forward(&self.theta, x, state);
            total += model.loss(y, self.experiment.config().train.loss).to_f64();
            model.carry(state);
        }
        Some((total / y.len() as f64, y.len() as u64))
    }

    /// Updates made so far.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// The model; its tape is that of the last window.
    pub fn model(&self) -> &Model<T> {
        &self.model
    }

    /// The parameters, as [`Model::layout`] says.
    pub fn theta(&self) -> &[T] {
        &self.theta
    }

    /// The gradient of the last step, laid out as the parameters, as the optimizer saw it.
    pub fn grads(&self) -> &[T] {
        &self.grads
    }

    pub(crate) fn experiment(&self) -> &'e Experiment {
        self.experiment
    }

    pub(crate) fn state(&self) -> &[T] {
        &self.state
    }

    pub(crate) fn optimizer_state(&mut self) -> Vec<(&'static str, &mut [T])> {
        self.optimizer.state()
    }

    pub(crate) fn smooth_nats_per_char(&self) -> f64 {
        self.smooth_nats_per_char
    }

    pub(crate) fn position(&self) -> usize {
        self.sweep.position()
    }

    pub(crate) fn sampling_rng(&self) -> &Rng {
        &self.sampling.rng
    }
}
