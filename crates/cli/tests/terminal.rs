//! A run on a pseudo terminal: windows of every width, resized and closed while it trains.

#![cfg(unix)]

mod hangups;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command as Plain};
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};

/// Wide, combined and joined characters.
const TEXT: &str = "汉字かな 🙂🙃 e\u{301}a\u{308} 🇩🇪 👩\u{200d}🔬 ❤\u{fe0f} abcdefgh\n";

const ROWS: u16 = 12;

/// A terminal with a run in it that would take for ever.
struct Terminal {
    pty: Pty,
    child: Child,
    /// All that it was sent.
    sent: Vec<u8>,
}

/// Which of the two streams goes to the terminal; the other goes to a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Out,
    Err,
    Both,
}

impl Terminal {
    fn start(directory: &Path, columns: u16, shown: Shown, args: &[&str]) -> Self {
        let text = directory.join("text.txt");
        std::fs::write(&text, TEXT.repeat(50)).expect("writable");
        let config = directory.join("config.toml");
        std::fs::write(&config, "[data]\npath = \"text.txt\"\n").expect("writable");
        let file = || File::create(directory.join("other")).expect("writable");
        let (pty, pts) = open().expect("a pseudo terminal");
        pty.resize(Size::new(ROWS, columns)).expect("a size");
        let mut command = Command::new(env!("CARGO_BIN_EXE_cli"))
            .arg("run")
            .arg(config)
            .arg("--out")
            .arg(directory.join("run"))
            .args(["--threads", "1", "--set", "train.steps=100000000", "--set", "sample.every=500"])
            .args(["--set", "model.hidden_size=20"])
            .args(args);
        match shown {
            Shown::Out => command = command.stderr(file()),
            Shown::Err => command = command.stdout(file()),
            Shown::Both => {}
        }
        let child = command.spawn(pts).expect("the program starts");
        Self { pty, child, sent: Vec::new() }
    }

    /// Reads on until what the terminal was sent is `enough`; false if the program ended before.
    #[track_caller]
    fn read_until(&mut self, enough: impl Fn(&str) -> bool) -> bool {
        let (start, mut bytes) = (Instant::now(), [0; 4096]);
        while !enough(&self.text()) {
            assert!(start.elapsed() < Duration::from_secs(100), "{:?}", self.text());
            match self.pty.read(&mut bytes) {
                // An error is what Linux says when the last one has closed it.
                Ok(0) | Err(_) => return false,
                Ok(len) => self.sent.extend(&bytes[..len]),
            }
        }
        true
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.sent).into_owned()
    }

    /// The frames that are whole: what follows the clearing of the one before.
    fn frames(&self) -> Vec<Vec<String>> {
        let text = self.text();
        let mut frames: Vec<_> = text.split("\x1b[J").skip(1).map(frame).collect();
        frames.pop();
        frames
    }

    /// Ends the run and reads the rest; the exit code.
    fn end(mut self) -> (Option<i32>, String) {
        signal("-TERM", &self.child);
        self.read_until(|_| false);
        let status = self.child.wait().expect("it ends");
        (status.code(), self.text())
    }
}

/// The lines of a frame, up to where the next one begins.
fn frame(text: &str) -> Vec<String> {
    let end = text.rfind('\r').filter(|at| !text[*at..].starts_with("\r\n")).unwrap_or(text.len());
    text[..end].split("\r\n").map(str::to_owned).collect()
}

fn signal(signal: &str, child: &Child) {
    let status = Plain::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(status.expect("every system has it").success());
}

fn n_checkpoints(directory: &Path) -> usize {
    std::fs::read_dir(directory.join("run/checkpoints")).expect("a run directory").count()
}

fn emulator(rows: u16, columns: u16) -> vt100::Parser {
    let [rows, columns] = [rows, columns].map(|n| n.try_into().expect("not 0"));
    vt100::Parser::new(rows, columns, 0)
}

/// Columns of the widest line, as terminals count them.
fn widest(frame: &[String]) -> usize {
    let mut terminal = emulator(1, 1000);
    let columns = |line: &String| {
        terminal.process(format!("\r\x1b[K{line}").as_bytes());
        terminal.screen().cursor_position().1 as usize
    };
    frame.iter().map(columns).max().unwrap_or(0)
}

#[test]
fn the_panel_fits_into_every_window() {
    for columns in [1, 10, 40, 200] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut terminal = Terminal::start(directory.path(), columns, Shown::Err, &[]);
        assert!(terminal.read_until(|text| 8 < text.matches("\x1b[J").count()), "it ended");
        let frames = terminal.frames();
        for frame in &frames {
            assert!(widest(frame) <= columns as usize, "{columns} columns: {frame:?}");
            assert!(frame.len() <= ROWS as usize, "{columns} columns: {frame:?}");
        }
        // The screen holds the last frame and nothing of those before.
        let mut screen = emulator(ROWS, columns);
        let text = terminal.text();
        let end = text.rfind("\x1b[J").and_then(|at| text[..at].rfind('\r')).expect("some frames");
        screen.process(&text.as_bytes()[..end]);
        let shown: Vec<String> = screen.screen().rows(0, columns).collect();
        let expected = frames.last().expect("some frames");
        for (row, line) in
            shown.iter().zip(expected.iter().chain(std::iter::repeat(&String::new())))
        {
            assert_eq!(row.trim_end(), line.trim_end(), "{columns} columns");
        }
        let last = expected.join(" ");
        match columns {
            1 => assert!(last.starts_with('.'), "{last}"),
            10 => assert!(last.contains("smoothed") && last.contains("nats/char"), "{last}"),
            _ => {
                let needed = ["[..", " %", "step ", " left", " nats/char, ", " bits/char"];
                for needed in needed.iter().chain(&[" chars/s"]) {
                    assert!(last.contains(needed), "{needed} in {last}");
                }
                // Of the sample, which the terminal does not get.
                assert!(last.chars().any(|c| TEXT.contains(c) && !c.is_ascii()), "{last}");
            }
        }

        let (code, text) = terminal.end();
        assert_eq!(code, Some(143));
        assert!(text.contains("SIGTERM: saved after step "), "{text}");
        let samples = std::fs::read_to_string(directory.path().join("other")).expect("UTF-8");
        assert!(samples.contains("---- step 500 ----\n"), "{samples}");
        assert!(!samples.contains(['\x1b', '\r']), "{samples}");
    }
}

#[test]
fn the_panel_follows_a_window_that_is_resized() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut terminal = Terminal::start(directory.path(), 200, Shown::Err, &[]);
    for (rows, columns) in [(24, 200), (24, 40), (3, 10), (1, 1), (5, 120)] {
        terminal.pty.resize(Size::new(rows, columns)).expect("a size");
        // One frame may be on its way with the old size.
        let before = terminal.frames().len() + 2;
        assert!(
            terminal.read_until(|text| before + 3 < text.matches("\x1b[J").count()),
            "it ended"
        );
        for frame in &terminal.frames()[before..] {
            assert!(widest(frame) <= columns as usize, "{columns} columns: {frame:?}");
            assert!(frame.len() <= rows as usize, "{rows} rows: {frame:?}");
        }
    }
    assert_eq!(terminal.end().0, Some(143));
}

#[test]
fn a_terminal_that_is_closed_ends_the_run_with_a_checkpoint() {
    if hangups::are_ignored() {
        return;
    }
    for shown in [Shown::Both, Shown::Out, Shown::Err] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut terminal = Terminal::start(directory.path(), 80, shown, &[]);
        let begun = |text: &str| text.contains("---- step 500 ----") || text.contains("\x1b[J");
        assert!(terminal.read_until(begun), "it ended");
        let Terminal { pty, mut child, .. } = terminal;
        drop(pty);
        assert_eq!(child.wait().expect("it ends").code(), Some(129));
        assert_eq!(n_checkpoints(directory.path()), 1);
        let mut check = Plain::new(env!("CARGO_BIN_EXE_cli"));
        let output = check.arg("check").arg(directory.path().join("run")).output();
        assert!(output.expect("it starts").status.success());
    }
}

#[test]
fn only_standard_error_decides_whether_there_is_a_panel() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let args = ["--set", "log.every=100"];
    let mut terminal = Terminal::start(directory.path(), 80, Shown::Out, &args);
    assert!(terminal.read_until(|text| text.contains("---- step 1000 ----")), "it ended");
    let (code, text) = terminal.end();
    assert_eq!(code, Some(143));
    assert!(text.starts_with("data has "), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
    let lines = std::fs::read_to_string(directory.path().join("other")).expect("UTF-8");
    assert!(lines.starts_with("step 100 of 100000000  smoothed loss "), "{lines}");
    assert!(!lines.contains(['\x1b', '\r']), "{lines}");
}

#[test]
fn on_a_terminal_samples_stand_above_the_panel_and_verbose_lines_too() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let args = ["--verbose", "--set", "log.every=500"];
    let mut terminal = Terminal::start(directory.path(), 120, Shown::Both, &args);
    assert!(terminal.read_until(|text| text.contains("---- step 1000 ----")), "it ended");
    let (code, text) = terminal.end();
    assert_eq!(code, Some(143));
    let line =
        text.lines().find(|line| line.contains("step 500 of") && line.contains("gradient norm"));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("  loss ") && line.contains("  learning rate 0.1  "), "{line}");
    let mut screen = emulator(60, 120);
    screen.process(text.as_bytes());
    let screen = screen.screen().contents();
    assert!(!screen.contains("[..."), "the panel is gone: {screen}");
    assert!(screen.contains("SIGTERM: saved after step "), "{screen}");
}
