//! The settings of the runs, side by side, with what differs.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::Run;
use crate::page::key;

pub fn section(runs: &[Run]) -> Markup {
    let rows = rows(&runs.iter().map(|run| run.config.as_slice()).collect::<Vec<_>>());
    let differing = rows.iter().filter(|row| row.differs).count();
    html! {
        section aria-labelledby="settings" {
            h2 id="settings" { "Settings" }
            @if 1 < runs.len() {
                p { (match differing {
                    0 => "The runs have the same settings.".to_owned(),
                    1 => "One setting differs; it is marked with ≠.".to_owned(),
                    n => format!("{n} settings differ; they are marked with ≠."),
                }) }
            }
            details open[1 < runs.len()] {
                summary { "Every key of config.toml" }
                table.settings {
                    caption { "Settings, those that differ first" }
                    thead { tr {
                        th scope="col" { "key" }
                        @for (index, run) in runs.iter().enumerate() {
                            th scope="col" { (key(index)) " " (run.name) }
                        }
                    } }
                    tbody {
                        @for row in rows {
                            tr.differs[row.differs] {
                                th scope="row" { @if row.differs { "≠ " } code { (row.key) } }
                                @for value in row.values { td { code { (value.unwrap_or("–")) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[derive(Debug, PartialEq)]
struct Row<'a> {
    key: &'a str,
    /// Of each config; `None` where it does not have the key.
    values: Vec<Option<&'a str>>,
    differs: bool,
}

/// A row for each key of any config, those that differ first; otherwise in the order in which the
/// first config that has them writes them.
fn rows<'a>(configs: &[&'a [(String, String)]]) -> Vec<Row<'a>> {
    let by_key: Vec<BTreeMap<&str, &'a str>> = configs
        .iter()
        .map(|config| config.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect())
        .collect();
    let mut rows: Vec<Row<'a>> = Vec::new();
    for (key, _) in configs.iter().flat_map(|config| config.iter()) {
        if rows.iter().any(|row| row.key == key) {
            continue;
        }
        let values: Vec<_> =
            by_key.iter().map(|config| config.get(key.as_str()).copied()).collect();
        let differs = values.iter().any(|value| *value != values[0]);
        rows.push(Row { key, values, differs });
    }
    rows.sort_by_key(|row| !row.differs);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_comes_first_and_is_marked() {
        let config = |entries: &[(&str, &str)]| -> Vec<(String, String)> {
            entries.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
        };
        let a = config(&[("z", "1"), ("b", "2"), ("only", "3")]);
        let b = config(&[("z", "1"), ("b", "4")]);
        let row = |key, values: &[Option<&'static str>], differs| Row {
            key,
            values: values.to_vec(),
            differs,
        };
        let expected = [
            row("b", &[Some("2"), Some("4")], true),
            row("only", &[Some("3"), None], true),
            row("z", &[Some("1"), Some("1")], false),
        ];
        assert_eq!(rows(&[&a, &b]), expected);
        assert!(rows(&[&a]).iter().all(|row| !row.differs));
    }
}
