//! The body of the training loop: one window after the other.

use std::ops::ControlFlow;

use data_io::{Reader, TensorFile, Window, WindowRule, Windows};
use optim::{Optimizer, Schedule, Transform, Update, Verdict, WarmUp};
use rnn_model::{Generator, Model, Sampler};
use tensor_core::phase::{Phase, enter};
use tensor_core::reduce::{all_finite, norm};
use tensor_core::rng::{Rng, Stream, stream, stream_at};
use tensor_core::{Aligned, Layout, Segment};

use crate::checkpoint::{FORMAT, Head, Place, Slot};
use crate::config::{Mode, OnDivergence};
use crate::evaluator::Evaluator;
use crate::ranks::{Alone, Ranks, Tree, complete, gather, share};
use crate::shard::Shard;
use crate::{Dtype, Error, Experiment, build_model, guessing};

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
    ranks: &'e dyn Ranks,
    /// Those that this rank computes.
    shards: Vec<Shard<T>>,
    /// The summed loss of every shard, in nats.
    losses: Vec<f64>,
    theta: Aligned<T>,
    /// Moving average of the parameters, empty if none is wanted.
    average: Aligned<T>,
    /// The gradient of the last window.
    grads: Tree<T>,
    /// Carried state of every lane; between checkpoints another rank's lanes are not.
    state: Vec<T>,
    transforms: Vec<Box<dyn Transform<T>>>,
    optimizer: Box<dyn Optimizer<T>>,
    schedule: WarmUp,
    windows: Windows,
    window: Window,
    /// The training text.
    text: Reader<'e>,
    step: u64,
    /// Characters read so far.
    chars: u64,
    smooth_nats_per_char: f64,
    /// The lowest validation loss and the step at which it was found.
    best: Option<(u64, f64)>,
    /// How often training went back to an earlier state; each time halved the learning rate.
    rollbacks: u64,
    /// The state to go back to, where that is asked for.
    good: Option<TensorFile>,
    sampling: Sampling<T>,
    /// Reads the validation text.
    evaluator: Option<Evaluator<T>>,
}

/// Draws samples while training.
struct Sampling<T> {
    generator: Generator<T>,
    rng: Rng,
}

impl<'e, T: Dtype> Trainer<'e, T> {
    /// A trainer before its first step, with initial weights.
    pub fn new(experiment: &'e Experiment) -> Self {
        Self::among(experiment, &Alone)
    }

    /// The same for one of some processes that train together. All of them have to make the same calls.
    ///
    /// # Panics
    /// If there are more of them than `train.shards`.
    #[track_caller]
    pub fn among(experiment: &'e Experiment, ranks: &'e dyn Ranks) -> Self {
        let config = experiment.config();
        let rule = config.train.window_rule();
        let vocab_size = experiment.tokenizer().vocab_size();
        let all = config.train.shards.as_usize();
        let shards: Vec<_> = share(all, ranks.rank(), ranks.count())
            .map(|index| Shard::new(experiment, index))
            .collect();
        let model = shards.first().expect("a shard for each rank").model();
        let (layout, state_len) = (model.layout(), model.state_len() * all);
        let theta: Aligned<T> =
            experiment.initial().iter().map(|value| T::from_f64(*value)).collect();
        let transform = |part: &registry::Chosen<_>| T::transform(&**part, layout, rule.seed);
        Self {
            average: match config.optimizer_keys.ema.get() {
                0.0 => Aligned::default(),
                _ => theta.iter().copied().collect(),
            },
            grads: Tree::new(theta.len()),
            losses: vec![0.0; all],
            state: vec![T::ZERO; state_len],
            transforms: config.transforms.iter().map(transform).collect(),
            optimizer: T::optimizer(&*config.optimizer, layout),
            schedule: config.build_schedule(),
            windows: *experiment.windows(),
            window: rule.new_window(),
            text: experiment.train_text().reader(rule.batch_size),
            step: 0,
            chars: 0,
            smooth_nats_per_char: guessing(vocab_size),
            best: None,
            rollbacks: 0,
            good: None,
            sampling: Sampling {
                generator: Generator::new(build_model(config, Mode::Read, vocab_size, 1, 1))
                    .separated_by(config.separator(experiment.tokenizer())),
                rng: stream(rule.seed, Stream::Sample),
            },
            evaluator: (!experiment.val_text().is_empty())
                .then(|| Evaluator::new(config, vocab_size)),
            theta,
            shards,
            ranks,
            experiment,
        }
    }

    /// Reads windows of `seq_len` time steps from here on, and starts the text again; a measurement
    /// begins with short ones.
    ///
    /// # Panics
    /// If they are longer than those of the config.
    pub(crate) fn shorten_windows(&mut self, seq_len: usize) {
        let rule = WindowRule { seq_len, ..self.windows.rule() };
        assert!(rule.max_len() <= self.experiment.windows().rule().max_len(), "longer windows");
        self.windows = Windows::new(self.text.len(), rule).expect("the text holds longer ones");
    }

    /// Trains on the next window. One process alone allocates nothing for it.
    ///
    /// # Errors
    /// If the loss or the gradient is not finite; then the step is not taken, and parameters, state and
    /// place in the text are as they were. Also if the update makes a weight that is not finite: that
    /// ends the training, see [`is_finite`](Self::is_finite). Also if the text cannot be read any more.
    pub fn step(&mut self) -> Result<StepReport, Error> {
        let config = self.experiment.config();
        let step = self.step + 1;

        let mut windows = self.windows;
        windows.read(&mut self.text, &mut self.window)?;

        let (seed, shards) = (windows.rule().seed, self.losses.len());
        self.grads.clear();
        for shard in &mut self.shards {
            let mut masks =
                stream_at(seed, Stream::Dropout, step * shards as u64 + shard.index() as u64);
            let (index, loss) = (shard.index(), config.train.loss);
            shard.load(&self.state);
            self.losses[index] = shard.forward(&self.theta, &self.window, &mut masks, loss);
            self.grads
                .push(index..index + 1, |grads| shard.backward(&self.theta, &self.window, grads));
        }
        let share = |rank| share(shards, rank, self.ranks.count());
        gather(self.ranks, &mut self.losses, share)?;
        let total = self.losses.iter().fold(0.0, |total, loss| total + loss);
        let grads = complete(self.ranks, &mut self.grads, shards)?;

        let _phase = enter(Phase::Optimizer);
        if 1 < shards {
            // Each shard has the mean over its own lanes.
            let part = T::from_f64(1.0 / shards as f64);
            grads.iter_mut().for_each(|value| *value *= part);
        }
        let learning_rate = self.learning_rate(step);
        let grad_norm = norm(self.grads());
        let checkpoint = None;
        let diverged = |what| Error::Diverged { step, what, learning_rate, grad_norm, checkpoint };
        if !total.is_finite() {
            return Err(diverged("the loss".into()));
        }
        // A transform may clip what is infinite, so it is looked for now.
        let not_finite = if grad_norm.is_finite() { None } else { self.not_finite(self.grads()) };
        match (self.transform(step), not_finite) {
            (Verdict::Skip, _) => {}
            (Verdict::Step, Some(tensor)) => {
                let name = self.model().layout().segments()[tensor].name();
                return Err(diverged(format!("the gradient of `{name}`")));
            }
            (Verdict::Step, None) => {
                self.optimizer.update(Update {
                    step,
                    learning_rate,
                    params: &mut self.theta,
                    grads: self.grads.total(),
                    pool: self.shards[0].pool(),
                });
                self.take_average(step);
                if !self.is_finite() {
                    let tensor = self.not_finite(&self.theta).or(self.not_finite(&self.average));
                    let name = self.model().layout().segments()[tensor.unwrap_or_default()].name();
                    return Err(diverged(format!("weight `{name}`")));
                }
            }
        }

        // Only now is the step taken.
        self.shards.iter_mut().for_each(|shard| shard.carry(&mut self.state));
        self.windows = windows;
        self.step = step;
        let chars = self.window.x().len();
        self.chars += chars as u64;
        let nats_per_char = total / chars as f64;
        self.smooth_nats_per_char = 0.999 * self.smooth_nats_per_char + 0.001 * nats_per_char;
        Ok(StepReport {
            step,
            nats_per_char,
            smooth_nats_per_char: self.smooth_nats_per_char,
            grad_norm,
            learning_rate,
            chars: self.chars,
        })
    }

    /// The learning rate of the window that was read.
    ///
    /// A window of random length scales it by its length, as AWD-LSTM does, so that a character
    /// counts the same in each.
    pub(crate) fn learning_rate(&self, step: u64) -> f64 {
        let config = self.experiment.config();
        let factor = self.schedule.factor(step, config.train.steps.get() as u64);
        let scale = self.window.len() as f64 / config.train.seq_len.get() as f64;
        let halved = libm::ldexp(1.0, -(self.rollbacks as i32));
        config.optimizer_keys.learning_rate.get() * factor * scale * halved
    }

    /// Which tensor of `values`, which lie as the parameters do, is the first with a value that is not
    /// finite.
    fn not_finite(&self, values: &[T]) -> Option<usize> {
        let is_it = |segment: &Segment| !all_finite(&values[segment.range.clone()]);
        let segments = self.model().layout().segments();
        if values.is_empty() { None } else { segments.iter().position(is_it) }
    }

    /// Whether every weight is finite. Weights that are not make no checkpoint.
    pub fn is_finite(&self) -> bool {
        all_finite(&self.theta) && all_finite(&self.average)
    }

    /// Applies the transforms until one says that the step is to be left out.
    fn transform(&mut self, step: u64) -> Verdict {
        let (theta, grads) = (&self.theta, self.grads.total());
        let mut verdicts = self.transforms.iter_mut().map(|part| part.apply(step, theta, grads));
        verdicts.find(|verdict| *verdict == Verdict::Skip).unwrap_or(Verdict::Step)
    }

    /// Moves the average towards the parameters: `average ← keep·average + (1 - keep)·theta`.
    ///
    /// Early on `keep` is `(1 + step) / (10 + step)`, so that the average soon forgets where it
    /// started (as TensorFlow's ExponentialMovingAverage). Polyak & Juditsky, "Acceleration of
    /// stochastic approximation by averaging", 1992.
    fn take_average(&mut self, step: u64) {
        let ema = self.experiment.config().optimizer_keys.ema.get();
        let keep = ema.min((1 + step) as f64 / (10 + step) as f64);
        let (keep, take) = (T::from_f64(keep), T::from_f64(1.0 - keep));
        for (average, theta) in self.average.iter_mut().zip(&*self.theta) {
            *average = keep * *average + take * *theta;
        }
    }

    /// Draws `length` characters that continue what lane 0 has read, without moving the training. Of
    /// several ranks only the first can.
    pub fn sample(&mut self, length: usize) -> String {
        let weights = averaged(&self.theta, &self.average);
        let Sampling { generator, rng } = &mut self.sampling;
        generator.prepare(weights);
        let shard = &mut self.shards[0];
        shard.load(&self.state);
        generator.set_state(&shard.first_lane());
        // Behind the last window lies the first character of the next one, as min-char-rnn has it.
        let mut id = self.window.y()[self.window.len() - 1];
        let mut ids = Vec::with_capacity(length);
        for _ in 0..length {
            generator.feed(weights, id);
            id = generator.draw(&Sampler::default(), rng);
            ids.push(id);
        }
        self.experiment.tokenizer().decode(&ids)
    }

    /// The mean loss over the whole validation text, read from its start with the state carried within
    /// each document and each of `eval.parts`, and the number of its characters that were predicted.
    /// `None` without such a text. A schedule that listens hears of it.
    ///
    /// # Errors
    /// If the text cannot be read any more, or a rank is gone.
    pub fn evaluate(&mut self) -> Result<Option<(f64, u64)>, Error> {
        let weights = averaged(&self.theta, &self.average);
        let Some(evaluator) = &mut self.evaluator else { return Ok(None) };
        let text = self.experiment.val_text();
        let n = text.len() - 1;
        let mut parts = vec![0.0; self.experiment.config().eval.parts.as_usize().min(n)];
        let (count, ranks) = (parts.len(), self.ranks);
        for part in share(count, ranks.rank(), ranks.count()) {
            // The last character of one, which none comes after there, is the first of the next.
            let places = share(n, part, count);
            let text = text.part(places.start..places.end + 1);
            parts[part] = evaluator.read(weights, &[], &text, |_, _| ControlFlow::Continue(()))?;
        }
        gather(ranks, &mut parts, |rank| share(count, rank, ranks.count()))?;
        let nats_per_char = parts.iter().fold(0.0, |total, part| total + part) / n as f64;
        self.schedule.observe(nats_per_char);
        if nats_per_char.is_finite() && self.best.is_none_or(|(_, least)| nats_per_char < least) {
            self.best = Some((self.step, nats_per_char));
        }
        Ok(Some((nats_per_char, n as u64)))
    }

    /// The step with the lowest validation loss so far, and that loss in nats per character.
    pub fn best(&self) -> Option<(u64, f64)> {
        self.best
    }

    /// Whether the last `train.patience` evaluations all found a validation loss that was not the lowest.
    ///
    /// Evaluations are at multiples of `eval.every`, so the step and that of the best one tell their
    /// number. Prechelt, "Early stopping — but when?", 1998: the criterion UP, with the best so far in
    /// the place of the one before.
    pub fn is_out_of_patience(&self) -> bool {
        let config = self.experiment.config();
        let (patience, every) =
            (config.train.patience.get() as u64, config.eval.every.get() as u64);
        if patience == 0 || every == 0 {
            return false;
        }
        let best = self.best.map_or(0, |(step, _)| step);
        patience <= self.step / every - best / every
    }

    /// The moving average of the loss, min-char-rnn's, in nats per character; starts at `ln V`.
    pub fn smooth_nats_per_char(&self) -> f64 {
        self.smooth_nats_per_char
    }

    /// How often training went back to an earlier state.
    pub fn rollbacks(&self) -> u64 {
        self.rollbacks
    }

    /// Updates made so far.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// The model; its tape is that of the last window.
    pub fn model(&self) -> &Model<T> {
        self.shards[0].model()
    }

    /// The parameters that are trained, as [`Model::layout`] says.
    pub fn theta(&self) -> &[T] {
        &self.theta
    }

    /// The parameters to write, to evaluate and to keep: their moving average, where one is wanted.
    pub fn weights(&self) -> &[T] {
        averaged(&self.theta, &self.average)
    }

    /// The gradient of the last step, laid out as the parameters, as the optimizer saw it.
    pub fn grads(&self) -> &[T] {
        self.grads.sum()
    }

    /// Whether a run that diverges goes back to an earlier state.
    pub(crate) fn rolls_back(&self) -> bool {
        self.experiment.config().train.on_divergence == OnDivergence::Rollback
    }

    /// The state to go back to.
    pub(crate) fn good_state(&self) -> Option<&TensorFile> {
        self.good.as_ref()
    }

    pub(crate) fn set_good_state(&mut self, state: TensorFile) {
        self.good = Some(state);
    }

    pub(crate) fn set_rollbacks(&mut self, rollbacks: u64) {
        self.rollbacks = rollbacks;
    }

    /// Where [`weights`](Self::weights) are, to be overwritten.
    pub(crate) fn weights_mut(&mut self) -> (&Layout, &mut [T]) {
        let weights = if self.average.is_empty() { &mut self.theta } else { &mut self.average };
        (self.shards[0].model().layout(), weights)
    }

    /// Completes the carried state by that of other ranks' lanes.
    pub(crate) fn gather_state(&mut self) -> Result<(), Error> {
        let (hidden_size, batch_size) =
            (self.model().dims().hidden_size, self.windows.rule().batch_size);
        let (ranks, shards) = (self.ranks, self.losses.len());
        let each = batch_size / shards * hidden_size;
        let part = |rank| {
            let own = share(shards, rank, ranks.count());
            own.start * each..own.end * each
        };
        let mut vectors = self.state.chunks_exact_mut(batch_size * hidden_size);
        vectors.try_for_each(|vector| gather(ranks, vector, part))
    }

    /// The processes that train together.
    pub(crate) fn ranks(&self) -> &'e dyn Ranks {
        self.ranks
    }

    /// All that training changes, but for [`weights`](Self::weights) and what [`Head`] has, under the
    /// names it has in a checkpoint.
    pub(crate) fn slots(&mut self) -> Vec<Slot<'_, T>> {
        let mut slots = Vec::new();
        if !self.average.is_empty() {
            slots.push(Slot::flat("optimizer.theta", &mut self.theta));
        }
        for (name, values) in self.optimizer.state() {
            slots.push(Slot::flat(format!("optimizer.{name}"), values));
        }
        for (name, number) in self.schedule.state() {
            slots.push(Slot::number(format!("optimizer.schedule.{name}"), number));
        }
        for (index, transform) in self.transforms.iter_mut().enumerate() {
            for (name, values) in transform.state() {
                slots.push(Slot::flat(format!("optimizer.transform.{index}.{name}"), values));
            }
        }
        let rule = self.windows.rule();
        let model = self.shards[0].model();
        let (batch_size, hidden_size) = (rule.batch_size, model.dims().hidden_size);
        let vectors = self.state.chunks_exact_mut(batch_size * hidden_size);
        for ((name, _), values) in model.states().into_iter().zip(vectors) {
            let (name, shape) = (format!("state.{name}"), vec![batch_size, hidden_size]);
            slots.push(Slot { name, shape, place: Place::Values(values) });
        }
        slots.push(Slot::number("state.smooth_nats_per_char", &mut self.smooth_nats_per_char));
        slots
    }

    /// All that training changes and is no tensor.
    pub(crate) fn head(&self) -> Result<Head, Error> {
        let experiment = self.experiment;
        Ok(Head {
            format: FORMAT,
            step: self.step,
            config: experiment.config().to_text_without_directories(),
            symbols: experiment.tokenizer().symbols(),
            text: experiment.text().digest()?.to_owned(),
            chars: self.chars,
            windows: self.windows.state(),
            sample_rng_word: self.sampling.rng.get_word_pos().to_string(),
            best: self.best,
            rollbacks: self.rollbacks,
        })
    }

    /// The mirror image of [`head`](Self::head), or what is wrong with it.
    pub(crate) fn set_head(&mut self, head: &Head) -> Result<(), String> {
        let experiment = self.experiment;
        if head.symbols != experiment.tokenizer().symbols() {
            return Err("its vocabulary is not that of the text".into());
        }
        self.windows = *experiment.windows();
        let text = experiment.text().digest().map_err(|error| error.to_string())?;
        if head.text == text && !self.windows.restore(head.windows) {
            return Err(format!("{:?} is no place in the text", head.windows));
        }
        let word =
            head.sample_rng_word.parse().map_err(|_| "its `sample_rng_word` is no number")?;
        self.sampling.rng.set_word_pos(word);
        self.step = head.step;
        self.chars = head.chars;
        self.best = head.best;
        self.rollbacks = head.rollbacks;
        Ok(())
    }
}

/// The moving average of `theta`, or `theta` itself where none is kept.
///
/// Apart from the trainer, so that its other fields can be written while these are read.
fn averaged<'a, T>(theta: &'a [T], average: &'a [T]) -> &'a [T] {
    if average.is_empty() { theta } else { average }
}
