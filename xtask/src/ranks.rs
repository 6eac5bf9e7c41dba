//! `cargo xtask ranks`: that several processes train what one does, over MPI.
//!
//! The same short run is made by one process, by several, and by several of which each is alone in a
//! network namespace with an address of its own, as machines are; ranks are killed at random and the rest
//! resumed on another number of them. All of it has to end in the same bytes.

mod job;
mod network;
mod speed;

use std::time::Duration;

use benches::Program;
use tensor_core::rng::{Stream, stream, uniform};

use self::job::{Job, Scene};
use self::network::Network;
use crate::faults::{Rows, works};

/// Arguments of `cargo xtask ranks`.
#[derive(clap::Args)]
pub struct Args {
    /// How often a rank is killed
    #[arg(long, value_name = "N", default_value = "20")]
    kills: u64,
    /// In place of all that: how fast two ranks are, on a core each, against one
    #[arg(long)]
    speed: bool,
}

/// A job whose rank was killed has to be over after so long.
const END: Duration = Duration::from_secs(10);

/// Prints a line for each kind of test.
///
/// # Errors
/// If a job does not end as it should.
pub fn run(args: Args) -> crate::Result {
    if !works("mpirun", &["--version"]) || !works("mpicc", &["--version"]) {
        println!(
            "not run: needs an MPI with its headers, and libclang; on Debian and Ubuntu\n  \
             apt-get install libopenmpi-dev openmpi-bin libclang-dev"
        );
        return Ok(());
    }
    let program = Program::build(["--release", "--features", "mpi"], [])?;
    if args.speed {
        return speed::run(&program);
    }
    let mut rows = Rows::default();
    for cell in ["vanilla", "lstm", "gru"] {
        let scene = Scene::new(&program, cell)?;
        let same = [1, 2, 3, 4].map(|ranks| scene.same(&mut Job::on(ranks)));
        rows.add(&format!("{cell}: 1, 2, 3 and 4 ranks"), same.to_vec());
    }
    let scene = Scene::new(&program, "lstm")?;
    let network = format!("{} ranks with addresses of their own", network::HOSTS);
    match Network::create()? {
        Err(missing) => rows.skip(&network, missing),
        Ok(hosts) => rows.add(&network, vec![scene.same(&mut hosts.job())]),
    }
    let differ = [
        scene.differs(&["--set", "train.seed=43"], "has another config than rank 0"),
        scene.differs(&scene.other_text(), "has another text than rank 0"),
    ];
    rows.add("rank 1 with another config or text", differ.to_vec());
    rows.add("one of 3 ranks killed, resumed on 2", kills(&scene, args.kills)?);
    rows.finish()
}

fn kills(scene: &Scene, n: u64) -> Result<Vec<Result<(), String>>, Box<dyn std::error::Error>> {
    let mut rng = stream(7, Stream::Data);
    let whole = scene.duration(3)?;
    let mut longest = Duration::ZERO;
    let mut results = Vec::new();
    for kill in 0..n {
        let moment = Duration::from_secs_f64(whole.as_secs_f64() * uniform(&mut rng));
        let rank = (uniform(&mut rng) * 3.0) as usize;
        let result = scene.killed(3, rank, moment, END).and_then(|(took, run)| {
            longest = longest.max(took);
            scene.ends_well(&mut Job::on(2), &run)
        });
        results.push(result.map_err(|what| format!("kill {kill} of rank {rank}: {what}")));
    }
    eprintln!("the longest took {longest:.1?} to end");
    Ok(results)
}
