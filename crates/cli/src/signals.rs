//! Signals that ask a run to end.
//!
//! SIGINT, SIGTERM and SIGHUP end it after its step, with a checkpoint; a SIGINT or SIGTERM after one of
//! them ends the process at once. A second SIGHUP does not: when a terminal is closed, its shell sends
//! one and the system another. What is on disk is whole at every moment, so even that loses no more than the
//! steps since the last checkpoint. A write beyond the limit on file sizes is an error like any other
//! and no signal.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use experiment::{Error, Event, Flow, Observer};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The exit code of a process that a signal ended is this and the signal's number.
const CODE: i32 = 128;

/// Watches for signals from when it is first asked for to the end of the process.
#[derive(Debug)]
pub struct Signals {
    /// The number of the first one, 0 for none.
    first: Arc<AtomicUsize>,
}

impl Signals {
    /// The signals of this process.
    ///
    /// # Errors
    /// If the system does not let it watch.
    pub fn watch() -> io::Result<&'static Self> {
        static WATCHED: OnceLock<Signals> = OnceLock::new();
        if let Some(signals) = WATCHED.get() {
            return Ok(signals);
        }
        let signals = Self::register()?;
        Ok(WATCHED.get_or_init(|| signals))
    }

    fn register() -> io::Result<Self> {
        let (first, again) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for signal in signals() {
            // In this order: the first signal finds nothing to shut down, and says so for the next.
            if is_of_a_person(signal) {
                flag::register_conditional_shutdown(signal, CODE + signal, again.clone())?;
            }
            flag::register(signal, again.clone())?;
            flag::register_usize(signal, first.clone(), signal as usize)?;
        }
        #[cfg(unix)]
        flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        Ok(Self { first })
    }

    /// The signal that came, if one did.
    pub fn received(&self) -> Option<Received> {
        match self.first.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(Received(signal as i32)),
        }
    }
}

#[cfg(unix)]
fn signals() -> Vec<i32> {
    use signal_hook::consts::SIGHUP;
    if is_ignored(SIGHUP) { vec![SIGINT, SIGTERM] } else { vec![SIGINT, SIGTERM, SIGHUP] }
}

#[cfg(not(unix))]
fn signals() -> Vec<i32> {
    vec![SIGINT, SIGTERM]
}

/// Whether a second one of these is sent by someone who does not want to wait.
fn is_of_a_person(signal: i32) -> bool {
    matches!(signal, SIGINT | SIGTERM)
}

/// Whether whoever started this process had it ignore a signal, as `nohup` does; on Linux, where the
/// system tells.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

impl Observer for &Signals {
    fn observe(&mut self, _: &Event<'_>) -> Result<Flow, Error> {
        Ok(if self.received().is_some() { Flow::Stop } else { Flow::GoOn })
    }
}

/// A signal that ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received(i32);

impl Received {
    /// The exit code of a process that it ended.
    pub fn exit_code(self) -> u8 {
        (CODE + self.0) as u8
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        signal_hook::low_level::signal_name(self.0).unwrap_or("a signal")
    }
}
