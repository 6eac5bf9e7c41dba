//! The logs of a run as curves, by step, by characters read and by seconds.

use data_io::Unit;
use experiment::{Metric, Record};

/// What a curve is drawn along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// Updates.
    Step,
    /// Characters read.
    Chars,
    /// Seconds of training.
    Secs,
}

impl Along {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Step, Self::Chars, Self::Secs];

    /// Its name in the page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Chars => "chars",
            Self::Secs => "secs",
        }
    }

    /// What stands at the axis.
    pub fn label(self, unit: Unit) -> String {
        match self {
            Self::Step => "steps".into(),
            Self::Chars => format!("{} read", unit.many),
            Self::Secs => "seconds".into(),
        }
    }
}

/// A value after a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Updates made so far.
    pub step: f64,
    /// Characters read so far.
    pub chars: f64,
    /// Seconds of training so far, where a clock was read.
    pub secs: Option<f64>,
    /// The value.
    pub value: f64,
}

impl Point {
    /// Where it stands; `None` where that is not known.
    pub fn at(&self, along: Along) -> Option<f64> {
        match along {
            Along::Step => Some(self.step),
            Along::Chars => Some(self.chars),
            Along::Secs => self.secs,
        }
    }
}

/// The curves of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// Loss of the window of each step that was logged, in nats per character.
    pub train: Vec<Point>,
    /// Its moving average.
    pub smooth: Vec<Point>,
    /// Loss over the validation text, in nats per character.
    pub val: Vec<Point>,
    /// L2 norm of the gradient before transforms.
    pub grad_norm: Vec<Point>,
    /// Learning rate.
    pub learning_rate: Vec<Point>,
    /// Characters a second since the line before.
    pub speed: Vec<Point>,
    /// Steps at which training went back to an earlier state.
    pub rollbacks: Vec<u64>,
}

impl Curves {
    /// The curves in a run's logs. Steps that were taken back and taken again are in it once.
    pub fn of(record: &Record) -> Self {
        let mut timing = Vec::new();
        for line in &record.timing {
            cut(&mut timing, line.step as f64, |(step, _, _)| *step);
            timing.push((line.step as f64, line.elapsed_secs, line.chars_per_sec));
        }
        let mut kept: Vec<&Metric> = Vec::new();
        let mut rollbacks = Vec::new();
        for metric in &record.metrics {
            if let Metric::Rollback { step, to_step, .. } = metric {
                kept.retain(|kept| step_of(kept) <= *to_step);
                rollbacks.push(*step);
            } else {
                kept.push(metric);
            }
        }

        let secs: Vec<_> = timing.iter().map(|(step, secs, _)| (*step, *secs)).collect();
        let read: Vec<_> = kept.iter().filter_map(|metric| chars_read(metric)).collect();
        let point = |step: f64, value| Point {
            step,
            chars: interpolate(&read, step).unwrap_or(0.0),
            secs: interpolate(&secs, step),
            value,
        };
        let mut curves = Self { rollbacks, ..Self::default() };
        for metric in kept {
            let step = step_of(metric) as f64;
            match metric {
                Metric::Train {
                    nats_per_char,
                    smooth_nats_per_char,
                    grad_norm,
                    learning_rate,
                    ..
                } => {
                    curves.train.push(point(step, *nats_per_char));
                    curves.smooth.push(point(step, *smooth_nats_per_char));
                    curves.grad_norm.push(point(step, *grad_norm));
                    curves.learning_rate.push(point(step, *learning_rate));
                }
                Metric::Val { nats_per_char, .. } => curves.val.push(point(step, *nats_per_char)),
                Metric::Rollback { .. } => {}
            }
        }
        curves.speed = timing.iter().map(|(step, _, speed)| point(*step, *speed)).collect();
        curves
    }

    /// The last step that was logged.
    pub fn last_step(&self) -> Option<f64> {
        let last = [&self.train, &self.val, &self.speed].map(|curve| curve.last());
        last.into_iter().flatten().map(|point| point.step).reduce(f64::max)
    }

    /// Step and value of the lowest point of the validation curve.
    pub fn best_val(&self) -> Option<Point> {
        self.val.iter().copied().min_by(|a, b| a.value.total_cmp(&b.value))
    }
}

fn step_of(metric: &Metric) -> u64 {
    match metric {
        Metric::Train { step, .. } | Metric::Val { step, .. } | Metric::Rollback { step, .. } => {
            *step
        }
    }
}

fn chars_read(metric: &Metric) -> Option<(f64, f64)> {
    match metric {
        Metric::Train { step, chars, .. } => Some((*step as f64, *chars as f64)),
        _ => None,
    }
}

/// Takes away what was at `step` and behind: it is written again.
fn cut<P>(points: &mut Vec<P>, step: f64, step_of: impl Fn(&P) -> f64) {
    while points.last().is_some_and(|last| step <= step_of(last)) {
        points.pop();
    }
}

/// The value at `x` on the line from zero through `known` points of growing `x`; behind the last one
/// on as it came from zero. `None` if nothing is known.
fn interpolate(known: &[(f64, f64)], x: f64) -> Option<f64> {
    let (last_x, last_y) = *known.last()?;
    if last_x <= x {
        return Some(if last_x == 0.0 { last_y } else { last_y * (x / last_x) });
    }
    let next = known.partition_point(|(at, _)| *at < x);
    let (x0, y0) = next.checked_sub(1).map_or((0.0, 0.0), |before| known[before]);
    let (x1, y1) = known[next];
    Some(if x1 == x0 { y1 } else { y0 + (y1 - y0) * ((x - x0) / (x1 - x0)) })
}

/// At most about `most` of the points, in which no peak and no valley is missing: the first, the last,
/// and the lowest and the highest of each part. Points that are no number are left out.
pub fn thin(points: impl IntoIterator<Item = (f64, f64)>, most: usize) -> Vec<(f64, f64)> {
    let finite = |(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
    let points: Vec<_> = points.into_iter().filter(finite).collect();
    if points.len() <= most {
        return points;
    }
    let each = points.len().div_ceil((most / 2).max(1));
    let mut kept = vec![points[0]];
    for part in points.chunks(each) {
        let by_value = |a: &usize, b: &usize| part[*a].1.total_cmp(&part[*b].1);
        let lowest = (0..part.len()).min_by(by_value).expect("no part is empty");
        let highest = (0..part.len()).max_by(by_value).expect("no part is empty");
        kept.extend([lowest.min(highest), lowest.max(highest)].map(|at| part[at]));
    }
    kept.extend(points.last());
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_ends_peaks_and_valleys() {
        let wave = |x: usize| (x as f64, if x == 7_123 { 9.0 } else { (x % 10) as f64 / 10.0 });
        let mut points: Vec<_> = (0..10_000).map(wave).collect();
        points[1_234].1 = -5.0;
        points[4_000].1 = f64::NAN;
        let thinned = thin(points.iter().copied(), 100);
        assert!(thinned.len() <= 102, "{}", thinned.len());
        assert!(thinned.contains(&(7_123.0, 9.0)) && thinned.contains(&(1_234.0, -5.0)));
        assert_eq!((thinned[0], thinned.last()), (points[0], points.last()));
        assert!(thinned.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(thin([(0.0, 1.0), (1.0, f64::INFINITY)], 100), [(0.0, 1.0)]);
    }

    #[test]
    fn what_is_between_two_points_is_on_a_line() {
        let known = [(10.0, 100.0), (20.0, 300.0)];
        let at = |x| interpolate(&known, x).expect("known");
        assert_eq!(
            [0.0, 5.0, 10.0, 15.0, 20.0, 40.0].map(at),
            [0.0, 50.0, 100.0, 200.0, 300.0, 600.0]
        );
        assert_eq!(interpolate(&[], 3.0), None);
    }

    fn train(step: u64) -> Metric {
        Metric::Train {
            step,
            nats_per_char: step as f64,
            smooth_nats_per_char: 2.0,
            grad_norm: 3.0,
            learning_rate: 0.1,
            chars: 25 * step,
        }
    }

    #[test]
    fn what_was_taken_back_is_drawn_once() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        let not_finite = String::from("the loss");
        let back = Metric::Rollback { step: 30, not_finite, to_step: 10, rollbacks: 1 };
        let val = |step| Metric::Val { step, nats_per_char: 1.0, chars: 7 };
        let metrics = [train(10), val(10), train(20), val(20), back, train(20), train(30)];
        let lines =
            metrics.iter().map(|metric| serde_json::to_string(metric).expect("JSON") + "\n");
        std::fs::write(path.join("metrics.jsonl"), lines.collect::<String>()).expect("writable");
        let timing = [(10, 1.0), (20, 2.0), (20, 4.0), (30, 6.0)].map(|(step, secs)| {
            format!("{{\"step\":{step},\"elapsed_secs\":{secs},\"chars_per_sec\":5.0}}\n")
        });
        std::fs::write(path.join("timing.jsonl"), timing.concat()).expect("writable");
        std::fs::write(path.join("config.toml"), "").expect("writable");

        let curves = Curves::of(&Record::open(path).expect("a run"));
        let steps = |points: &[Point]| points.iter().map(|point| point.step).collect::<Vec<_>>();
        assert_eq!(steps(&curves.train), [10.0, 20.0, 30.0]);
        assert_eq!(steps(&curves.val), [10.0]);
        assert_eq!(steps(&curves.speed), [10.0, 20.0, 30.0]);
        assert_eq!(curves.rollbacks, [30]);
        let second = curves.train[1];
        assert_eq!((second.chars, second.secs, second.value), (500.0, Some(4.0), 20.0));
        assert_eq!(curves.val[0].chars, 250.0, "not the characters of the validation text");
    }
}
