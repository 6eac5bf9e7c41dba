//! Ranks that are threads of one process.

use std::sync::mpsc::{Receiver, Sender, channel};

use experiment::Error;
use experiment::ranks::Ranks;

/// One of some threads that send each other what they would send as processes.
#[derive(Debug)]
pub struct Thread {
    rank: usize,
    to: Vec<Sender<Vec<u8>>>,
    from: Vec<Receiver<Vec<u8>>>,
}

impl Ranks for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.to.len()
    }

    fn exchange(&self, to: &[&[u8]], from: &mut [&mut [u8]]) -> Result<(), Error> {
        let others = || (0..self.count()).filter(|other| *other != self.rank);
        let gone = |rank| Error::NoRank { rank };
        for other in others().filter(|other| !to[*other].is_empty()) {
            self.to[other].send(to[other].to_vec()).map_err(|_| gone(other))?;
        }
        for other in others() {
            if !from[other].is_empty() {
                let bytes = self.from[other].recv().map_err(|_| gone(other))?;
                from[other].copy_from_slice(&bytes);
            }
        }
        Ok(())
    }
}

/// So many of them, who know each other.
pub fn threads(count: usize) -> Vec<Thread> {
    let mut all: Vec<_> =
        (0..count).map(|rank| Thread { rank, to: Vec::new(), from: Vec::new() }).collect();
    for from in 0..count {
        for to in 0..count {
            let (sender, receiver) = channel();
            all[from].to.push(sender);
            all[to].from.push(receiver);
        }
    }
    all
}
