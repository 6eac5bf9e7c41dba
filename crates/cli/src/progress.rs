//! Shows a run to a person while it trains.

use std::io;
use std::time::{Duration, Instant};

use experiment::{Error, Event, Experiment, Flow, Observer, StepReport};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use registry::range::Every;

use crate::Console;

/// Draws a bar on a terminal, else prints a line now and then; prints samples as they come.
pub struct Progress<'c, 'w> {
    console: &'c mut Console<'w>,
    bar: Option<ProgressBar>,
    log: Every,
    steps: u64,
    /// Time and characters when speed was last measured.
    last: (Instant, u64),
    chars_per_sec: f64,
    /// Why standard output took no more.
    failed: Option<io::Error>,
}

/// The bar is drawn this often; the loop's steps are much shorter.
const REDRAW: Duration = Duration::from_millis(100);

impl<'c, 'w> Progress<'c, 'w> {
    /// Progress of a run in which `chars` characters were read before.
    pub fn new(console: &'c mut Console<'w>, experiment: &Experiment, chars: u64) -> Self {
        let config = experiment.config();
        let steps = config.train.steps.get() as u64;
        let style = ProgressStyle::with_template("{bar:24} {percent:>3} %  {msg}")
            .expect("the template is valid");
        let bar = console.draws_bar.then(|| {
            ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr())
                .with_style(style)
        });
        let last = (Instant::now(), chars);
        Self { console, bar, log: config.log.every, steps, last, chars_per_sec: 0.0, failed: None }
    }

    /// Clears the bar; fails if standard output did.
    pub fn finish(self) -> io::Result<()> {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.failed.map_or(Ok(()), Err)
    }

    fn step(&mut self, report: &StepReport) {
        let elapsed = self.last.0.elapsed();
        match &self.bar {
            Some(_) if elapsed < REDRAW => {}
            Some(_) => {
                let line = self.measure(report, elapsed);
                let bar = self.bar.as_ref().expect("there is one");
                bar.set_position(report.step);
                bar.set_message(line);
            }
            None if self.log.is_due(report.step) => {
                let line = self.measure(report, elapsed);
                let _ = writeln!(self.console.err, "{line}");
            }
            None => {}
        }
    }

    /// Step, smoothed loss, speed and time left.
    fn measure(&mut self, report: &StepReport, elapsed: Duration) -> String {
        // Fewer where training went back.
        let chars = report.chars.saturating_sub(self.last.1);
        self.chars_per_sec = chars as f64 / elapsed.as_secs_f64().max(1e-9);
        self.last = (Instant::now(), report.chars);
        let chars_left =
            report.chars as f64 / report.step as f64 * (self.steps - report.step) as f64;
        let secs_left = chars_left / self.chars_per_sec;
        format!(
            "step {} of {}  smoothed loss {:.3} nats/char  {:.0} chars/s  {} left",
            report.step,
            self.steps,
            report.smooth_nats_per_char,
            self.chars_per_sec,
            duration(secs_left),
        )
    }

    /// Prints a line beside the bar.
    pub fn line(&mut self, text: &str) {
        let _ = match &self.bar {
            Some(bar) => bar.suspend(|| writeln!(self.console.err, "{text}")),
            None => writeln!(self.console.err, "{text}"),
        };
    }

    fn result(&mut self, text: &str) -> Flow {
        let mut write =
            || writeln!(self.console.out, "{text}").and_then(|()| self.console.out.flush());
        let written = match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        };
        match written {
            Ok(()) => Flow::GoOn,
            Err(error) => {
                self.failed.get_or_insert(error);
                Flow::Stop
            }
        }
    }
}

impl Observer for Progress<'_, '_> {
    fn observe(&mut self, event: &Event<'_>) -> Result<Flow, Error> {
        match event {
            Event::Step(report) => self.step(report),
            Event::Eval { step, nats_per_char, .. } => {
                let bits = nats_per_char / std::f64::consts::LN_2;
                self.line(&format!(
                    "step {step}  validation {nats_per_char:.3} nats/char, {bits:.3} bits/char"
                ));
            }
            Event::Sample { step, text } => {
                return Ok(self.result(&format!("---- step {step} ----\n{text}\n----")));
            }
            Event::Checkpoint { .. } => {}
            Event::Rollback { step, what, to, rollbacks } => self.line(&format!(
                "step {step}  {what} is no longer finite: back to step {to} with the learning rate \
                 halved, {rollbacks} so far"
            )),
        }
        Ok(Flow::GoOn)
    }
}

/// `12 s`, `3 min 20 s`, `2 h 5 min`.
pub fn duration(secs: f64) -> String {
    let secs = secs.round().max(0.0) as u64;
    match (secs / 3600, secs / 60 % 60, secs % 60) {
        (0, 0, secs) => format!("{secs} s"),
        (0, mins, secs) => format!("{mins} min {secs} s"),
        (hours, mins, _) => format!("{hours} h {mins} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(0.4), "0 s");
        assert_eq!(duration(200.2), "3 min 20 s");
        assert_eq!(duration(7500.0), "2 h 5 min");
    }
}
