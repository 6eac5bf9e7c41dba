//! What the machine can do: multiply-adds in registers, nothing read and nothing written.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use fearless_simd::{Level, Simd, SimdBase, SimdFloat};

/// Chains side by side: enough to hide how long one takes, and few enough for the registers.
const CHAINS: usize = 12;
const LINKS: usize = 100_000;
/// How long each thread works.
const TIME: Duration = Duration::from_millis(40);

/// Operations a second of so many threads together, two for a multiply-add.
pub fn measure(threads: usize) -> f64 {
    let level = Level::new();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| one(level))).collect();
        workers.into_iter().map(|worker| worker.join().expect("it only computes")).sum()
    })
}

fn one(level: Level) -> f64 {
    let (start, mut best) = (Instant::now(), 0.0_f64);
    while start.elapsed() < TIME {
        let round = Instant::now();
        let flops = fearless_simd::dispatch!(level, simd => chains(simd));
        best = best.max(flops as f64 / round.elapsed().as_secs_f64());
    }
    best
}

/// Returns the number of operations.
#[inline(always)]
fn chains<S: Simd>(simd: S) -> usize {
    simd.vectorize(
        #[inline(always)]
        || {
            let (scale, offset) = (black_box(0.5), black_box(1.0));
            let (scale, offset) = (S::f32s::splat(simd, scale), S::f32s::splat(simd, offset));
            let mut chains = [offset; CHAINS];
            for _ in 0..LINKS {
                for chain in &mut chains {
                    *chain = scale.mul_add(*chain, offset);
                }
            }
            black_box(chains.map(|chain| chain.as_slice()[0]));
            2 * LINKS * CHAINS * S::f32s::LEN
        },
    )
}
