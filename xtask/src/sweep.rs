//! `cargo xtask sweep`: `exp`, `tanh` and `sigmoid` of every `f32` there is, and `rsqrt` of every one it is
//! for, against `f64`.
//!
//! Bounds on the error of an approximation proven on paper are loose, and 2³² inputs are few.

use std::io::{self, Write};
use std::num::NonZeroU32;
use std::ops::Range;
use std::thread;
use std::time::Instant;

use tensor_core::Real;
use tensor_core::math::{rsqrt, ulps};

use crate::table;

/// What `tensor_core::math` promises of a function.
#[derive(Clone)]
struct Promise {
    /// Bits of the inputs it holds for.
    inputs: Range<u64>,
    /// Units in the last place.
    ulps: f64,
}

const EVERYWHERE: Promise = Promise { inputs: 0..1 << 32, ulps: 2.0 };

/// Of positive and normal numbers.
const NORMAL: Promise = Promise {
    inputs: f32::MIN_POSITIVE.to_bits() as u64..f32::INFINITY.to_bits() as u64,
    ulps: 1.0,
};

/// Arguments of `cargo xtask sweep`.
#[derive(clap::Args)]
pub struct Args {
    /// How many threads share the inputs.
    #[arg(long, value_name = "N", default_value = "2")]
    threads: NonZeroU32,
}

/// Prints the largest error of each function and the input it is at.
///
/// # Errors
/// If an error is over what `tensor_core::math` promises.
pub fn run(args: Args) -> crate::Result {
    let rows = [
        row("exp", EVERYWHERE, args.threads, <f32 as Real>::exp, <f64 as Real>::exp),
        row("tanh", EVERYWHERE, args.threads, <f32 as Real>::tanh, <f64 as Real>::tanh),
        row("sigmoid", EVERYWHERE, args.threads, <f32 as Real>::sigmoid, <f64 as Real>::sigmoid),
        row("rsqrt", NORMAL, args.threads, rsqrt, |x| 1.0 / x.sqrt()),
    ];
    let over: Vec<_> =
        rows.iter().filter(|(_, is_kept)| !is_kept).map(|(cells, _)| &*cells[0]).collect();
    let cells = rows.each_ref().map(|(cells, _)| cells.clone());
    let heading = ["function", "promised", "worst ulp", "at", "not nearest", "seconds"];
    write!(io::stdout(), "{}", table::render(heading, &cells))?;
    if over.is_empty() {
        Ok(())
    } else {
        Err(format!("worse than promised: {}", over.join(", ")).into())
    }
}

/// The line of a function, and whether the promise is kept.
fn row(
    name: &str,
    Promise { inputs, ulps }: Promise,
    threads: NonZeroU32,
    function: impl Fn(f32) -> f32 + Copy + Send,
    exact: impl Fn(f64) -> f64 + Copy + Send,
) -> ([String; 6], bool) {
    let start = Instant::now();
    let (threads, count) = (u64::from(threads.get()), inputs.end - inputs.start);
    let errors = thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|i| inputs.start + count * i / threads..inputs.start + count * (i + 1) / threads)
            .map(|bits| scope.spawn(move || sweep(bits, function, exact)))
            .collect();
        let join = |part: thread::ScopedJoinHandle<'_, _>| part.join().expect("sweep cannot panic");
        parts.into_iter().map(join).fold(Errors::default(), Errors::merge)
    });
    let cells = [
        name.to_owned(),
        format!("{ulps}"),
        format!("{:.4}", errors.ulps),
        format!("{:e}", errors.at),
        format!("{}", errors.not_nearest),
        format!("{:.0}", start.elapsed().as_secs_f64()),
    ];
    (cells, errors.ulps <= ulps)
}

/// The errors of a function over a range of inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Errors {
    /// The largest, in units in the last place.
    ulps: f64,
    /// The input that has it.
    at: f32,
    /// How many results are not the `f32` nearest to the exact one.
    not_nearest: u64,
}

impl Errors {
    fn merge(self, other: Self) -> Self {
        let worst = if self.ulps < other.ulps { other } else { self };
        Self { not_nearest: self.not_nearest + other.not_nearest, ..worst }
    }
}

/// Over the inputs with these `bits`.
fn sweep(bits: Range<u64>, function: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> Errors {
    let mut errors = Errors::default();
    for bits in bits {
        let x = f32::from_bits(bits as u32);
        let (found, exact) = (function(x), exact(f64::from(x)));
        let nearest = found == exact as f32 || found.is_nan() && exact.is_nan();
        let ulps = ulps(found, exact);
        errors = errors.merge(Errors { ulps, at: x, not_nearest: u64::from(!nearest) });
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_result_is_found() {
        let one = u64::from(1.0_f32.to_bits());
        let bits = one - 100..one + 100;
        let right = |x: f32| x;
        assert_eq!(sweep(bits.clone(), right, |x| x), Errors::default());
        let wrong = |x: f32| if x == 1.0 { x.next_up().next_up().next_up() } else { x };
        assert_eq!(sweep(bits, wrong, |x| x), Errors { ulps: 3.0, at: 1.0, not_nearest: 1 });
    }

    #[test]
    fn nan_for_a_number_is_the_worst() {
        let errors = sweep(0..4, |_| f32::NAN, |x| x);
        assert_eq!((errors.ulps, errors.not_nearest), (f64::INFINITY, 4));
    }
}
