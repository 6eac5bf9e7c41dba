//! Many runs of one config: every combination of some keys' values, and the best of them.
//!
//! A combination is a run in a directory of its own, as `cli run` makes it, and goes on from its newest
//! checkpoint whenever it is called again: so a sweep that was stopped goes on, and a run of it is the
//! same run alone. With halving, all runs get a few steps, the better half of them twice as many, and so
//! on to the end: Jamieson & Talwalkar, "Non-stochastic best arm identification and hyperparameter
//! optimization", AISTATS 2016. Runs are compared by their lowest validation loss.
//!
//! Processes that do it together deal the runs of each round among them, and tell each other how far they
//! have come; the directory of the sweep is one that all of them see.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, mpsc};
use std::thread;

use data_io::Unit;
use serde::{Deserialize, Serialize};

use crate::ranks::{Alone, Ranks, tell};
use crate::{
    Config, Error, Event, Experiment, Flow, Observer, Parts, Permitted, RunDir, open_config,
    train_from,
};

/// A key with the values it is tried at, as in `--grid optimizer.learning_rate=1e-3,3e-3`.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// The key of the config.
    pub key: String,
    /// Its values as TOML.
    pub values: Vec<String>,
}

impl Axis {
    /// Reads `KEY=VALUE,VALUE`. A comma in brackets, braces or quotes belongs to its value.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (key, list) = text.split_once('=').ok_or("must be KEY=VALUE,VALUE")?;
        let (mut values, mut depth, mut quote) = (vec![String::new()], 0, None);
        for c in list.chars() {
            match (c, quote) {
                (',', None) if depth == 0 => {
                    values.push(String::new());
                    continue;
                }
                ('[' | '{', None) => depth += 1,
                (']' | '}', None) => depth -= 1,
                ('"' | '\'', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                _ => {}
            }
            values.last_mut().expect("there is one").push(c);
        }
        let values: Vec<_> = values.iter().map(|value| value.trim().to_owned()).collect();
        let key = key.trim().to_owned();
        match values.iter().position(String::is_empty) {
            _ if key.is_empty() => Err("the key is missing".into()),
            Some(place) => Err(format!("value {} of {key} is empty", place + 1)),
            None => Ok(Self { key, values }),
        }
    }
}

/// One value for each key.
#[derive(Clone, Debug, PartialEq)]
pub struct Combination {
    /// What its run directory is called: its number in the sweep, and the values.
    pub name: String,
    /// `KEY=VALUE` for each key, the last one changing fastest.
    pub overrides: Vec<String>,
}

/// Every combination of the values of all axes.
pub fn combinations(axes: &[Axis]) -> Vec<Combination> {
    let mut all = vec![Vec::new()];
    for axis in axes {
        let with = |before: &Vec<String>| {
            let value = |value| [&before[..], &[format!("{}={value}", axis.key)]].concat();
            axis.values.iter().map(value).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(with).collect();
    }
    let digits = all.len().to_string().len();
    let named = |(index, overrides): (usize, Vec<String>)| {
        let short: Vec<_> = overrides.iter().map(|set| short_name(set)).collect();
        let name = format!("{:0digits$} {}", index + 1, short.join(" "));
        Combination { name: name.trim_end().to_owned(), overrides }
    };
    all.into_iter().enumerate().map(named).collect()
}

/// `learning_rate=0.003` of `optimizer.learning_rate=0.003`, with what no file name has left out.
fn short_name(set: &str) -> String {
    let (key, value) = set.split_once('=').unwrap_or((set, ""));
    let key = key.rsplit('.').next().unwrap_or(key);
    let is_plain = |c: &char| c.is_alphanumeric() || "._-+".contains(*c);
    let value: String = value.chars().filter(is_plain).take(40).collect();
    format!("{key}={value}")
}

/// What is to be run, and how.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The config file.
    pub config: PathBuf,
    /// `KEY=VALUE` for all runs.
    pub overrides: Vec<String>,
    /// The runs.
    pub combinations: Vec<Combination>,
    /// The directory in which each run has one.
    pub root: PathBuf,
    /// Runs at a time.
    pub jobs: usize,
    /// Threads of each.
    pub threads: usize,
    /// Whether the worse half ends early, again and again.
    pub halving: bool,
}

/// How far a run has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Its combination's place in the sweep.
    pub index: usize,
    /// Steps taken.
    pub step: u64,
    /// The step with the lowest validation loss, and that loss in nats per character.
    pub best: Option<(u64, f64)>,
    /// Number of trained parameters.
    pub parameters: usize,
    /// What a loss of it is for each of.
    #[serde(skip)]
    pub unit: Unit,
    /// Why it ended before its last step, if it did.
    pub ended: Option<Ended>,
}

/// Why a run ended before its last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// A value was no longer finite at this step.
    Diverged(u64),
    /// The validation loss had not improved for `train.patience` evaluations.
    OutOfPatience,
}

impl Standing {
    /// By loss, those that diverged or have none last; where losses are equal, in the order of the
    /// sweep.
    fn place(&self) -> (bool, f64, usize) {
        let diverged = matches!(self.ended, Some(Ended::Diverged(_)));
        (diverged, self.best.map_or(f64::INFINITY, |(_, nats)| nats), self.index)
    }
}

/// What is heard of a sweep while it goes on.
#[derive(Clone, Debug, PartialEq)]
pub enum SweepEvent {
    /// Runs of the sweep go on to a step.
    Rung {
        /// How many.
        runs: usize,
        /// The step.
        step: u64,
    },
    /// A run has come there.
    Reached(Standing),
    /// A checkpoint of a run is damaged, and the one before it taken.
    Damaged {
        /// Its place in the sweep.
        index: usize,
        /// Where and what.
        what: String,
    },
    /// A run was validated.
    Eval {
        /// Its place in the sweep.
        index: usize,
        /// Steps taken.
        step: u64,
        /// Loss over the validation text.
        nats_per_char: f64,
        /// What that is for each of.
        unit: Unit,
    },
}

impl Sweep {
    /// Checks that every combination is a config that can be compared with the others.
    ///
    /// # Errors
    /// On the first one that is not.
    fn check(&self, parts: &Parts) -> Result<Vec<Config>, Error> {
        let check = |combination: &Combination| {
            let config = Config::parse(&self.document(combination)?, parts)?;
            if !config.is_ever_evaluated() || config.data.split[1].get() == 0.0 {
                return Err(Error::Argument {
                    place: self.config.display().to_string(),
                    message: "a sweep compares validation losses, and this config has none".into(),
                    help: "hold some text out and read it every so many of the steps, as in --set \
                           'data.split=[0.9, 0.1, 0.0]' --set eval.every=500"
                        .into(),
                });
            }
            Ok(config)
        };
        self.combinations.iter().map(check).collect()
    }

    fn document(&self, combination: &Combination) -> Result<registry::Document, Error> {
        open_config(&self.config, &[&self.overrides[..], &combination.overrides].concat())
    }

    /// The run directory of a combination.
    pub fn run_path(&self, index: usize) -> PathBuf {
        self.root.join(&self.combinations[index].name)
    }

    /// Runs all of it among some `ranks`, or goes on where it stopped, and returns the runs with the best
    /// one first. `None` if one of them was `stopped`.
    ///
    /// # Errors
    /// If a combination is no config, or has no validation losses, before anything is run; and on the first
    /// error of a run other than that it diverged, after those beside it have stopped with a checkpoint.
    pub fn run(
        &self,
        parts: &Parts,
        ranks: &dyn Ranks,
        stopped: &(dyn Fn() -> bool + Sync),
        hear: &mut dyn FnMut(SweepEvent),
    ) -> Result<Option<Vec<Standing>>, Error> {
        let configs = self.check(parts)?;
        let (mut alive, mut out): (Vec<_>, Vec<Standing>) =
            ((0..configs.len()).collect(), Vec::new());
        let shares = if self.halving { halvings(configs.len()) } else { vec![1.0] };
        for (rung, share) in shares.iter().enumerate() {
            let until = |index: usize| target(&configs[index], *share);
            let step = alive.iter().map(|index| until(*index)).max().unwrap_or(0);
            hear(SweepEvent::Rung { runs: alive.len(), step });
            let own: Vec<_> =
                alive.iter().copied().skip(ranks.rank()).step_by(ranks.count()).collect();
            let own = self.advance(&own, &until, parts, stopped, hear)?;
            let Some(mut standings) = of_all(ranks, own)? else { return Ok(None) };
            standings.iter_mut().for_each(|it| it.unit = configs[it.index].tokenizer.unit());
            standings.sort_by(|a, b| a.place().partial_cmp(&b.place()).expect("no loss is NaN"));
            let is_last = rung + 1 == shares.len();
            let kept = if is_last { standings.len() } else { standings.len().div_ceil(2) };
            // Behind those that get further, in their order.
            out.splice(0..0, standings.drain(kept..));
            alive = standings.iter().map(|standing| standing.index).collect();
            if is_last {
                out.splice(0..0, standings);
            }
        }
        Ok(Some(out))
    }

    /// Brings some runs to a step each, a few at a time.
    fn advance(
        &self,
        runs: &[usize],
        until: &(dyn Fn(usize) -> u64 + Sync),
        parts: &Parts,
        stopped: &(dyn Fn() -> bool + Sync),
        hear: &mut dyn FnMut(SweepEvent),
    ) -> Result<Option<Vec<Standing>>, Error> {
        let queue = Mutex::new(VecDeque::from(runs.to_vec()));
        let failed = Mutex::new(None);
        let is_over = || stopped() || failed.lock().expect("no thread panics").is_some();
        let (events, heard) = mpsc::channel();
        let mut standings = Vec::new();
        thread::scope(|scope| {
            for _ in 0..self.jobs.min(runs.len()) {
                let (events, queue, failed, is_over) = (events.clone(), &queue, &failed, &is_over);
                scope.spawn(move || {
                    let next = || queue.lock().expect("no thread panics").pop_front();
                    while let Some(index) = next().filter(|_| !is_over()) {
                        match self.run_one(index, until(index), parts, is_over, &events) {
                            Ok(standing) => _ = events.send(SweepEvent::Reached(standing)),
                            Err(error) => {
                                failed.lock().expect("no thread panics").get_or_insert(error);
                            }
                        }
                    }
                });
            }
            drop(events);
            for event in heard {
                if let SweepEvent::Reached(standing) = &event {
                    standings.push(standing.clone());
                }
                hear(event);
            }
        });
        match failed.into_inner().expect("no thread panics") {
            Some(error) => Err(error),
            None => Ok((!stopped()).then_some(standings)),
        }
    }

    /// Begins a run or goes on with it.
    fn run_one(
        &self,
        index: usize,
        until: u64,
        parts: &Parts,
        is_over: &(dyn Fn() -> bool + Sync),
        events: &mpsc::Sender<SweepEvent>,
    ) -> Result<Standing, Error> {
        let document = self.document(&self.combinations[index])?;
        let mut experiment = Experiment::prepare(&document, parts)?;
        experiment.set_threads(self.threads);
        let path = self.run_path(index);
        let resumed = RunDir::resume(&path, &experiment, &Permitted::default())?;
        let (mut run, checkpoint) = (resumed.run, resumed.checkpoint);
        for error in &resumed.damaged {
            let what = format!("{}: {error}", error.place());
            let _ = events.send(SweepEvent::Damaged { index, what });
        }
        let parameters = experiment.n_params();
        let unit = experiment.config().tokenizer.unit();
        if let Some(checkpoint) = checkpoint.as_ref().filter(|it| until <= it.step()) {
            let (step, best) = (checkpoint.step(), checkpoint.best());
            return Ok(Standing { index, step, best, parameters, unit, ended: None });
        }
        let before = checkpoint.as_ref().and_then(|checkpoint| checkpoint.best());
        let mut watch = Watch { index, unit, until, is_over, events };
        match train_from(&experiment, checkpoint.as_ref(), &Alone, &mut [&mut run, &mut watch]) {
            Ok(outcome) => {
                let ended = outcome.out_of_patience.then_some(Ended::OutOfPatience);
                let (step, best) = (outcome.step, outcome.best);
                Ok(Standing { index, step, best, parameters, unit, ended })
            }
            // It is out of the race, and the others go on.
            Err(Error::Diverged { step, .. }) => {
                let ended = Some(Ended::Diverged(step));
                Ok(Standing { index, step, best: before, parameters, unit, ended })
            }
            Err(error) => Err(error),
        }
    }
}

/// How far the runs of all ranks have come, unless one of them was stopped.
fn of_all(ranks: &dyn Ranks, own: Option<Vec<Standing>>) -> Result<Option<Vec<Standing>>, Error> {
    let said = tell(ranks, serde_json::to_vec(&own).expect("numbers"))?;
    let read = |bytes: &Vec<u8>| -> Option<Vec<Standing>> {
        serde_json::from_slice(bytes).expect("what a rank of this version says")
    };
    Ok(said.iter().map(read).collect::<Option<Vec<_>>>().map(|all| all.concat()))
}

/// The shares of all steps that are run before each halving, the last one whole: as many as it takes
/// until two runs are left for it.
fn halvings(runs: usize) -> Vec<f64> {
    let times = (usize::BITS - runs.saturating_sub(1).leading_zeros()).saturating_sub(1);
    (0..=times).rev().map(|behind| 0.5_f64.powi(behind as i32)).collect()
}

/// The step at which a share of a run is done: at an evaluation.
fn target(config: &Config, share: f64) -> u64 {
    let (steps, every) = (config.train.steps.get() as u64, config.eval.every.get() as u64);
    let step = (share * steps as f64).ceil() as u64;
    if share == 1.0 { steps } else { step.next_multiple_of(every.max(1)).min(steps) }
}

/// Stops a run where it is to be compared, and tells of it.
struct Watch<'a> {
    index: usize,
    unit: Unit,
    until: u64,
    is_over: &'a (dyn Fn() -> bool + Sync),
    events: &'a mpsc::Sender<SweepEvent>,
}

impl Observer for Watch<'_> {
    fn observe(&mut self, event: &Event<'_>) -> Result<Flow, Error> {
        let Self { index, unit, until, .. } = *self;
        match event {
            Event::Step(report) if until <= report.step || (self.is_over)() => Ok(Flow::Stop),
            Event::Eval { step, nats_per_char, .. } => {
                let (step, nats_per_char) = (*step, *nats_per_char);
                // Nobody hears of it where the sweep has ended.
                let _ = self.events.send(SweepEvent::Eval { index, step, nats_per_char, unit });
                Ok(Flow::GoOn)
            }
            _ => Ok(Flow::GoOn),
        }
    }
}

/// Whether nothing is in a directory, or there is none.
pub fn is_free(path: &Path) -> bool {
    std::fs::read_dir(path).map_or(!path.exists(), |mut entries| entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_is_a_key_and_values_between_commas_of_its_own() {
        let axis = |text| Axis::parse(text).map(|axis| axis.values);
        assert_eq!(axis("a.b=1, 2,x"), Ok(vec!["1".into(), "2".into(), "x".into()]));
        let tables = axis(r#"model.init={ kind = "normal", std = 0.1 },["a,b", 2],"c,d""#);
        let expected = [r#"{ kind = "normal", std = 0.1 }"#, r#"["a,b", 2]"#, r#""c,d""#];
        assert_eq!(tables, Ok(expected.map(str::to_owned).to_vec()));
        assert_eq!(axis("a.b"), Err("must be KEY=VALUE,VALUE".into()));
        assert_eq!(axis("=1"), Err("the key is missing".into()));
        assert_eq!(axis("a=1,,2"), Err("value 2 of a is empty".into()));
    }

    #[test]
    fn combinations_are_all_there_once_with_names_of_their_own() {
        let axis = |text| Axis::parse(text).expect("an axis");
        let all = combinations(&[axis("a.x=1,2"), axis("b.x=../k,[3, 4],5")]);
        assert_eq!(all.len(), 6);
        assert_eq!(all[1].overrides, ["a.x=1", "b.x=[3, 4]"]);
        assert_eq!(all[3].overrides, ["a.x=2", "b.x=../k"]);
        assert_eq!(all[3].name, "4 x=2 x=..k");
        assert_eq!(combinations(&[]).len(), 1);
        assert_eq!(combinations(&[axis("a=1,2,3,4,5,6,7,8,9,10")])[0].name, "01 a=1");
    }

    #[test]
    fn halving_ends_with_two_runs_at_all_steps() {
        assert_eq!(halvings(1), [1.0]);
        assert_eq!(halvings(2), [1.0]);
        assert_eq!(halvings(3), [0.5, 1.0]);
        assert_eq!(halvings(4), [0.5, 1.0]);
        assert_eq!(halvings(8), [0.25, 0.5, 1.0]);
        assert_eq!(halvings(9), [0.125, 0.25, 0.5, 1.0]);
    }

    #[test]
    fn runs_that_diverged_are_last_and_equal_ones_in_order() {
        let run = |index, nats: Option<f64>, ended| {
            let best = nats.map(|nats| (1, nats));
            Standing { index, step: 1, best, parameters: 1, unit: Unit::CHARACTER, ended }
        };
        let mut runs = [
            run(0, Some(1.0), Some(Ended::Diverged(5))),
            run(3, None, None),
            run(2, Some(1.5), None),
            run(1, Some(1.5), Some(Ended::OutOfPatience)),
        ];
        runs.sort_by(|a, b| a.place().partial_cmp(&b.place()).expect("comparable"));
        assert_eq!(runs.map(|run| run.index), [1, 2, 3, 0]);
    }
}
