//! `cargo xtask browser`: the tests of a report in Chromium, and pictures of pages.

use std::path::PathBuf;
use std::process::Command;

/// Arguments of `cargo xtask browser`.
#[derive(clap::Args)]
pub struct Args {
    /// Chromium, if it is not on the path
    #[arg(long, value_name = "PROGRAM")]
    chromium: Option<PathBuf>,
    /// Take a picture of this page instead of testing
    #[arg(long, value_name = "HTML", requires = "output")]
    picture: Option<PathBuf>,
    /// The PNG to write
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Width and height of the picture
    #[arg(long, value_name = "W,H", default_value = "1000,1400")]
    size: String,
}

/// Runs the tests, or takes the picture.
///
/// # Errors
/// If there is no Chromium, or a test fails.
pub fn run(args: Args) -> crate::Result {
    let chromium = args.chromium.or_else(on_path).ok_or(
        "there is no Chromium here: install it, as with `apt-get install chromium`, or say where it \
         is with --chromium PROGRAM",
    )?;
    let (Some(page), Some(output)) = (args.picture, args.output) else {
        let mut test = Command::new(env!("CARGO"));
        test.args(["test", "--package", "cli", "--test", "report"]).env("CHROMIUM", chromium);
        return if test.status()?.success() { Ok(()) } else { Err("a test fails".into()) };
    };
    let page = page.canonicalize().map_err(|error| format!("{}: {error}", page.display()))?;
    let profile = tempfile::tempdir()?;
    let status = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={}", args.size))
        .arg(format!("--screenshot={}", output.display()))
        .arg(format!("file://{}", page.display()))
        .status()?;
    if status.success() { Ok(()) } else { Err("Chromium took no picture".into()) }
}

/// The first of its names that runs.
fn on_path() -> Option<PathBuf> {
    let runs = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(runs).map(PathBuf::from)
}
