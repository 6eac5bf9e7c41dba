//! Shows a run while it trains: to a person on standard error, to a script on standard output.

use std::f64::consts::LN_2;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use data_io::Unit;
use experiment::{
    Checkpoint, Error, Event, Experiment, Flow, Observer, Outcome, StepReport, duration,
};
use registry::range::Every;
use serde_json::{Value, json};

use crate::Console;
use crate::args::HowArgs;
use crate::failure::printable;
use crate::panel::{Panel, Size, break_anywhere, flow};
use crate::signals::Received;

/// The panel is drawn this often; steps may be much shorter.
const REDRAW: Duration = Duration::from_millis(100);
/// A line is printed this often at the most where there is no terminal: a run may log every step.
const LINES: Duration = Duration::from_secs(5);
/// Columns of the bar, where there is room.
const BAR: usize = 24;
/// Rows of the panel that the latest sample gets.
const SAMPLE_ROWS: usize = 4;

/// Draws a panel on a terminal, else prints a line now and then; prints samples, or events as JSON.
pub struct Progress<'c, 'w> {
    console: &'c mut Console<'w>,
    how: HowArgs,
    panel: Option<Panel>,
    /// Whether the panel has the latest sample: it need not where all of it stands above.
    shows_sample: bool,
    log: Every,
    steps: u64,
    /// What losses are for each of.
    unit: Unit,
    /// Time and characters at the start, and when speed was last measured.
    start: (Instant, u64),
    last: (Instant, u64),
    chars_per_sec: f64,
    /// The last step, validation loss with its step, and sample.
    report: Option<StepReport>,
    val: Option<(u64, f64)>,
    best: Option<(u64, f64)>,
    sample: String,
    /// Why standard output took no more.
    failed: Option<io::Error>,
}

impl<'c, 'w> Progress<'c, 'w> {
    /// Progress of a run that goes on from `checkpoint`, or starts.
    pub fn new(
        console: &'c mut Console<'w>,
        how: HowArgs,
        experiment: &Experiment,
        checkpoint: Option<&Checkpoint>,
    ) -> Self {
        let config = experiment.config();
        let start = (Instant::now(), checkpoint.map_or(0, Checkpoint::chars));
        let is_seen = !how.json && io::IsTerminal::is_terminal(&io::stdout());
        Self {
            panel: (console.draws_bar && !how.quiet).then(Panel::default),
            // Lines of steps come between.
            shows_sample: !is_seen || how.verbose,
            console,
            how,
            log: config.log.every,
            steps: config.train.steps.get() as u64,
            unit: config.tokenizer.unit(),
            start,
            last: start,
            chars_per_sec: 0.0,
            report: None,
            val: None,
            best: checkpoint.and_then(Checkpoint::best),
            sample: String::new(),
            failed: None,
        }
    }

    /// Says what is trained on.
    ///
    /// # Errors
    /// If standard output takes no more.
    pub fn begin(&mut self, run: &Path, experiment: &Experiment, from: u64) -> io::Result<()> {
        let chars = experiment.text().whole().len();
        let vocab_size = experiment.tokenizer().vocab_size();
        let out = &mut *self.console.out;
        if self.how.json {
            let run = run.display().to_string();
            let start = json!({
                "event": "start",
                "run": run,
                "from_step": from,
                "steps": self.steps,
                "parameters": experiment.n_params(),
                "text_chars": chars,
                "vocab_size": vocab_size,
            });
            writeln!(out, "{start}")?;
        } else if !self.how.quiet {
            let unit = self.unit.many;
            writeln!(out, "data has {chars} {unit}, {vocab_size} unique.")?;
        }
        out.flush()
    }

    /// Clears the panel, and tells a script how the run ended.
    ///
    /// # Errors
    /// If standard output takes no more, or took no more before.
    pub fn finish(
        mut self,
        result: &Result<Outcome, Error>,
        signal: Option<Received>,
    ) -> io::Result<()> {
        if let Some(panel) = &mut self.panel {
            let _ = panel.clear(self.console.err, Size::of_stderr());
        }
        if self.how.json && self.failed.is_none() {
            let end = end(result, signal);
            writeln!(self.console.out, "{end}").and_then(|()| self.console.out.flush())?;
        }
        self.failed.map_or(Ok(()), Err)
    }

    fn step(&mut self, report: &StepReport) {
        self.report = Some(*report);
        let is_logged = self.log.is_due(report.step);
        match &self.panel {
            _ if self.how.quiet => {}
            Some(_) if self.how.verbose && is_logged => {
                self.measure();
                self.line(&self.step_line(report));
            }
            Some(_) if self.last.0.elapsed() < REDRAW => {}
            Some(_) => {
                self.measure();
                self.redraw();
            }
            None if is_logged && (self.how.verbose || self.is_due(report.step)) => {
                self.measure();
                self.line(&self.step_line(report));
            }
            None => {}
        }
    }

    /// Whether those who see lines get one for this step: the first that is logged, the last, and some
    /// between.
    fn is_due(&self, step: u64) -> bool {
        self.last == self.start || step == self.steps || LINES <= self.last.0.elapsed()
    }

    /// Characters a second since this was last called.
    fn measure(&mut self) {
        let chars = self.report.map_or(0, |report| report.chars);
        self.chars_per_sec = speed(self.last, chars);
        self.last = (Instant::now(), chars);
    }

    /// How long it will take at the speed it had so far.
    fn time_left(&self, report: &StepReport) -> String {
        let chars_per_step = report.chars as f64 / report.step as f64;
        let chars_left = chars_per_step * self.steps.saturating_sub(report.step) as f64;
        format!("{} left", duration(chars_left / speed(self.start, report.chars)))
    }

    /// What losses are for each of.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    fn loss(&self, nats: f64) -> String {
        loss(nats, self.unit)
    }

    fn speed(&self) -> String {
        format!("{:.0} {}s/s", self.chars_per_sec, self.unit.short)
    }

    /// What a step is to those who see lines.
    fn step_line(&self, report: &StepReport) -> String {
        let mut fields = vec![format!("step {} of {}", report.step, self.steps)];
        if self.how.verbose {
            fields.push(format!("loss {}", self.loss(report.nats_per_char)));
        }
        fields.push(format!("smoothed loss {}", self.loss(report.smooth_nats_per_char)));
        if self.how.verbose {
            fields.push(format!("gradient norm {:.4e}", report.grad_norm));
            fields.push(format!("learning rate {}", short(report.learning_rate)));
        }
        fields.push(self.speed());
        fields.push(self.time_left(report));
        fields.join("  ")
    }

    /// What the panel shows.
    fn panel_lines(&self, report: &StepReport, size: Size) -> Vec<String> {
        let width = size.width();
        let share = (report.step as f64 / self.steps.max(1) as f64).min(1.0);
        let mut fields = vec![
            bar(share, BAR.min(width)),
            format!("{:.0} %", (100.0 * share).floor()),
            format!("step {} of {}", report.step, self.steps),
            self.time_left(report),
            format!("smoothed loss {}", self.loss(report.smooth_nats_per_char)),
        ];
        if let Some((step, nats)) = self.val {
            fields.push(format!("validation {} at step {step}", self.loss(nats)));
        }
        if let Some((step, nats)) = self.best.filter(|best| Some(*best) != self.val) {
            fields.push(format!("best {} at step {step}", self.loss(nats)));
        }
        fields.push(self.speed());
        let mut lines = flow(&fields, width);
        if self.shows_sample && !self.sample.is_empty() {
            let rows = self.sample.lines().flat_map(|line| break_anywhere(&printable(line), width));
            lines.extend(rows.filter(|row| !row.trim().is_empty()).take(SAMPLE_ROWS));
        }
        lines
    }

    /// What cannot be shown is lost without a word.
    fn redraw(&mut self) {
        let size = Size::of_stderr();
        let Some(report) = self.report else { return };
        let lines = self.panel_lines(&report, size);
        if let Some(panel) = &mut self.panel {
            let _ = panel.draw(self.console.err, size, &lines);
        }
    }

    /// Writes while there is no panel in the way.
    fn apart<R>(&mut self, write: impl FnOnce(&mut Console<'_>) -> R) -> R {
        if let Some(panel) = &mut self.panel {
            let _ = panel.clear(self.console.err, Size::of_stderr());
        }
        let written = write(self.console);
        self.redraw();
        written
    }

    /// Prints a line beside the panel, unless all is to be quiet.
    pub fn line(&mut self, text: &str) {
        if !self.how.quiet {
            self.apart(|console| _ = writeln!(console.err, "{text}"));
        }
    }

    fn result(&mut self, text: &str) -> Flow {
        let written = self
            .apart(|console| writeln!(console.out, "{text}").and_then(|()| console.out.flush()));
        match written {
            Ok(()) => Flow::GoOn,
            Err(error) => {
                self.failed.get_or_insert(error);
                Flow::Stop
            }
        }
    }

    fn show(&mut self, event: &Event<'_>) -> Flow {
        match event {
            Event::Step(report) => self.step(report),
            Event::Eval { step, nats_per_char, .. } => {
                self.val = Some((*step, *nats_per_char));
                if self.best.is_none_or(|(_, least)| *nats_per_char < least) {
                    self.best = self.val;
                }
                self.line(&format!("step {step}  validation {}", self.loss(*nats_per_char)));
            }
            Event::Sample { step, text } => {
                self.sample = (*text).to_owned();
                if !self.how.json && !self.how.quiet {
                    return self.result(&format!("---- step {step} ----\n{text}\n----"));
                }
            }
            Event::Checkpoint { .. } => {}
            Event::Rollback { step, what, to, rollbacks } => self.line(&format!(
                "step {step}  {what} is no longer finite: back to step {to} with the learning rate \
                 halved, {rollbacks} so far"
            )),
        }
        Flow::GoOn
    }
}

impl Observer for Progress<'_, '_> {
    fn observe(&mut self, event: &Event<'_>) -> Result<Flow, Error> {
        let flow = self.show(event);
        let is_told = match event {
            Event::Step(report) => self.log.is_due(report.step),
            _ => true,
        };
        if self.how.json && is_told {
            return Ok(self.result(&to_json(event).to_string()));
        }
        Ok(flow)
    }
}

/// An event for a script. Names and meanings of these keys stay; more may come.
fn to_json(event: &Event<'_>) -> Value {
    match event {
        Event::Step(report) => json!({
            "event": "step",
            "step": report.step,
            "nats_per_char": report.nats_per_char,
            "smooth_nats_per_char": report.smooth_nats_per_char,
            "grad_norm": report.grad_norm,
            "learning_rate": report.learning_rate,
            "chars": report.chars,
        }),
        Event::Eval { step, nats_per_char, chars } => json!({
            "event": "eval",
            "step": step,
            "nats_per_char": nats_per_char,
            "bits_per_char": nats_per_char / LN_2,
            "chars": chars,
        }),
        Event::Sample { step, text } => json!({ "event": "sample", "step": step, "text": text }),
        Event::Checkpoint { step, best, .. } => {
            json!({ "event": "checkpoint", "step": step, "best_step": best })
        }
        Event::Rollback { step, what, to, rollbacks } => json!({
            "event": "rollback",
            "step": step,
            "not_finite": what,
            "to_step": to,
            "rollbacks": rollbacks,
        }),
    }
}

/// How a run ended, for a script.
fn end(result: &Result<Outcome, Error>, signal: Option<Received>) -> Value {
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) => {
            return json!({
                "event": "end",
                "outcome": "error",
                "exit_code": error.exit_code(),
                "error": format!("{}: {error}", error.place()),
            });
        }
    };
    let word = match signal {
        Some(_) if outcome.stopped => "signal",
        _ if outcome.out_of_patience => "early_stop",
        _ if outcome.stopped => "stopped",
        _ => "complete",
    };
    json!({
        "event": "end",
        "outcome": word,
        "signal": signal.filter(|_| outcome.stopped).map(Received::name),
        "step": outcome.step,
        "smooth_nats_per_char": outcome.smooth_nats_per_char,
        "best_step": outcome.best.map(|(step, _)| step),
        "best_val_nats_per_char": outcome.best.map(|(_, nats)| nats),
    })
}

/// `[######..................]`, of `width` columns; without the brackets where they would take most.
fn bar(share: f64, width: usize) -> String {
    let inner = if 8 <= width { width - 2 } else { width };
    let done = (share * inner as f64) as usize;
    let bar = "#".repeat(done) + &".".repeat(inner - done);
    if inner == width { bar } else { format!("[{bar}]") }
}

/// How far a command has come that takes a while: a bar on a terminal.
pub struct Meter<'w> {
    err: &'w mut dyn Write,
    panel: Panel,
    start: Instant,
}

impl<'w> Meter<'w> {
    /// A bar on standard error, that of a terminal.
    pub fn new(err: &'w mut dyn Write) -> Self {
        Self { err, panel: Panel::default(), start: Instant::now() }
    }

    /// Draws how much is done, as a share of all.
    pub fn show(&mut self, share: f64) {
        let size = Size::of_stderr();
        let left = self.start.elapsed().as_secs_f64() * (1.0 / share.max(1e-9) - 1.0);
        let percent = format!("{:.0} %", (100.0 * share).floor());
        let fields =
            [bar(share, BAR.min(size.width())), percent, format!("{} left", duration(left))];
        let _ = self.panel.draw(self.err, size, &flow(&fields, size.width()));
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        let _ = self.panel.clear(self.err, Size::of_stderr());
    }
}

/// `2.345 nats/char, 3.383 bits/char`.
pub fn loss(nats: f64, unit: Unit) -> String {
    let (bits, Unit { short, .. }) = (nats / LN_2, unit);
    format!("{nats:.3} nats/{short}, {bits:.3} bits/{short}")
}

/// Four digits, without zeros at the end.
fn short(value: f64) -> String {
    let rounded: f64 = format!("{value:.3e}").parse().expect("a number that was printed");
    if 1e-3 <= rounded.abs() { rounded.to_string() } else { format!("{rounded:e}") }
}

/// Characters a second since a time at which there were fewer; or more, where training went back.
fn speed((then, chars_then): (Instant, u64), chars: u64) -> f64 {
    chars.saturating_sub(chars_then) as f64 / then.elapsed().as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_its_columns() {
        assert_eq!(bar(0.5, 12), "[#####.....]");
        assert_eq!(bar(1.0, 8), "[######]");
        assert_eq!(bar(0.99, 4), "###.");
        assert_eq!([bar(0.0, 1), bar(1.0, 1)], [".", "#"]);
    }

    #[test]
    fn learning_rates_are_short() {
        assert_eq!(short(0.1), "0.1");
        assert_eq!(short(0.001_234_56), "0.001235");
        assert_eq!(short(3e-5), "3e-5");
        assert_eq!(short(0.0), "0e0");
    }
}
