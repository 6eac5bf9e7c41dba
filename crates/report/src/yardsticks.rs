//! What a run's losses are compared with, from the `yardsticks.json` in its directory.

use std::path::Path;

use serde::Deserialize;

/// How the loss of a guess among all symbols is called.
pub const GUESSING: &str = "guessing";

/// How the yardstick of bare frequencies is called.
pub const FREQUENCIES: &str = "character frequencies";

/// The file, as far as it is read here. Losses are in nats per symbol of the validation text.
#[derive(Deserialize)]
struct File {
    /// Digest of the whole text.
    text: String,
    uniform: f64,
    ngrams: Vec<NGram>,
    xz: f64,
}

#[derive(Deserialize)]
struct NGram {
    order: usize,
    witten_bell: f64,
    kneser_ney: f64,
}

/// Names and nats per character of a run's yardsticks: n-grams only as long as each is better than
/// those before it. None where there are none, or they are those of another text than `text`.
pub fn read(run: &Path, text: Option<&str>) -> Vec<(String, f64)> {
    let file = std::fs::read(run.join("yardsticks.json")).ok();
    let file = file.and_then(|bytes| serde_json::from_slice::<File>(&bytes).ok());
    let Some(File { text: of, uniform, ngrams, xz }) = file else { return Vec::new() };
    if text.is_some_and(|text| text != of) {
        return Vec::new();
    }
    let mut named = vec![(GUESSING.to_owned(), uniform), ("xz".to_owned(), xz)];
    let mut least = f64::INFINITY;
    for NGram { order, witten_bell, kneser_ney } in ngrams {
        let nats = witten_bell.min(kneser_ney);
        if nats < least {
            least = nats;
            let name = match order {
                1 => FREQUENCIES.to_owned(),
                8 | 11 | 18 => format!("an {order}-gram"),
                order => format!("a {order}-gram"),
            };
            named.push((name, nats));
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yardsticks_are_read_by_their_names() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        assert_eq!(read(path, None), []);
        let ngram = |order, nats: f64| {
            format!("{{\"order\":{order},\"witten_bell\":{nats},\"kneser_ney\":9.0}}")
        };
        let ngrams = [ngram(1, 3.0), ngram(2, 2.0), ngram(3, 2.5), ngram(8, 1.5)].join(",");
        let file = format!(
            "{{\"text\":\"abc\",\"chars\":7,\"uniform\":4.0,\"xz\":2.2,\"ngrams\":[{ngrams}]}}"
        );
        std::fs::write(path.join("yardsticks.json"), file).expect("writable");
        let expected = [
            (GUESSING, 4.0),
            ("xz", 2.2),
            (FREQUENCIES, 3.0),
            ("a 2-gram", 2.0),
            ("an 8-gram", 1.5),
        ];
        let expected = expected.map(|(name, nats)| (name.to_owned(), nats));
        assert_eq!(read(path, Some("abc")), expected);
        assert_eq!(read(path, None), expected);
        assert_eq!(read(path, Some("another text")), []);
    }
}
