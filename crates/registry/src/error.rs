//! What is wrong with a config, and where.

use std::ops::Range;

/// A mistake in a config: what is wrong, where, and how to mend it.
///
/// The span counts bytes in the [`Document`](crate::Document) the value came from, which turns it
/// into a line and a column.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// The key or value to change; `None` when something is missing altogether.
    pub span: Option<Range<usize>>,
    /// How to mend it.
    pub help: Option<String>,
}

impl ConfigError {
    /// An error at `span`, in bytes of the document, without advice.
    pub fn new(message: impl Into<String>, span: Range<usize>) -> Self {
        Self { message: message.into(), span: Some(span), help: None }
    }

    /// An error about something that is not there.
    pub fn missing(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, help: None }
    }

    /// The same error with advice.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// "LINE:COLUMN message; help", or the override instead of line and column: what tests compare.
    #[cfg(test)]
    pub(crate) fn describe(&self, document: &crate::Document) -> String {
        let place = self.span.as_ref().map(|span| document.place(span).name + " ");
        let help = self.help.as_ref().map(|help| format!("; {help}"));
        format!("{}{self}{}", place.unwrap_or_default(), help.unwrap_or_default())
    }
}

/// "did you mean `x`? known keys: a, b, x", the suggestion only where one name is close.
pub fn suggest<'a>(word: &str, what: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let similarity = |name: &str| strsim::normalized_damerau_levenshtein(word, name);
    let nearest = known.clone().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    let list = known.collect::<Vec<_>>().join(", ");
    match nearest {
        Some(name) if 0.5 <= similarity(name) => {
            format!("did you mean `{name}`? known {what}: {list}")
        }
        _ => format!("known {what}: {list}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_close_name_is_suggested() {
        let known = ["adagrad", "adam", "sgd"];
        let check = |word, expected: &str| {
            assert_eq!(suggest(word, "optimizers", known.into_iter()), expected);
        };
        check("admw", "did you mean `adam`? known optimizers: adagrad, adam, sgd");
        check("adgrad", "did you mean `adagrad`? known optimizers: adagrad, adam, sgd");
        check("lbfgs", "known optimizers: adagrad, adam, sgd");
    }
}
