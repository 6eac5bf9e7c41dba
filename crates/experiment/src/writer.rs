//! A thread that writes, so that training does not wait for the disk.
//!
//! A checkpoint takes a few syncs, each of which is as long as dozens or hundreds of steps.

use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::Error;

/// Something to write.
type Job = Box<dyn FnOnce() -> Result<(), Error> + Send>;

/// Does jobs in the order in which it gets them. After the first that fails it does no more.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Writer {
    /// A writer for a directory, which errors are about.
    ///
    /// # Errors
    /// If the system has no more threads.
    pub fn start(directory: &Path) -> Result<Self, Error> {
        // A job is handed over when the last one is done: no more than one is held in memory.
        let (jobs, queue) = sync_channel::<Job>(0);
        let work = move || queue.into_iter().try_for_each(|job| job());
        let thread =
            thread::Builder::new().name("writer".into()).spawn(work).map_err(|source| {
                Error::Io { path: directory.to_owned(), action: "start a thread to write", source }
            })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Hands a job over; waits for the one before it.
    ///
    /// # Errors
    /// That of a job before it.
    pub fn send(
        &mut self,
        job: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let sent = self.jobs.as_ref().map(|jobs| jobs.send(Box::new(job)));
        if matches!(sent, Some(Ok(()))) { Ok(()) } else { self.finish() }
    }

    /// The error of a job that failed by now.
    pub fn check(&mut self) -> Result<(), Error> {
        match &self.thread {
            Some(thread) if thread.is_finished() => self.finish(),
            _ => Ok(()),
        }
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// That of a job, unless it was told before.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.jobs = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

/// A writer that is dropped has written all it was given.
impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn failing(reason: &str) -> Result<(), Error> {
        Err(Error::NoModel { path: "x".into(), reason: reason.to_owned() })
    }

    #[test]
    fn jobs_are_done_in_order_and_all_of_them() {
        let done = Arc::new(Mutex::new(Vec::new()));
        let mut writer = Writer::start(Path::new("x")).expect("a thread");
        for n in 0..10 {
            let done = done.clone();
            let job = move || {
                done.lock().expect("nobody panicked").push(n);
                Ok(())
            };
            writer.send(job).expect("none failed");
        }
        writer.finish().expect("none failed");
        assert_eq!(*done.lock().expect("nobody panicked"), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_error_is_told_once_and_nothing_is_done_after_it() {
        let mut writer = Writer::start(Path::new("x")).expect("a thread");
        writer.check().expect("nothing failed");
        writer.send(|| failing("first")).expect("handed over");
        let second = writer.send(|| failing("second")).expect_err("the first one's");
        assert_eq!(second.to_string(), "first");
        writer.finish().expect("told before");
        writer.check().expect("told before");
    }
}
