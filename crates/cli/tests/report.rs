//! `cli report`: the page is whole, refers to nothing outside itself, works in a browser, and is made of
//! whatever a run directory has.
//!
//! The test in a browser needs Chromium. It is skipped with a word where there is none, unless
//! `CHROMIUM` says where one is: `cargo xtask browser` sets it, and says how to get one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use experiment::Parts;
use tempfile::TempDir;

const CONFIG: &str = "\
[data]
path = \"text.txt\"
split = [0.7, 0.3, 0.0]
[model]
cell = \"gru\"
hidden_size = 6
[optimizer]
learning_rate = 0.05
[train]
steps = 60
[eval]
every = 20
[sample]
every = 20
length = 40
[log]
every = 2
[checkpoint]
every = 60
";

/// Runs a command line in this process: exit code, standard output and standard error.
fn cli(args: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = cli::Console { out: &mut out, err: &mut err, draws_bar: false };
    let code = cli::run(
        ["cli"].iter().chain(args).map(ToString::to_string),
        &Parts::builtin(),
        &mut console,
    );
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (code, text(out), text(err))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A directory with a text, and the run `name` of it with `overrides` of [`CONFIG`].
fn train(directory: &TempDir, name: &str, overrides: &[&str]) -> PathBuf {
    let path = |name: &str| directory.path().join(name);
    let lines = (0..60).map(|n| format!("He said \"no & <{n}>\" (all of 7) to Anna.\n"));
    fs::write(path("text.txt"), lines.collect::<String>()).expect("writable");
    fs::write(path("c.toml"), CONFIG).expect("writable");
    let (config, run) = (path("c.toml"), path(name));
    let mut args = vec!["run", text(&config), "--out", text(&run), "--quiet"];
    args.extend(overrides.iter().flat_map(|set| ["--set", set]));
    let (code, _, err) = cli(&args);
    assert_eq!(code, 0, "{err}");
    run
}

/// The page about runs, and what was said on standard error.
#[track_caller]
fn report(runs: &[&Path]) -> (String, String) {
    let args: Vec<_> = ["report"].into_iter().chain(runs.iter().map(|run| text(run))).collect();
    let (code, out, err) = cli(&args);
    let path = runs[0].join("report.html");
    assert_eq!((code, out.trim()), (0, text(&path)), "{err}");
    (fs::read_to_string(path).expect("written"), err)
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[test]
fn a_page_is_well_formed_and_refers_to_nothing_outside() {
    let directory = directory();
    let (a, b) = (
        train(&directory, "a", &[]),
        train(&directory, "b", &["model.cell=vanilla", "train.steps=40"]),
    );
    let (page, err) = report(&[&a, &b]);
    assert_eq!(err, "");
    for reference in [
        "http:", "https:", "src=", "href=", "url(", "@import", "<link", "<base", "<iframe",
        "fetch(",
    ] {
        assert!(!page.contains(reference), "{reference} in the page");
    }
    check_nesting(&page);
    let ids: Vec<_> = values(&page, "id");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id stands twice: {ids:?}");
    for attribute in ["for", "aria-labelledby"] {
        let names = values(&page, attribute);
        assert!(!names.is_empty(), "{attribute}");
        assert!(names.iter().all(|name| ids.contains(name)), "{attribute}: {names:?} in {ids:?}");
    }
    assert!(page.contains("≠ <code>model.cell.kind</code>"), "what differs");
    assert!(!page.contains("different texts"));
    assert!(page.contains("on the first 717 symbols of the validation text"), "{page}");
    assert!(page.contains("This cell has no gates") && page.contains("gate <code>z</code>"));
    assert!(page.len() < 600_000, "{} bytes", page.len());
}

#[test]
fn few_validation_losses_beside_many_steps_are_all_in_the_numbers() {
    let directory = directory();
    let run = train(&directory, "a", &["log.every=1", "train.steps=40", "eval.every=20"]);
    let (page, _) = report(&[&run]);
    let table = page.split("<caption>a: validation</caption>").nth(1).expect("its numbers");
    let table = table.split("</table>").next().expect("its end");
    let steps: Vec<_> = table.split("<th scope=\"row\">").skip(1).map(|row| &row[..2]).collect();
    assert_eq!(steps, ["20", "40"], "{table}");
}

/// Values of an attribute, in order.
fn values<'p>(page: &'p str, attribute: &str) -> Vec<&'p str> {
    let attribute = format!(" {attribute}=\"");
    page.split(&attribute).skip(1).map(|part| part.split('"').next().expect("its end")).collect()
}

/// Every element is closed, in order.
fn check_nesting(page: &str) {
    const VOID: [&str; 2] = ["meta", "input"];
    let mut open = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        rest = &rest[start..];
        let end = rest.find('>').expect("a tag ends");
        let tag = &rest[1..end];
        rest = &rest[end + 1..];
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().expect("a name");
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed.trim()), "before {:.80}", rest);
        } else if !tag.ends_with('/') && !tag.starts_with('!') && !VOID.contains(&name) {
            open.push(name);
        }
        // What is in these is no markup.
        if !tag.starts_with('/') && ["script", "style"].contains(&name) {
            rest = &rest[rest.find("</").expect("it ends")..];
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
}

#[test]
fn a_page_is_made_of_what_there_is() {
    let directory = directory();
    let run = train(&directory, "a", &[]);
    let path = |name: &str| run.join(name);

    // A run that is being written: half a line, and fewer steps than are planned.
    let metrics = fs::read_to_string(path("metrics.jsonl")).expect("readable");
    let half = &metrics[..metrics.len() / 2];
    fs::write(path("metrics.jsonl"), half).expect("writable");
    fs::write(path("timing.jsonl"), "").expect("writable");
    let (page, _) = report(&[&run]);
    assert!(page.contains(" of 60: not ended, or not yet"));

    // A text that is another one, and a text that is no longer there.
    fs::write(directory.path().join("text.txt"), "He said nothing.\n".repeat(90))
        .expect("writable");
    let (page, err) = report(&[&run]);
    assert!(page.contains("no longer the one the model was trained on"), "{page}");
    assert!(err.contains("a: The text is no longer the one"), "{err}");
    assert!(page.contains("data-slider") && page.contains("<polyline"), "the rest is there");
    fs::remove_file(directory.path().join("text.txt")).expect("there");
    let (page, err) = report(&[&run]);
    assert!(page.contains("put it back, or set data.path"), "{err}");

    // A run without any step.
    fs::remove_dir_all(path("checkpoints")).expect("there");
    for log in ["metrics.jsonl", "timing.jsonl", "samples.txt"] {
        fs::remove_file(path(log)).expect("there");
    }
    let (page, err) = report(&[&run]);
    assert!(page.contains("none logged yet") && page.contains("There is nothing to draw yet"));
    assert!(err.contains("There is no model to look into"), "{err}");
    check_nesting(&page);
}

#[test]
fn runs_of_different_texts_are_said_to_be_and_still_drawn() {
    let directory = directory();
    let a = train(&directory, "a", &[]);
    let other = directory.path().join("other.txt");
    fs::write(&other, "Another text, \"not\" the same.\n".repeat(60)).expect("writable");
    let b = train(&directory, "b", &[&format!("data.path={}", text(&other))]);
    let (page, _) = report(&[&a, &b]);
    assert!(page.contains("trained on different texts"));
    assert!(page.contains("b: guessing"), "levels are named by their run");
    assert!(page.contains("<polyline"));
}

#[test]
fn what_cannot_be_done_gets_a_clear_word() {
    let directory = directory();
    let run = train(&directory, "a", &["train.steps=4"]);
    let check = |args: &[&str], code: u8, expected: &str| {
        let args: Vec<_> = ["report"].iter().chain(args).copied().collect();
        let (found, out, err) = cli(&args);
        let err = err.replace(text(directory.path()), "");
        assert_eq!((found, err.lines().next(), out.as_str()), (code, Some(expected), ""), "{err}");
        assert!(err.lines().last().is_some_and(|line| line.starts_with("help: ")), "{err}");
    };
    let at = |name: &str| directory.path().join(name).display().to_string();
    fs::create_dir(at("empty")).expect("a new directory");
    check(&[&at("none")], 5, "error: /none: there is no such run");
    check(&[&at("empty")], 5, "error: /empty: not a run directory: it has no config.toml");
    check(&[&at("text.txt")], 5, "error: /text.txt: not a run directory: it has no config.toml");
    check(
        &[],
        2,
        "error: command line: the following required arguments were not provided: <RUN>...",
    );
    let a = text(&run);
    check(&[a, "--out", &at("empty")], 2, "error: /empty: is a directory, and the page is a file");
    check(
        &[a, "--out", &at("none/page.html")],
        4,
        "error: /none/page.html: cannot write the page: No such file or directory (os error 2)",
    );
    if cfg!(target_os = "linux") {
        let full = "error: /dev/full: cannot write the page: No space left on device (os error 28)";
        check(&[a, "--out", "/dev/full"], 4, full);
    }
    fs::write(run.join("metrics.jsonl"), "{\"iteration\":1,\"loss\":2.0}\n").expect("writable");
    let (code, _, err) = cli(&["report", a]);
    assert_eq!(code, 5);
    assert!(err.contains("metrics.jsonl: line 1 is none that this version writes"), "{err}");
    fs::write(run.join("config.toml"), "model = [").expect("writable");
    fs::write(run.join("metrics.jsonl"), "").expect("writable");
    let (page, _) = report(&[&run]);
    assert!(page.contains("So its text cannot be found"));
}

/// Chromium: the one that `CHROMIUM` names, else the one on the path.
fn chromium() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("CHROMIUM") {
        return Some(path.into());
    }
    let works = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(works).map(PathBuf::from)
}

/// What goes before the page's own script: it counts what must not happen.
const WATCH: &str = "<script>
const found = [];
addEventListener('error', (event) => found.push('error: ' + event.message), true);
addEventListener('securitypolicyviolation', (event) => found.push('load: ' + event.blockedURI));
</script>";

/// Opens a page from disk with `script` at its end, whose calls of `say` are the lines that are
/// returned; with them comes whatever was an error, a request or on the console.
fn browse(chromium: &Path, page: &str, script: &str) -> Vec<String> {
    let directory = directory();
    let path = directory.path().join("page.html");
    let script = format!(
        "<pre id=\"said\"></pre><script>
const said = [];
const say = (...words) => said.push(words.join(' '));
const $ = (selector) => document.querySelector(selector);
try {{ {script} }} catch (error) {{ say('threw', error); }}
addEventListener('load', () => setTimeout(() => {{
  const loaded = performance.getEntriesByType('resource').map((entry) => 'load: ' + entry.name);
  $('#said').textContent = JSON.stringify([...said, ...found, ...loaded]);
}}, 200));
</script></body>"
    );
    let page = page.replace("<head>", &format!("<head>{WATCH}")).replace("</body>", &script);
    fs::write(&path, page).expect("writable");
    let output = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--no-first-run", "--enable-logging=stderr", "--virtual-time-budget=5000"])
        .arg(format!("--user-data-dir={}", directory.path().join("profile").display()))
        .args(["--dump-dom", &format!("file://{}", path.display())])
        .output()
        .expect("Chromium runs");
    let (dom, log) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let said = dom.split("<pre id=\"said\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    let said = said.unwrap_or_else(|| panic!("the page does not end: {log}"));
    let said = said.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let mut lines: Vec<String> = serde_json::from_str(&said).expect("lines");
    lines.extend(log.lines().filter(|line| line.contains(":CONSOLE")).map(str::to_owned));
    lines
}

#[test]
fn a_page_works_in_a_browser() {
    let Some(chromium) = chromium() else {
        eprintln!("skipped: there is no Chromium; `cargo xtask browser` says how to get one");
        return;
    };
    let directory = directory();
    let run = train(&directory, "a", &[]);
    let (page, _) = report(&[&run]);
    let script = "
const shown = (selector) => [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility());
const charts = () => shown('figure[data-along]').map((f) => f.dataset.along + '/' + f.dataset.scale).join();
say('charts', charts());
$('[value=log]').click();
$('[value=chars]').click();
say('charts', charts());
const slider = $('[data-slider]');
const sample = () => shown('[data-step]').map((e) => e.dataset.step).join();
say('sample', sample(), slider.value);
slider.focus(); slider.stepDown(); slider.dispatchEvent(new Event('input'));
say('sample', sample(), $('output').textContent, slider.getAttribute('aria-valuetext'));
const select = $('[data-units]');
const coloured = () => [...document.querySelectorAll('.passage > span')].map((s) => s.style.background).join();
const [before, words] = [coloured(), $('.strongest').textContent];
say('coloured', /rgba/.test(before), $('.passage').children.length);
select.selectedIndex = 1; select.dispatchEvent(new Event('change'));
say('another unit', coloured() !== before, $('.strongest').textContent !== words);
const button = [...document.querySelectorAll('[data-pick]')].find((b) => b.dataset.pick === '0');
button.click();
say('picked', select.selectedIndex, coloured() === before, $('.strongest').textContent === words);
";
    let expected = [
        "charts step/linear,step/linear,step/linear,step/linear log",
        "charts chars/log,chars/log,chars/log,chars/linear log",
        "sample 60 2",
        "sample 40 40 step 40",
        "coloured true 717",
        "another unit true true",
        "picked 0 true true",
    ];
    assert_eq!(browse(&chromium, &page, script), expected);

    // What must not happen is seen when it does.
    let mended = page.replace("</main>", "<img src=\"http://localhost:9/x.png\"></main>");
    let seen = browse(&chromium, &mended, "console.error('oh'); $('#none').click();").join("\n");
    for what in ["threw TypeError", "load: http://localhost:9/x.png", "oh"] {
        assert!(seen.contains(what), "{what} in {seen}");
    }
}
