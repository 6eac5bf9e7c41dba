//! The samples drawn while training, under a slider.

use maud::{Markup, html};

use crate::page::key;
use crate::{Run, novelty};

/// The most samples of a run: the first, the last, and those between in even steps.
const MOST: usize = 100;

pub fn section(runs: &[Run]) -> Markup {
    html! {
        section aria-labelledby="samples" {
            h2 id="samples" { "Samples" }
            @for (index, run) in runs.iter().enumerate() {
                section.samples {
                    h3 { (key(index)) " " (run.name) }
                    (slider(index, &run.record.samples))
                    (novelty::section(&run.copies))
                }
            }
        }
    }
}

fn slider(run: usize, samples: &[(u64, String)]) -> Markup {
    let every = samples.len().div_ceil(MOST).max(1);
    let is_kept = |index: &usize| (samples.len() - 1 - index).is_multiple_of(every);
    let kept: Vec<_> = (0..samples.len()).filter(is_kept).map(|index| &samples[index]).collect();
    let Some(last) = kept.len().checked_sub(1) else {
        return html! { p { "No sample was drawn while training: sample.every says how often." } };
    };
    let id = format!("sample-{run}");
    html! {
        p.control {
            label for=(id) { "After step" }
            input id=(id) type="range" min="0" max=(last) value=(last) step="1" aria-valuetext=(format!("step {}", kept[last].0)) data-slider;
            output for=(id) { (kept[last].0) }
        }
        div {
            @for (index, (step, text)) in kept.iter().enumerate() {
                // A line end right behind the tag is none of the text, in HTML.
                pre.text data-step=(step) hidden[index != last] tabindex="0" aria-label=(format!("Sample after step {step}")) { "\n" (text) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slider_has_a_sample_for_each_of_its_places() {
        let samples: Vec<_> = (1..=250).map(|step| (step, format!("<{step}>"))).collect();
        let html = slider(3, &samples).into_string();
        assert_eq!(html.matches("<pre").count(), 84, "every third");
        assert!(html.contains("max=\"83\" value=\"83\""));
        assert_eq!(html.matches(" hidden").count(), 83);
        assert!(html.contains("&lt;250&gt;</pre>") && !html.contains("&lt;249&gt;"));
        let one = slider(0, &samples[..1]).into_string();
        assert!(one.contains("max=\"0\"") && !one.contains(" hidden"));
        assert!(slider(0, &[]).into_string().contains("No sample"));
    }
}
