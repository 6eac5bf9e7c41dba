//! The page as a whole, and its charts of what was logged.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::chart::{COLOURS, Chart, Line, Style, WIDE, short};
use crate::curves::{Along, Curves, Point, thin};
use crate::{Run, config, neurons, samples, verdict};

/// The most points of a curve.
const MOST_POINTS: usize = 400;

/// The most rows of a table behind a chart.
const MOST_ROWS: usize = 12;

/// The page may load nothing, from nowhere: not even a mistake in it could.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The page about `runs`, as HTML.
pub fn page(runs: &[Run]) -> String {
    let names: Vec<_> = runs.iter().map(|run| run.name.as_str()).collect();
    let title = format!("Report: {}", names.join(", "));
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body {
                header {
                    h1 { (title) }
                    (overview(runs))
                }
                main {
                    (verdict::section(runs))
                    (curves(runs))
                    (samples::section(runs))
                    (neurons::section(runs))
                    (config::section(runs))
                }
                script { (PreEscaped(include_str!("page.js"))) }
            }
        }
    };
    markup.into_string()
}

/// What the runs are, a row each.
fn overview(runs: &[Run]) -> Markup {
    let per_second = format!("{} a second", verdict::unit_of(runs).many);
    html! {
        table {
            caption { "The runs" }
            thead { tr {
                @for head in ["run", "steps", "model", "parameters", "symbols", "training time", &per_second] {
                    th scope="col" { (head) }
                }
            } }
            tbody {
                @for (index, run) in runs.iter().enumerate() {
                    @let last = run.curves.last_step();
                    tr {
                        th scope="row" { (key(index)) " " (run.name) }
                        td { (steps(run, last)) }
                        @match &run.model {
                            Ok(model) => {
                                td { (model.summary.cell) " " (model.summary.layers) "×" (model.summary.hidden_size) ", " (model.summary.dtype) }
                                td { (model.summary.n_params) }
                                td { (model.summary.vocab_size) }
                            }
                            Err(reason) => { td colspan="3" { (reason) } }
                        }
                        @let timing = run.record.timing.last();
                        td { (timing.map_or("–".into(), |timing| duration(timing.elapsed_secs))) }
                        td { (mean_speed(&run.curves).map_or("–".into(), short)) }
                    }
                }
            }
        }
        @for run in runs.iter().filter(|run| !run.curves.rollbacks.is_empty()) {
            @let steps: Vec<_> = run.curves.rollbacks.iter().map(u64::to_string).collect();
            p { (run.name) ": a value was no longer finite, and training went back, at step " (steps.join(", ")) "." }
        }
    }
}

fn steps(run: &Run, last: Option<f64>) -> String {
    let last = last.unwrap_or(0.0);
    match run.planned_steps() {
        _ if last == 0.0 => "none logged yet".into(),
        Some(planned) if last < planned => format!("{last} of {planned}: not ended, or not yet"),
        _ => format!("{last}"),
    }
}

/// The colour of a run in the charts, half as wide where its lines are dashed.
pub fn key(run: usize) -> Markup {
    let colour = COLOURS[run % COLOURS.len()];
    html! {
        svg.key viewBox="0 0 12 12" aria-hidden="true" {
            rect width=(if run < COLOURS.len() { 12 } else { 5 }) height="12" fill=(format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2)) {}
        }
    }
}

/// Seconds as a person says them.
pub fn duration(secs: f64) -> String {
    match secs.round() as u64 {
        _ if secs < 60.0 => format!("{secs:.1} s"),
        whole if whole < 3600 => format!("{} min {} s", whole / 60, whole % 60),
        whole => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}

/// Characters a second over the whole run.
fn mean_speed(curves: &Curves) -> Option<f64> {
    let last = curves.train.last()?;
    let secs = last.secs.filter(|secs| 0.0 < *secs)?;
    Some(last.chars / secs)
}

/// A curve with what it is called and the way it is drawn.
type Named<'a> = (&'static str, Style, &'a [Point]);

/// What is drawn in one chart.
struct Quantity<'a> {
    heading: &'a str,
    unit: &'a str,
    /// Curves of a run.
    curves: fn(&Curves) -> Vec<Named<'_>>,
    /// Whether there is a logarithmic chart too.
    has_log: bool,
    levels: &'a [(String, f64)],
}

fn curves(runs: &[Run]) -> Markup {
    let (levels, symbol) = (verdict::levels(runs), verdict::unit_of(runs));
    let (nats, speed) = (format!("nats a {}", symbol.one), format!("{} a second", symbol.many));
    let quantities = [
        Quantity {
            heading: "Loss",
            unit: &nats,
            curves: |curves| {
                vec![
                    ("training", Style::Pale, &curves.train[..]),
                    ("training, smoothed", Style::Plain, &curves.smooth[..]),
                    ("validation", Style::Marked, &curves.val[..]),
                ]
            },
            has_log: true,
            levels: &levels,
        },
        Quantity {
            heading: "Learning rate",
            unit: "learning rate",
            curves: |curves| vec![("learning rate", Style::Plain, &curves.learning_rate[..])],
            has_log: true,
            levels: &[],
        },
        Quantity {
            heading: "Gradient norm",
            unit: "L2 norm, before clipping",
            curves: |curves| vec![("gradient norm", Style::Plain, &curves.grad_norm[..])],
            has_log: true,
            levels: &[],
        },
        Quantity {
            heading: "Speed",
            unit: &speed,
            curves: |curves| vec![("speed", Style::Plain, &curves.speed[..])],
            has_log: false,
            levels: &[],
        },
    ];
    html! {
        section aria-labelledby="curves" {
            h2 id="curves" { "Curves" }
            form #views {
                (choice("along", "Along", &Along::ALL.map(|along| (along.name(), along.label(symbol)))))
                (choice("scale", "Scale", &[("linear", "linear".into()), ("log", "logarithmic".into())]))
            }
            ul.legend aria-label="Legend" {
                @for (index, run) in runs.iter().enumerate() {
                    li { (key(index)) " " (run.name) }
                }
                li { "pale: training" } li { "line: training, smoothed" } li { "dots: validation" }
                @if !levels.is_empty() { li { "dashed: yardsticks" } }
            }
            @for quantity in &quantities { (quantity.draw(runs)) }
        }
    }
}

/// One of several words to choose; the first is chosen.
fn choice(name: &str, legend: &str, words: &[(&str, String)]) -> Markup {
    html! {
        fieldset {
            legend { (legend) }
            @for (index, (value, label)) in words.iter().enumerate() {
                label { input type="radio" name=(name) value=(value) checked[index == 0]; " " (label) }
            }
        }
    }
}

impl Quantity<'_> {
    fn draw(&self, runs: &[Run]) -> Markup {
        let scales: &[&str] = if self.has_log { &["linear", "log"] } else { &["linear log"] };
        html! {
            section.chart {
                h3 { (self.heading) }
                @for along in Along::ALL {
                    @for scale in scales {
                        @let is_shown = along == Along::Step && scale.starts_with("linear");
                        figure data-along=(along.name()) data-scale=(scale) hidden[!is_shown] {
                            (self.chart(runs, along, *scale == "log").draw())
                        }
                    }
                }
                details {
                    summary { (self.heading) " in numbers" }
                    @for run in runs { (self.table(run)) }
                }
            }
        }
    }

    fn chart(&self, runs: &[Run], along: Along, is_log: bool) -> Chart<'_> {
        let mut lines = Vec::new();
        for (colour, run) in runs.iter().enumerate() {
            for (_, style, points) in (self.curves)(&run.curves) {
                let points = points.iter().filter_map(|p| Some((p.at(along)?, p.value)));
                lines.push(Line { colour, style, points: thin(points, MOST_POINTS) });
            }
        }
        let names: Vec<_> = runs.iter().map(|run| run.name.as_str()).collect();
        let along = along.label(verdict::unit_of(runs));
        let scale = if is_log { ", logarithmic" } else { "" };
        let label = format!(
            "{} of {} by {}{scale}; the numbers are below",
            self.heading,
            names.join(", "),
            along
        );
        Chart {
            width: WIDE,
            label,
            axes: [along, self.unit.into()],
            is_log,
            lines,
            levels: self.levels,
        }
    }

    /// Some of the points, evenly chosen, the last among them.
    fn table(&self, run: &Run) -> Markup {
        let curves = (self.curves)(&run.curves);
        html! {
            @for (name, _, points) in curves.iter().filter(|(_, _, points)| !points.is_empty()) {
                @let every = points.len().div_ceil(MOST_ROWS);
                table {
                    caption { (run.name) ": " (name) }
                    thead { tr { th scope="col" { "step" } th scope="col" { (run.unit.many) } th scope="col" { "seconds" } th scope="col" { (self.unit) } } }
                    tbody {
                        @for (index, point) in points.iter().enumerate() {
                            @if (points.len() - 1 - index).is_multiple_of(every) {
                                tr {
                                    th scope="row" { (point.step) }
                                    td { (short(point.chars)) }
                                    td { (point.secs.map_or("–".into(), short)) }
                                    td { (number(point.value)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A value with the digits that a person compares.
pub fn number(value: f64) -> String {
    if (0.001..100.0).contains(&value.abs()) { format!("{value:.4}") } else { short(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_in_the_units_of_their_size() {
        let shown = [0.04, 59.94, 61.0, 7385.0].map(duration);
        assert_eq!(shown, ["0.0 s", "59.9 s", "1 min 1 s", "2 h 3 min"]);
    }
}
