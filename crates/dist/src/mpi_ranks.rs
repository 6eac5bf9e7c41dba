//! The processes of an MPI job.

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use experiment::Error;
use experiment::ranks::Ranks;
use mpi::environment::Universe;
use mpi::request::{Request, scope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Destination, Source};
use mpi::{Rank, Threading};
use signal_hook::consts::SIGTERM;

/// A message is at most so long; longer ones are sent in parts, since MPI counts in 31 bits.
const MOST_BYTES: usize = 1 << 30;

/// How long a rank that was told to end waits for the others. A launcher that ends a job kills a second
/// after it has told them.
const GRACE: Duration = Duration::from_millis(400);

/// The processes that a launcher started, as MPI knows them (MPI 4.0, 2021).
pub struct MpiRanks {
    universe: Universe,
    world: SimpleCommunicator,
    told_to_end: Arc<AtomicBool>,
}

impl MpiRanks {
    /// Joins the job. `None` if this process has joined already.
    ///
    /// # Errors
    /// If the system does not let it watch for SIGTERM.
    pub fn join() -> std::io::Result<Option<Self>> {
        let told_to_end = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGTERM, told_to_end.clone())?;
        // Only the thread that trains talks to the others.
        let universe = mpi::initialize_with_threading(Threading::Funneled);
        Ok(universe.map(|(universe, _)| Self { world: universe.world(), universe, told_to_end }))
    }

    /// Leaves the job when all do.
    pub fn leave(self) {
        drop(self.universe);
    }

    /// Waits until all messages have gone and come, or until it is clear that they will not; then says for
    /// whom it waited and ends this process, for MPI has no way to take them back.
    fn wait<'a, S: mpi::request::Scope<'a>>(&self, mut open: Vec<Message<'a, S>>) {
        let mut told: Option<Instant> = None;
        while !open.is_empty() {
            open.retain_mut(Message::is_open);
            if self.told_to_end.load(Ordering::Relaxed) {
                let told = *told.get_or_insert_with(Instant::now);
                if !open.is_empty() && GRACE < told.elapsed() {
                    self.give_up(&open);
                }
            }
            yield_now();
        }
    }

    fn give_up<'a, S: mpi::request::Scope<'a>>(&self, open: &[Message<'a, S>]) -> ! {
        let mut others: Vec<_> = open.iter().map(|message| message.other).collect();
        others.sort_unstable();
        others.dedup();
        let error = Error::NoRank { rank: others[0] };
        let others: Vec<_> = others.iter().map(usize::to_string).collect();
        eprintln!(
            "error: rank {}: told to end, and no answer from rank {}\nhelp: {}",
            self.rank(),
            others.join(" and rank "),
            error.help().unwrap_or_default()
        );
        exit(error.exit_code().into());
    }
}

/// One that is under way.
struct Message<'a, S: mpi::request::Scope<'a>> {
    /// The rank it comes from or goes to.
    other: usize,
    request: Option<Request<'a, [u8], S>>,
}

impl<'a, S: mpi::request::Scope<'a>> Message<'a, S> {
    /// Whether it is still under way.
    fn is_open(&mut self) -> bool {
        self.request = self.request.take().and_then(|request| request.test().err());
        self.request.is_some()
    }
}

impl Ranks for MpiRanks {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn count(&self) -> usize {
        self.world.size() as usize
    }

    fn exchange(&self, to: &[&[u8]], from: &mut [&mut [u8]]) -> Result<(), Error> {
        let process = |other: usize| self.world.process_at_rank(other as Rank);
        scope(|scope| {
            let mut open = Vec::new();
            for (other, bytes) in from.iter_mut().enumerate() {
                for part in bytes.chunks_mut(MOST_BYTES) {
                    let request = Some(process(other).immediate_receive_into(scope, part));
                    open.push(Message { other, request });
                }
            }
            for (other, bytes) in to.iter().enumerate() {
                for part in bytes.chunks(MOST_BYTES) {
                    let request = Some(process(other).immediate_send(scope, part));
                    open.push(Message { other, request });
                }
            }
            self.wait(open);
        });
        Ok(())
    }
}
