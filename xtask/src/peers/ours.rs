//! This program's side.

use std::error::Error;
use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use benches::{Program, Workload};
use experiment::Trainer;

/// Chunks of a measurement, as the peers' scripts have it.
const CHUNKS: f64 = 15.0;
/// Floating-point operations a second, to guess how many steps make a chunk.
const GUESSED_FLOPS: f64 = 2e10;
/// Characters of a sample.
const SAMPLE_LEN: u64 = 500;
/// Starts of the program.
const STARTS: usize = 7;

/// The program, and how it is to be measured.
pub struct Ours {
    program: Program,
    args: Vec<String>,
    seconds: f64,
    note: Option<String>,
}

impl Ours {
    /// Builds it.
    pub fn build(threads: usize, seconds: f64) -> io::Result<Self> {
        let program = Program::build(["--release"], [])?;
        let (args, note) = match program.has_option("--threads")? {
            true => (vec![format!("--threads={threads}")], None),
            false => (vec![], Some("Ours has no `--threads` and used one.".to_owned())),
        };
        Ok(Self { program, args, seconds, note })
    }

    /// What a reader of the table should know.
    pub fn note(&self) -> Option<&String> {
        self.note.as_ref()
    }

    /// Microseconds of a step, chunk by chunk.
    pub fn train(&self, workload: &Workload) -> io::Result<Vec<f64>> {
        let directory = tempfile::tempdir()?;
        let config = workload.write_into(directory.path())?;
        let guess = self.seconds / CHUNKS * GUESSED_FLOPS / workload.step_flops() as f64;
        let steps = guess.max(1.0) as u64;
        let args = [&self.args[..], &[format!("--set=log.every={steps}")]].concat();
        let mut run = self.program.train(&config, &directory.path().join("run"), &args)?;
        // The first chunk has the start of the program in it.
        let (_, start) = run.next_step()?;
        let (mut last, mut chunks) = (start, vec![]);
        while (last - start).as_secs_f64() < self.seconds || chunks.len() < 5 {
            let (_, now) = run.next_step()?;
            chunks.push(micros(now - last) / steps as f64);
            last = now;
        }
        Ok(chunks)
    }

    /// Microseconds of a character that is written, chunk by chunk.
    pub fn write(&self, workload: &Workload) -> Result<Vec<f64>, Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let experiment = workload.prepare(directory.path());
        let mut trainer = Trainer::<f32>::new(&experiment);
        trainer.step()?;
        let (start, mut chunks) = (Instant::now(), vec![]);
        while start.elapsed().as_secs_f64() < self.seconds {
            let (chunk, mut chars) = (Instant::now(), 0);
            while chunk.elapsed().as_secs_f64() < self.seconds / CHUNKS {
                black_box(trainer.sample(SAMPLE_LEN as usize));
                chars += SAMPLE_LEN;
            }
            chunks.push(micros(chunk.elapsed()) / chars as f64);
        }
        Ok(chunks)
    }

    /// Milliseconds to the first step, and the most memory in MiB, start by start.
    pub fn start(&self, workload: &Workload) -> io::Result<(Vec<f64>, Vec<f64>)> {
        let directory = tempfile::tempdir()?;
        let config = workload.write_into(directory.path())?;
        let (mut times, mut memory) = (vec![], vec![]);
        for _ in 0..STARTS {
            let start_up = self.program.start_up(&config)?;
            times.push(micros(start_up.first_step) / 1e3);
            memory.extend(start_up.peak_memory.map(|bytes| bytes as f64 / 1024.0 / 1024.0));
        }
        Ok((times, memory))
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
