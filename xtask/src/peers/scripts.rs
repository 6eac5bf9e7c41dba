//! The peers' side: scripts that print a line for each figure.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use super::{Args, Figure};

const SCRIPTS: [&str; 8] = [
    "limits.py",
    "w1_numpy.py",
    "w1_torch.py",
    "w1_jax.py",
    "w234_torch.py",
    "w234_jax.py",
    "w5_sample.py",
    "w6_startup.py",
];

/// Scripts, and all that running them takes.
pub struct Scripts {
    python: PathBuf,
    directory: PathBuf,
    corpus: PathBuf,
    threads: String,
    seconds: String,
    notes: RefCell<Vec<String>>,
}

impl Scripts {
    /// Looks whether everything is there, and says of everything that is not how to get it.
    pub fn find(args: &Args) -> Result<Self, String> {
        let directory = args.scripts.clone().unwrap_or_default();
        let absent = SCRIPTS.into_iter().find(|script| !directory.join(script).is_file());
        let python = args.python.clone().unwrap_or_default();
        let places = ["bin/python", "Scripts/python.exe"].map(|place| python.join(place));
        let python = places.into_iter().find(|place| place.is_file());
        let corpus = args.corpus.clone().filter(|corpus| corpus.is_file());

        let mut missing = vec![];
        if let Some(script) = absent {
            missing.push(format!(
                "--scripts DIR: a directory with {script} and the other scripts, which are kept \
                 apart from this project"
            ));
        }
        if python.is_none() {
            missing.push(
                "--python VENV: made by `python3 -m venv VENV` and \
                 `VENV/bin/pip install numpy torch 'jax[cpu]'`"
                    .to_owned(),
            );
        }
        if corpus.is_none() {
            missing.push(
                "--corpus FILE: a text of 1.1 MB or more with 65 different characters: \
                 data/tinyshakespeare/input.txt of karpathy/char-rnn"
                    .to_owned(),
            );
        }
        match (python, corpus) {
            (Some(python), Some(corpus)) if missing.is_empty() => Ok(Self {
                python,
                directory,
                corpus,
                threads: args.threads.to_string(),
                seconds: args.seconds.to_string(),
                notes: RefCell::default(),
            }),
            _ => Err(format!("the peers are not all there; name\n  {}", missing.join("\n  "))),
        }
    }

    /// What a reader of the table should know.
    pub fn notes(&self) -> Vec<String> {
        self.notes.borrow().clone()
    }

    /// Floating-point operations a second at which the machine multiplies large matrices.
    pub fn limit(&self) -> Option<f64> {
        let lines = self.lines(&["limits.py"], &["--threads", &self.threads]);
        lines.iter().find_map(|line| peak(line))
    }

    /// What a script says of one workload.
    pub fn time(&self, call: &[&str], name: &str) -> Vec<Figure> {
        let options = ["--threads", &self.threads, "--seconds", &self.seconds, "--only", name];
        let lines = self.lines(call, &options);
        let figures: Vec<_> = lines.iter().filter_map(|line| figure(line, name)).collect();
        if figures.iter().any(|figure| figure.noisy) {
            let note = "\\* others used the machine meanwhile: measure again.";
            if !self.notes.borrow().iter().any(|known| known == note) {
                self.notes.borrow_mut().push(note.to_owned());
            }
        }
        figures
    }

    /// Milliseconds to the first step, and the most memory in MiB.
    pub fn start(&self) -> (Vec<Figure>, Vec<Figure>) {
        self.lines(&["w6_startup.py"], &[]).iter().filter_map(|line| start(line)).unzip()
    }

    /// Runs a script, shows what it prints, and notes it if it fails.
    fn lines(&self, call: &[&str], options: &[&str]) -> Vec<String> {
        eprintln!("# {}", call.join(" "));
        let output = Command::new(&self.python)
            .arg(self.directory.join(call[0]))
            .arg(&self.corpus)
            .args(call[1..].iter().chain(options).map(OsStr::new))
            .output();
        let (out, failure) = match output {
            Ok(output) if output.status.success() => (output.stdout, None),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                (output.stdout, Some(said.lines().last().unwrap_or_default().to_owned()))
            }
            Err(error) => (vec![], Some(error.to_string())),
        };
        if let Some(failure) = failure {
            self.notes.borrow_mut().push(format!("{} failed: {failure}", call.join(" ")));
        }
        let lines: Vec<_> = String::from_utf8_lossy(&out).lines().map(str::to_owned).collect();
        lines.iter().for_each(|line| eprintln!("{line}"));
        lines
    }
}

/// `W2 torch LSTM adam-fused  threads=1 us_per_iter=  81.5 min=  79.0 … [NOISY-MACHINE]`
fn figure(line: &str, workload: &str) -> Option<Figure> {
    let rest = line.strip_prefix(workload)?;
    let (name, _) = rest.split_once("threads=")?;
    Some(Figure {
        name: name.trim().to_owned(),
        median: number_after(rest, " us_per_iter=")?,
        noisy: rest.contains("NOISY-MACHINE"),
    })
}

/// `W6 torch nn.RNN  first_iteration_ms median=  2210 min=  2100 peak_rss_MiB= 310.2`; what trains
/// nothing is no peer.
fn start(line: &str) -> Option<(Figure, Figure)> {
    let (name, rest) = line.strip_prefix("W6 ")?.split_once("first_iteration_ms")?;
    let name = name.trim().to_owned();
    if name == "python" || name.starts_with("import ") {
        return None;
    }
    let memory = number_after(rest, " peak_rss_MiB=")?;
    let figure = |median| Figure { name: name.clone(), median, noisy: false };
    Some((figure(number_after(rest, " median=")?), figure(memory)))
}

/// `limit W2 … = 3107.00 MFLOP -> 25000.0 us at 124.3 GFLOP/s (threads=1)`
fn peak(line: &str) -> Option<f64> {
    line.starts_with("limit ").then(|| number_after(line, " us at "))?.map(|giga| giga * 1e9)
}

/// The number behind a key; blanks may stand before it.
fn number_after(line: &str, key: &str) -> Option<f64> {
    let (_, rest) = line.split_once(key)?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_scripts_are_read() {
        let line = "W2 torch LSTM adam-fused one-hot               threads=1 \
            us_per_iter=   81234.5 min=   79000.1 cpu_us=   81000.0 cpu_min=   78900.0 \
            chars_per_s=     30775 quiet=15 noisy=0 first_call_s=0.12 ";
        let name = "torch LSTM adam-fused one-hot".to_owned();
        let expected = Figure { name, median: 81234.5, noisy: false };
        assert_eq!(figure(line, "W2"), Some(expected.clone()));
        let noisy = figure(&format!("{line} NOISY-MACHINE "), "W2");
        assert_eq!(noisy, Some(Figure { noisy: true, ..expected }));
        assert_eq!(figure(line, "W3"), None);
        assert_eq!(figure("W1 torch.compile whole-step: failed: no compiler", "W1"), None);
        assert_eq!(figure("#   last loss 2.345", "W2"), None);

        let line = "W6 torch nn.RNN             first_iteration_ms median=    2210 min=    2100 \
            peak_rss_MiB=  310.2";
        let (time, memory) = start(line).expect("a figure");
        assert_eq!((time.median, memory.median), (2210.0, 310.2));
        assert_eq!(time.name, "torch nn.RNN");
        assert_eq!(start(&line.replace("torch nn.RNN", "import torch")), None);

        let line = "limit W1 rnn 1x100 V=58 B=1 T=25: B*T*(6H^2+6HV) = 2.37 MFLOP -> 19.1 us at \
            124.3 GFLOP/s (threads=1)";
        assert_eq!(peak(line), Some(124.3e9));
    }
}
