//! Times the sum of a gradient over the ranks of a job, as a step of training has it.
//!
//! ```sh
//! cargo build --release -p dist --features mpi --example sum
//! mpirun -n 2 target/release/examples/sum
//! ```

use std::process::ExitCode;
use std::time::Instant;

use experiment::ranks::{Ranks, Tree, any, complete};

/// Values of a gradient.
const SIZES: [usize; 6] = [1_000, 20_000, 240_000, 1_000_000, 3_400_000, 16_000_000];
/// Bytes that are summed for a size, about.
const BYTES: usize = 1 << 29;

fn main() -> ExitCode {
    dist::launch(|ranks| {
        for size in SIZES {
            let repeats = (BYTES / (4 * size)).clamp(10, 2000);
            let mut micros: Vec<_> = (0..repeats).map(|_| sum(ranks, size)).collect();
            micros.sort_by(f64::total_cmp);
            if ranks.rank() == 0 {
                let (least, median) = (micros[0], micros[repeats / 2]);
                println!("{size} values: {median:.0} us, at best {least:.0}");
            }
        }
        0
    })
}

/// Microseconds of one sum, from when all ranks are there.
fn sum(ranks: &dyn Ranks, size: usize) -> f64 {
    let mut gradient = Tree::<f32>::new(size);
    gradient.push(ranks.rank()..ranks.rank() + 1, |values| values.fill(1.0));
    any(ranks, false).expect("all are there");
    let start = Instant::now();
    let sum = complete(ranks, &mut gradient, ranks.count()).expect("all are there");
    let micros = 1e6 * start.elapsed().as_secs_f64();
    assert!(sum.iter().all(|value| *value == ranks.count() as f32), "each adds one");
    micros
}
