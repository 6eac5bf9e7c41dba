//! A short run, made by several processes.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use benches::Program;
use tempfile::TempDir;

use crate::faults::files;

/// Overrides of `configs/karpathy.toml`: all that is drawn at random is, every kind of file is written
/// several times, and the shards are no power of two.
const OVERRIDES: [&str; 12] = [
    "train.steps=600",
    "train.batch_size=12",
    "train.shards=6",
    "model.hidden_size=48",
    "model.dropout=0.2",
    "model.drop_connect=0.1",
    "optimizer.kind=adam",
    "data.split=[0.9, 0.1, 0.0]",
    "eval.every=200",
    "sample.every=200",
    "checkpoint.every=50",
    "checkpoint.keep=2",
];

/// What Open MPI is told; others do not know these variables.
const OPEN_MPI: [(&str, &str); 6] = [
    ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
    ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
    ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
    ("OMPI_MCA_hwloc_base_binding_policy", "none"),
    // Copies between processes by the kernel are slower than memory they share on many a virtual machine.
    ("OMPI_MCA_btl_vader_single_copy_mechanism", "none"),
    // A rank that is killed while it holds a lock in the memory it shares with its launcher leaves the
    // launcher waiting for it, long after all ranks have ended (PMIx issue 1233).
    ("PMIX_MCA_gds", "hash"),
];

/// A job that nothing happens to is over sooner, also on a busy machine.
const LONGEST: Duration = Duration::from_secs(120);

/// How a launcher is called.
pub struct Job {
    launcher: Command,
}

impl Job {
    /// So many ranks on this machine.
    pub fn on(ranks: usize) -> Self {
        let mut launcher = Command::new("mpirun");
        launcher.args(["-n", &ranks.to_string()]).envs(OPEN_MPI);
        Self { launcher }
    }

    /// Further arguments of the launcher.
    pub fn with(mut self, args: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Self {
        self.launcher.args(args);
        self
    }

    /// Further words of its command line: the program and its arguments.
    pub fn command(&mut self) -> &mut Command {
        &mut self.launcher
    }
}

/// The run, and what it ends in.
pub struct Scene {
    program: PathBuf,
    config: PathBuf,
    overrides: Vec<String>,
    expected: BTreeMap<PathBuf, Vec<u8>>,
    directory: TempDir,
}

/// A run directory, which is removed when it is dropped.
pub struct Run {
    _directory: TempDir,
    path: PathBuf,
}

impl Run {
    fn new() -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        Ok(Self { path: directory.path().join("run"), _directory: directory })
    }
}

impl Scene {
    pub fn new(program: &Program, cell: &str) -> Result<Self, Box<dyn Error>> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ is in it");
        let cell = format!("model.cell={cell}");
        let overrides = OVERRIDES.iter().map(|set| (*set).to_owned()).chain([cell]).collect();
        let directory = tempfile::tempdir()?;
        fs::copy(project.join("configs/data/input.txt"), directory.path().join("text.txt"))?;
        let mut scene = Self {
            program: program.path().to_owned(),
            config: project.join("configs/karpathy.toml"),
            overrides,
            expected: BTreeMap::new(),
            directory,
        };
        let run = Run::new()?;
        scene.end(Command::new(&scene.program).args(scene.args(&run)))?;
        scene.expected = files(&run.path)?;
        Ok(scene)
    }

    fn args(&self, run: &Run) -> Vec<String> {
        let text = format!("data.path={}", self.directory.path().join("text.txt").display());
        let (config, out) = (self.config.display().to_string(), run.path.display().to_string());
        let words = ["run", &config, "--out", &out, "--threads", "1", "--quiet", "--resume"];
        let sets = self.overrides.iter().chain([&text]).flat_map(|set| ["--set", set]);
        words.into_iter().chain(sets).map(str::to_owned).collect()
    }

    /// Runs a command that is to end with exit code 0.
    fn end(&self, command: &mut Command) -> Result<(), String> {
        match ended(command, |_| Ok(()), LONGEST)? {
            (Some(0), _) => Ok(()),
            (code, said) => Err(format!("exit code {code:?}: {said}")),
        }
    }

    /// Whether a job ends in the bytes of one process.
    pub fn same(&self, job: &mut Job) -> Result<(), String> {
        self.ends_well(job, &Run::new()?)
    }

    /// The same for one that goes on in the directory of a run.
    pub fn ends_well(&self, job: &mut Job, run: &Run) -> Result<(), String> {
        self.end(job.command().arg(&self.program).args(self.args(run)))?;
        let found = files(&run.path).map_err(|error| error.to_string())?;
        let differs = |name: &&PathBuf| found.get(*name) != self.expected.get(*name);
        match found.keys().chain(self.expected.keys()).find(differs) {
            None => Ok(()),
            Some(name) => Err(format!("{} differs", name.display())),
        }
    }

    /// Seconds that it takes so many ranks.
    pub fn duration(&self, ranks: usize) -> Result<Duration, String> {
        let start = Instant::now();
        self.same(&mut Job::on(ranks)).map(|()| start.elapsed())
    }

    /// Arguments that name another text with the name of the first.
    pub fn other_text(&self) -> Vec<String> {
        let directory = self.directory.path().join("other");
        let text = directory.join("text.txt");
        let written = fs::create_dir_all(&directory)
            .and_then(|()| fs::read(self.directory.path().join("text.txt")))
            .and_then(|mut bytes| {
                bytes.reverse();
                fs::write(&text, bytes)
            });
        written.expect("a temporary directory takes a text");
        vec!["--set".into(), format!("data.path={}", text.display())]
    }

    /// Whether the job ends with exit code 1 and a message if rank 1 has further arguments.
    pub fn differs(&self, more: &[impl AsRef<str>], message: &str) -> Result<(), String> {
        let run = Run::new()?;
        let more = more.iter().map(AsRef::as_ref);
        let mut job = Job::on(1);
        let command = job
            .command()
            .arg(&self.program)
            .args(self.args(&run))
            .args([":", "-n", "1"])
            .arg(&self.program)
            .args(self.args(&run))
            .args(more);
        let expected = format!("rank 1: {message}");
        match ended(command, |_| Ok(()), LONGEST)? {
            (Some(1), said) if said.contains(&expected) => Ok(()),
            (code, said) => Err(format!("exit code {code:?}, no {expected:?}: {said}")),
        }
    }

    /// Kills a rank of a job after a time, and returns how long the job then took to end, with exit code 1
    /// and a word about that rank.
    pub fn killed(
        &self,
        ranks: usize,
        rank: usize,
        moment: Duration,
        most: Duration,
    ) -> Result<(Duration, Run), String> {
        let run = Run::new()?;
        let mut job = Job::on(ranks);
        let command = job.command().arg(&self.program).args(self.args(&run));
        let mut start = None;
        let kill = |launcher: &mut Child| {
            sleep(moment);
            while launcher.try_wait()?.is_none() {
                if let Some(process) = process_of(launcher, rank) {
                    start = Some(Instant::now());
                    Command::new("kill").args(["-9", &process.to_string()]).status()?;
                    break;
                }
                sleep(Duration::from_millis(1));
            }
            Ok(())
        };
        let (code, said) = ended(command, kill, most)?;
        let expected = format!("rank {rank}: ended by SIGKILL");
        match (code, start) {
            (Some(1), Some(start)) if said.contains(&expected) => Ok((start.elapsed(), run)),
            // It was over sooner than before; a little earlier will do.
            (Some(0), _) if Duration::from_millis(10) < moment => {
                self.killed(ranks, rank, moment.mul_f64(0.8), most)
            }
            (code, _) => Err(format!("exit code {code:?}, no {expected:?}: {said}")),
        }
    }
}

/// Starts a command, does something to it, and waits for at most so long. Returns its exit code and what it
/// said.
fn ended(
    command: &mut Command,
    meddle: impl FnOnce(&mut Child) -> io::Result<()>,
    most: Duration,
) -> Result<(Option<i32>, String), String> {
    let wait = || -> io::Result<_> {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut stderr = child.stderr.take().expect("it is piped");
        let reader = thread::spawn(move || {
            let mut said = Vec::new();
            stderr.read_to_end(&mut said).map(|_| said)
        });
        meddle(&mut child)?;
        let start = Instant::now();
        let status = loop {
            match child.try_wait()? {
                Some(status) => break status,
                None if most < start.elapsed() => {
                    child.kill()?;
                    return Err(io::Error::other(format!("not over after {most:?}")));
                }
                None => sleep(Duration::from_millis(5)),
            }
        };
        let said = reader.join().expect("no panic")?;
        Ok((status.code(), String::from_utf8_lossy(&said).into_owned()))
    };
    wait().map_err(|error| error.to_string())
}

/// The process that trains as a rank: a child of the one that the launcher started.
fn process_of(launcher: &Child, rank: usize) -> Option<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parents: Vec<(u32, u32)> =
        processes.filter_map(|process| Some((process, parent(process)?))).collect();
    let children = |of: u32| parents.iter().filter(move |(_, parent)| *parent == of);
    let is_it = |process: u32| {
        let variables = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        let wanted = ["OMPI_COMM_WORLD_RANK", "PMI_RANK"].map(|name| format!("{name}={rank}"));
        let mut variables = variables.split(|byte| *byte == 0);
        variables.any(|variable| wanted.iter().any(|wanted| wanted.as_bytes() == variable))
    };
    let mut started = children(launcher.id()).filter(|(process, _)| is_it(*process));
    started.find_map(|(process, _)| children(*process).next()).map(|(process, _)| *process)
}

fn parent(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
