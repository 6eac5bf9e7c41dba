//! How good the runs are: their losses beside what can be reached without a neural network.

use std::f64::consts::LN_2;

use data_io::Unit;
use experiment::{FREQUENCIES, GUESSING, guessing};
use maud::{Markup, html};

use crate::Run;
use crate::curves::Curves;
use crate::page::{key, number};

/// A text whose characters before hardly help to guess the next: the best yardstick saves less than
/// this share of what the bare frequencies of the characters cost.
const LITTLE: f64 = 0.1;

/// A validation loss that is so many times its lowest has risen.
const RISEN: f64 = 1.01;

pub fn section(runs: &[Run]) -> Markup {
    let per = unit_of(runs).one;
    html! {
        section aria-labelledby="verdict" {
            h2 id="verdict" { "Is this good?" }
            @if differ(runs) {
                p.note { "The runs were trained on different texts. A loss on one says nothing about a loss on the other." }
            }
            table {
                caption { "Losses: the lower, the better" }
                thead { tr {
                    th scope="col" { "run" } th scope="col" { "text" } th scope="col" { "after step" }
                    th scope="col" { "nats a " (per) } th scope="col" { "bits a " (per) } th scope="col" { "perplexity" }
                } }
                tbody {
                    @for (index, run) in runs.iter().enumerate() {
                        @for (text, point) in losses(run) {
                            tr {
                                th scope="row" { (key(index)) " " (run.name) }
                                td { (text) } td { (point.step) }
                                td { (number(point.value)) } td { (number(point.value / LN_2)) } td { (number(point.value.exp())) }
                            }
                        }
                    }
                }
            }
            p.note { "“training, smoothed” is min-char-rnn's running average: it starts at a guess among all symbols and takes some thousand steps to arrive." }
            @for (index, run) in runs.iter().enumerate() {
                @let yardsticks = yardsticks(run);
                @if let Some(point) = run.curves.best_val() {
                    p { (key(index)) " " strong { (run.name) } ": " (sentence(point.value, run.unit, &yardsticks)) " " (overfitting(&run.curves).unwrap_or_default()) }
                } @else if !run.curves.smooth.is_empty() {
                    p { (key(index)) " " strong { (run.name) } ": no text was held out to validate with, so nobody knows how it does on a text it never saw. "
                        code { "data.split = [0.9, 0.1, 0.0]" } " holds out a tenth." }
                }
                @if let Some(word) = little_to_learn(&yardsticks) { p { (word) } }
            }
            @if runs.iter().any(|run| !yardsticks(run).is_empty()) {
                table {
                    caption { "Yardsticks: what is reached without a neural network, on the validation text" }
                    thead { tr { th scope="col" { "run" } th scope="col" { "yardstick" } th scope="col" { "nats a " (per) } th scope="col" { "bits a " (per) } } }
                    tbody {
                        @for (index, run) in runs.iter().enumerate() {
                            @for (name, nats) in yardsticks(run) {
                                tr {
                                    th scope="row" { (key(index)) " " (run.name) }
                                    td { (name) } td { (number(nats)) } td { (number(nats / LN_2)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What the losses of the runs are for each of.
pub fn unit_of(runs: &[Run]) -> Unit {
    Unit::of_all(runs.iter().map(|run| run.unit))
}

/// Whether two of the runs are known to have different texts.
fn differ(runs: &[Run]) -> bool {
    let mut texts = runs.iter().filter_map(|run| run.model.as_ref().ok()).map(|model| &model.text);
    texts.next().is_some_and(|first| texts.any(|text| text != first))
}

/// The losses of a run that count.
fn losses(run: &Run) -> Vec<(&'static str, crate::Point)> {
    let last = |points: &[crate::Point]| points.last().copied();
    let mut losses = Vec::new();
    losses.extend(last(&run.curves.smooth).map(|point| ("training, smoothed", point)));
    losses.extend(last(&run.curves.val).map(|point| ("validation, last", point)));
    losses.extend(run.curves.best_val().map(|point| ("validation, best", point)));
    losses
}

/// Names and nats per symbol, from the easiest to the hardest.
fn yardsticks(run: &Run) -> Vec<(String, f64)> {
    let mut yardsticks = run.yardsticks.clone();
    let is_guess = |(name, _): &(String, f64)| name == GUESSING;
    if let (Ok(model), false) = (&run.model, yardsticks.iter().any(is_guess)) {
        yardsticks.push((GUESSING.into(), guessing(model.summary.vocab_size)));
    }
    yardsticks.extend(run.entropy.map(|entropy| ("the entropy of the source".into(), entropy)));
    yardsticks.sort_by(|a, b| b.1.total_cmp(&a.1));
    yardsticks
}

/// The yardsticks as levels of a chart: once for each text.
pub fn levels(runs: &[Run]) -> Vec<(String, f64)> {
    let mut levels: Vec<(String, f64)> = Vec::new();
    let name_runs = differ(runs);
    for run in runs {
        for (name, nats) in yardsticks(run) {
            let name = if name_runs { format!("{}: {name}", run.name) } else { name };
            if !levels.iter().any(|(known, _)| *known == name) {
                levels.push((name, nats));
            }
        }
    }
    levels
}

/// Where a validation loss stands among the yardsticks, which fall.
fn sentence(loss: f64, unit: Unit, yardsticks: &[(String, f64)]) -> String {
    let said = |(name, nats): &(String, f64)| format!("{name} ({nats:.3})");
    let behind = yardsticks.iter().rfind(|(_, nats)| loss < *nats).map(said);
    let ahead = yardsticks.iter().find(|(_, nats)| *nats <= loss).map(said);
    let words = match (behind, ahead) {
        (Some(behind), Some(ahead)) => format!(", better than {behind} and worse than {ahead}"),
        (Some(behind), None) if yardsticks.len() == 1 => format!(", better than {behind}"),
        (Some(behind), None) => format!(", better than {behind} and every other yardstick"),
        (None, Some(_)) => {
            let easiest = said(&yardsticks[0]);
            format!(", worse than {easiest}: nothing was learned, or it was forgotten again")
        }
        (None, None) => String::new(),
    };
    format!("{loss:.3} nats a {} on the validation text{words}.", unit.one)
}

/// A word on a validation loss that rises.
fn overfitting(curves: &Curves) -> Option<String> {
    let (best, last) = (curves.best_val()?, curves.val.last()?);
    (RISEN * best.value < last.value).then(|| {
        format!(
            "That was after step {}; since then it rose to {:.3}, as it does when a model learns its \
             training text by heart.",
            best.step, last.value
        )
    })
}

/// A word on a text in which context is worth little.
fn little_to_learn(yardsticks: &[(String, f64)]) -> Option<String> {
    let (_, frequencies) = yardsticks.iter().find(|(name, _)| name == FREQUENCIES)?;
    let (name, best) = yardsticks.last()?;
    let saved = 1.0 - best / frequencies;
    (saved < LITTLE).then(|| {
        let least = if name == FREQUENCIES { String::new() } else {
            format!(": {name} saves {:.1} % of what the bare frequencies of its symbols cost", 100.0 * saved)
        };
        format!("There is little to learn in this text{least}. A model that comes near {best:.3} nats has done what can be done.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yardsticks(of: &[(&str, f64)]) -> Vec<(String, f64)> {
        of.iter().map(|(name, nats)| ((*name).to_owned(), *nats)).collect()
    }

    #[test]
    fn a_loss_stands_between_the_next_better_and_the_next_worse() {
        let known = yardsticks(&[("guessing", 4.0), ("a 2-gram", 2.05), ("a 3-gram", 1.78)]);
        let check =
            |loss, expected: &str| assert_eq!(sentence(loss, Unit::CHARACTER, &known), expected);
        let on = "nats a character on the validation text";
        check(
            1.9,
            &format!("1.900 {on}, better than a 2-gram (2.050) and worse than a 3-gram (1.780)."),
        );
        check(1.7, &format!("1.700 {on}, better than a 3-gram (1.780) and every other yardstick."));
        check(
            4.5,
            &format!(
                "4.500 {on}, worse than guessing (4.000): nothing was learned, or it was forgotten again."
            ),
        );
        assert_eq!(sentence(2.0, Unit::BYTE, &[]), "2.000 nats a byte on the validation text.");
    }

    #[test]
    fn a_loss_that_rises_again_is_said_to() {
        let of = |values: &[f64]| {
            let point = |(at, value): (usize, &f64)| crate::Point {
                step: 10.0 * at as f64,
                chars: 0.0,
                secs: None,
                value: *value,
            };
            let val = values.iter().enumerate().map(point).collect();
            overfitting(&Curves { val, ..Curves::default() })
        };
        assert!(
            of(&[3.0, 2.0, 2.5])
                .is_some_and(|word| word.contains("step 10; since then it rose to 2.500"))
        );
        assert_eq!([of(&[3.0, 2.0, 2.01]), of(&[3.0]), of(&[])], [None, None, None]);
    }

    #[test]
    fn a_text_that_context_hardly_helps_with_has_little_to_learn() {
        let of = |gram| yardsticks(&[("guessing", 1.6), (FREQUENCIES, 1.40), ("a 4-gram", gram)]);
        let word = little_to_learn(&of(1.36)).expect("little");
        assert!(word.contains("a 4-gram saves 2.9 %"), "{word}");
        // A genome, of which the line ends can be learnt.
        assert!(little_to_learn(&of(1.31)).is_some());
        assert_eq!(little_to_learn(&of(1.20)), None);
        assert_eq!(little_to_learn(&yardsticks(&[("guessing", 1.6)])), None);
    }
}
