//! Whether a run that goes on is the one that was begun.

use toml::{Table, Value};

use crate::config::{PATHS, default_keys};
use crate::{Checkpoint, Error, Experiment};

/// What may differ from the run that was begun.
#[derive(Clone, Debug, Default)]
pub struct Permitted {
    /// Any key of the config.
    pub config: bool,
    /// These keys, such as `train.steps`, and those below them; with `optimizer.kind` all of
    /// `optimizer`.
    pub keys: Vec<String>,
    /// The text. Training goes on at the start of the new one.
    pub text: bool,
}

impl Permitted {
    fn permits(&self, key: &str) -> bool {
        let is_below = |key: &str, table: &str| {
            key.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        // The keys of a part go with its name.
        let mut sets = self.keys.iter().map(|set| set.strip_suffix(".kind").unwrap_or(set));
        self.config || sets.any(|set| is_below(key, set) || is_below(set, key))
    }
}

/// A key that is not what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its name.
    pub key: String,
    /// What it is, as TOML.
    pub now: String,
    /// What it was.
    pub then: String,
}

/// Checks that config and text are those of a checkpoint, apart from where files lie and what they
/// are called, and returns what is permitted to differ and does.
pub(crate) fn check_same(
    checkpoint: &Checkpoint,
    experiment: &Experiment,
    permitted: &Permitted,
) -> Result<Vec<Change>, Error> {
    let (path, head) = (checkpoint.path.clone(), &checkpoint.head);
    let parse = |text: &str| text.parse::<Table>();
    let now = parse(&experiment.config().to_text_without_directories()).expect("TOML");
    let mut then = parse(&head.config).map_err(|_| {
        let reason = "its config is not TOML".to_owned();
        Error::NoModel { path: path.clone(), reason }
    })?;
    fill(&mut then, &default_keys());
    let changes = changes("", &now, &then);
    let (permitted_changes, changes): (Vec<_>, Vec<_>) =
        changes.into_iter().partition(|change| permitted.permits(&change.key));
    if !changes.is_empty() {
        return Err(Error::ConfigChanged { checkpoint: path, changes });
    }
    if !permitted.text && experiment.text().digest()? != head.text {
        let place = experiment.config().text_place();
        return Err(Error::TextChanged { place, checkpoint: path });
    }
    Ok(permitted_changes)
}

/// Gives a table the defaults of the keys that it does not have: a checkpoint may be older than a key.
fn fill(table: &mut Table, defaults: &Table) {
    for (key, default) in defaults {
        match (table.get_mut(key), default) {
            (Some(Value::Table(table)), Value::Table(defaults)) => fill(table, defaults),
            (Some(_), _) => {}
            (None, _) => _ = table.insert(key.clone(), default.clone()),
        }
    }
}

/// The keys in which two tables below `prefix` differ. An array is one value.
fn changes(prefix: &str, now: &Table, then: &Table) -> Vec<Change> {
    let mut keys: Vec<&String> = now.keys().chain(then.keys()).collect();
    keys.sort();
    keys.dedup();
    let change = |key: &String| {
        let (name, pair) = (format!("{prefix}{key}"), (now.get(key), then.get(key)));
        match pair {
            (Some(Value::Table(now)), Some(Value::Table(then))) => {
                changes(&format!("{name}."), now, then)
            }
            (now, then) if now == then || is_path(&name) => Vec::new(),
            (now, then) => vec![Change { key: name, now: text(now), then: text(then) }],
        }
    };
    keys.into_iter().flat_map(change).collect()
}

fn is_path(key: &str) -> bool {
    PATHS.iter().any(|path| path.join(".") == key)
}

fn text(value: Option<&Value>) -> String {
    value.map_or("nothing".into(), registry::value_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        text.parse().expect("TOML")
    }

    #[track_caller]
    fn check(now: &str, then: &str, expected: &[&str]) {
        let found = changes("", &table(now), &table(then));
        let found: Vec<_> =
            found.iter().map(|c| format!("{} {} {}", c.key, c.now, c.then)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_key_that_differs_is_found_but_for_paths() {
        check("a = 1", "a = 1", &[]);
        check("a = 1\nb.c = 2", "a = 1\nb.c = 3", &["b.c 2 3"]);
        check("a = [1, 2]", "a = [1, 3]", &["a [1, 2] [1, 3]"]);
        check("a.b = 1", "", &["a { b = 1 } nothing"]);
        check("", "a = 1", &["a nothing 1"]);
        check("a = 1", "a.b = 1", &["a 1 { b = 1 }"]);
        check("data.path = 'a'\ndata.b = 1", "data.path = 'b'\ndata.b = 2", &["data.b 1 2"]);
    }

    #[test]
    fn a_key_that_is_younger_than_a_checkpoint_had_its_default() {
        let mut then = table("train.steps = 7\na = 1");
        fill(&mut then, &table("train.steps = 1\ntrain.patience = 0\nlog.every = 100"));
        assert_eq!(then, table("train.steps = 7\ntrain.patience = 0\na = 1\nlog.every = 100"));
        assert_eq!(default_keys()["train"]["patience"], Value::Integer(0));
    }

    #[test]
    fn a_key_is_permitted_by_its_name_or_its_table_or_a_part_of_it() {
        let permitted = |keys: &[&str]| Permitted {
            keys: keys.iter().map(ToString::to_string).collect(),
            ..Permitted::default()
        };
        assert!(permitted(&["train.steps"]).permits("train.steps"));
        assert!(permitted(&["train"]).permits("train.steps"));
        assert!(permitted(&["transform.0.limit"]).permits("transform"));
        assert!(permitted(&["optimizer.kind"]).permits("optimizer.betas"));
        assert!(!permitted(&["train.step"]).permits("train.steps"));
        assert!(!permitted(&["train.steps"]).permits("train.seed"));
        assert!(!permitted(&[]).permits("train.steps"));
        assert!(Permitted { config: true, ..Permitted::default() }.permits("train.steps"));
    }
}
