//! What single units of a model do: a passage coloured by the activation of a unit to be picked, which
//! units follow what, how saturated the gates are, and how far back the memory reaches.
//!
//! After Karpathy, Johnson & Fei-Fei, "Visualizing and understanding recurrent networks", 2015.

use data_io::Unit as Symbol;
use experiment::{FEATURES, Gate, Neurons, Reach, Unit};
use maud::{Markup, html};

use crate::chart::{Chart, Line, NARROW, Style};
use crate::page::key;
use crate::{Passage, Run};

/// The most units that can be picked: those that follow some feature best.
const MOST_UNITS: usize = 200;

/// Units named for each feature.
const NAMED: usize = 3;

/// Levels of an activation, with zero in the middle, as digits of base64.
const LEVELS: &[u8; 63] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-";

/// Context that is worth less than this, in nats, is as good as none.
const NOTHING: f64 = 0.01;

/// And what is less than so many standard errors may be chance.
const SURE: f64 = 2.0;

pub fn section(runs: &[Run]) -> Markup {
    html! {
        section aria-labelledby="neurons" {
            h2 id="neurons" { "Neurons" }
            @for (index, run) in runs.iter().enumerate() {
                section.neurons {
                    h3 { (key(index)) " " (run.name) }
                    @match &run.neurons {
                        Ok((passage, neurons)) => (view(index, run.unit, *passage, neurons)),
                        Err(reason) => { p.note { (reason) } }
                    }
                }
            }
        }
    }
}

fn view(run: usize, unit: Symbol, passage: Passage, neurons: &Neurons) -> Markup {
    let text = match passage {
        Passage::Training => "training text",
        Passage::Validation => "validation text",
    };
    let ranked = ranked(&neurons.units);
    let (select, label) = (format!("unit-{run}"), format!("passage-{run}"));
    html! {
        p { "What follows was found on the first " (neurons.symbols) " symbols of the " (text) "." }
        h4 { "A passage, coloured by a unit" }
        p.control {
            label for=(select) { "Unit" }
            select id=(select) data-units {
                @for unit in &ranked {
                    @let (feature, r) = strongest(unit);
                    @let (levels, scale) = encode(&unit.activations);
                    option data-levels=(levels) data-scale=(format!("{scale:.2}")) { (name(unit)) ": " (FEATURES[feature]) ", r = " (signed(r)) }
                }
            }
            @if ranked.len() < neurons.units.len() {
                " the " (ranked.len()) " of " (neurons.units.len()) " units that follow a feature best"
            }
        }
        p { span.positive { "Orange" } " is above zero, " span.negative { "blue" } " below; the deeper, the further." }
        p.strongest aria-live="polite" {}
        pre.text.passage id=(label) tabindex="0" aria-label="The passage" {
            @for symbol in &neurons.passage { span { (symbol) } }
        }
        (followers(&neurons.units, &ranked))
        (saturation(&neurons.gates))
        (memory(&neurons.reach, unit))
    }
}

/// The units that can be picked, first those that follow some feature best.
fn ranked(units: &[Unit]) -> Vec<&Unit> {
    let mut ranked: Vec<_> = units.iter().collect();
    ranked.sort_by(|a, b| strongest(b).1.abs().total_cmp(&strongest(a).1.abs()));
    ranked.truncate(MOST_UNITS);
    ranked
}

/// The feature that a unit follows best, and how well.
fn strongest(unit: &Unit) -> (usize, f64) {
    let by_size = |a: &(usize, f64), b: &(usize, f64)| a.1.abs().total_cmp(&b.1.abs());
    unit.correlations.iter().copied().enumerate().max_by(by_size).expect("there are features")
}

fn name(unit: &Unit) -> String {
    format!("layer {} unit {}", unit.layer + 1, unit.index + 1)
}

fn signed(r: f64) -> String {
    format!("{r:+.2}").replace('-', "−")
}

/// The activations as characters of [`LEVELS`], and the size that the outermost ones stand for.
fn encode(activations: &[f32]) -> (String, f32) {
    let scale = activations.iter().fold(0.0f32, |scale, a| scale.max(a.abs()));
    let middle = (LEVELS.len() / 2) as f32;
    let level = |a: &f32| {
        let share = if 0.0 < scale { a / scale } else { 0.0 };
        char::from(LEVELS[(middle + (share * middle).round()) as usize])
    };
    (activations.iter().map(level).collect(), scale)
}

/// For each feature the units that follow it best, as buttons that pick them.
fn followers(units: &[Unit], pickable: &[&Unit]) -> Markup {
    html! {
        table {
            caption { "Units that follow simple features best, by correlation" }
            thead { tr { th scope="col" { "feature" } th scope="col" { "units" } } }
            tbody {
                @for (feature, feature_name) in FEATURES.iter().enumerate() {
                    @let best = best(units, feature);
                    tr {
                        th scope="row" { (feature_name) }
                        td {
                            @if best.is_empty() { "does not occur" }
                            @for unit in best {
                                @let text = format!("{}: {}", name(unit), signed(unit.correlations[feature]));
                                @match pickable.iter().position(|other| std::ptr::eq(*other, unit)) {
                                    Some(place) => { button type="button" data-pick=(place) { (text) } " " }
                                    None => { (text) " " }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The units that follow a feature best, the best first; none if it is the same all over the text.
fn best(units: &[Unit], feature: usize) -> Vec<&Unit> {
    let mut best: Vec<_> = units.iter().filter(|unit| unit.correlations[feature] != 0.0).collect();
    best.sort_by(|a, b| b.correlations[feature].abs().total_cmp(&a.correlations[feature].abs()));
    best.truncate(NAMED);
    best
}

/// The gates' saturation: a chart of all units, and a table of the means.
fn saturation(gates: &[Gate]) -> Markup {
    if gates.is_empty() {
        return html! {
            h4 { "Gates" }
            p { "This cell has no gates." }
        };
    }
    let mean = |gate: &Gate, side: usize| {
        100.0 * gate.units.iter().map(|share| share[side]).sum::<f64>() / gate.units.len() as f64
    };
    let mut names: Vec<_> = gates.iter().map(|gate| gate.name).collect();
    names.sort_unstable();
    names.dedup();
    html! {
        h4 { "Gates" }
        p { "A gate is left-saturated below 0.1, where it is shut, and right-saturated above 0.9, where it is open. "
            "A forget gate that is often open keeps what it has." }
        div.gates {
            @for name in names {
                figure {
                    figcaption { "gate " code { (name) } ", a dot for each unit" }
                    (Chart {
                        width: NARROW,
                        label: format!("How often the gate {name} of each unit is open, and how often shut; the means are below"),
                        axes: ["share of the time open", "share of the time shut"].map(str::to_owned),
                        is_log: false,
                        lines: gates.iter().filter(|gate| gate.name == name).map(|gate| Line {
                            colour: gate.layer,
                            style: Style::Scattered,
                            points: gate.units.iter().map(|[shut, open]| (*open, *shut)).collect(),
                        }).collect(),
                        levels: &[],
                    }.draw())
                }
            }
        }
        table {
            caption { "Gates, mean over units and symbols" }
            thead { tr { th scope="col" { "layer" } th scope="col" { "gate" } th scope="col" { "shut, below 0.1" } th scope="col" { "open, above 0.9" } } }
            tbody {
                @for gate in gates {
                    tr {
                        th scope="row" { (key(gate.layer)) " " (gate.layer + 1) } td { (gate.name) }
                        td { (format!("{:.1} %", mean(gate, 0))) } td { (format!("{:.1} %", mean(gate, 1))) }
                    }
                }
            }
        }
    }
}

/// How far back what was read still matters.
fn memory(reach: &[Reach], unit: Symbol) -> Markup {
    let Symbol { one, many, .. } = unit;
    let most = reach.iter().map(|reach| reach.excess).fold(1e-9, f64::max);
    html! {
        h4 { "Memory" }
        @if reach.is_empty() {
            p { "The text is too short to tell how far back the memory reaches." }
        } @else {
            p { (reach_in_words(reach, unit)) }
            table.reach {
                caption { "What a " (one) " costs more when the state is set back so many " (many) " before" }
                thead { tr { th scope="col" { (many) " known" } th scope="col" { "nats more, ± standard error" } th scope="col" { "measured on" } } }
                tbody {
                    @for Reach { distance: [from, to], excess, error, symbols } in reach {
                        tr {
                            th scope="row" { (from) @if from != to { "–" (to) } }
                            td { span.bar style=(format!("width:{:.1}%", 70.0 * (excess / most).max(0.0))) {} " " (format!("{excess:.3}").replace("-0.000", "0.000").replace('-', "−")) " ± " (format!("{error:.3}")) }
                            td { (symbols) }
                        }
                    }
                }
            }
        }
    }
}

fn reach_in_words(reach: &[Reach], unit: Symbol) -> String {
    let Symbol { one, many, .. } = unit;
    let matters = |reach: &Reach| NOTHING.max(SURE * reach.error) <= reach.excess;
    let last = reach.iter().rposition(matters);
    match last {
        None => format!("Nothing before the last {one} is worth {NOTHING} nats to it."),
        Some(last) if last + 1 == reach.len() => {
            format!("What stands more than {} {many} back still matters.", reach[last].distance[1])
        }
        Some(last) => format!(
            "What stands more than {} {many} back is worth less than {NOTHING} nats a {one}.",
            reach[last + 1].distance[1]
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(index: usize, correlations: [f64; 6], activations: &[f32]) -> Unit {
        Unit { layer: 0, index, correlations, activations: activations.to_vec() }
    }

    #[test]
    fn activations_keep_sign_and_size() {
        let (levels, scale) = encode(&[-0.5, 0.0, 0.25, 0.5]);
        let digits: Vec<_> =
            levels.bytes().map(|c| LEVELS.iter().position(|l| *l == c).expect("a digit")).collect();
        assert_eq!((digits, scale), (vec![0, 31, 47, 62], 0.5));
        assert_eq!(encode(&[0.0, 0.0]), ("ff".into(), 0.0));
        assert_eq!(encode(&[]), (String::new(), 0.0));
    }

    #[test]
    fn units_are_ranked_by_how_well_they_follow_anything() {
        let units = [
            unit(0, [0.1, 0.0, 0.2, 0.0, 0.0, 0.0], &[0.5]),
            unit(1, [0.0, 0.0, -0.9, 0.0, 0.0, 0.0], &[0.5]),
            unit(2, [0.6, 0.0, 0.0, 0.0, 0.0, 0.0], &[0.5]),
        ];
        let order: Vec<_> = ranked(&units).iter().map(|unit| unit.index).collect();
        assert_eq!(order, [1, 2, 0]);
        let of = |feature| best(&units, feature).iter().map(|unit| unit.index).collect::<Vec<_>>();
        assert_eq!([of(0), of(2), of(4)], [vec![2, 0], vec![1, 0], vec![]]);
        let html = followers(&units, &ranked(&units)).into_string();
        assert!(
            html.contains("<button type=\"button\" data-pick=\"0\">layer 1 unit 2: −0.90</button>"),
            "{html}"
        );
        assert!(html.contains("does not occur"));
    }

    #[test]
    fn the_memory_ends_where_more_context_gains_nothing() {
        let of = |excess: &[f64]| {
            let distances = [[1, 1], [2, 2], [3, 4]];
            let reach = |(distance, excess): ([usize; 2], &f64)| Reach {
                distance,
                excess: *excess,
                error: 0.006,
                symbols: 50,
            };
            let reach: Vec<_> = distances.into_iter().zip(excess).map(reach).collect();
            reach_in_words(&reach, Symbol::CHARACTER)
        };
        assert_eq!(
            of(&[1.0, 0.1, 0.011]),
            "What stands more than 4 characters back is worth less than 0.01 nats a character."
        );
        assert_eq!(of(&[1.0, 0.1, 0.02]), "What stands more than 4 characters back still matters.");
        assert_eq!(
            of(&[0.0, -0.1, 0.0]),
            "Nothing before the last character is worth 0.01 nats to it."
        );
    }

    #[test]
    fn saturation_is_the_mean_over_units() {
        let gate = Gate { layer: 1, name: "f", units: vec![[0.5, 0.0], [0.0, 0.25]] };
        let html = saturation(&[gate]).into_string();
        assert!(html.contains("<td>25.0 %</td><td>12.5 %</td>"), "{html}");
        assert_eq!(html.matches("<circle").count(), 2);
        assert!(saturation(&[]).into_string().contains("no gates"));
    }
}
