//! Memorised or made up: how much of what a model writes stands verbatim in its training text.

use maud::{Markup, html};

/// Lengths of copied spans that are told apart, in characters.
pub const LENGTHS: [usize; 4] = [10, 20, 40, 80];

/// What of a text stands verbatim in the training text.
#[derive(Clone, Debug, PartialEq)]
pub struct Copies {
    /// What the text is, such as `temperature 0.8`.
    pub name: String,
    /// For each of [`LENGTHS`] the share of its characters in copied spans of that length or longer.
    pub shares: [f64; LENGTHS.len()],
    /// The longest copied span, and its line in the training text, from 1.
    pub longest: Option<(String, usize)>,
}

/// Samples of a model, and for comparison a text that it never saw; nothing where it was not found out.
pub fn section(copies: &[Copies]) -> Markup {
    html! {
        @if !copies.is_empty() {
            h4 { "Memorised or made up?" }
            table {
                caption { "Share of a text that stands verbatim in the training text" }
                thead { tr {
                    th scope="col" { "text" }
                    @for length in LENGTHS { th scope="col" { "in spans of " (length) " characters or more" } }
                    th scope="col" { "longest span" }
                } }
                tbody {
                    @for Copies { name, shares, longest } in copies {
                        tr {
                            th scope="row" { (name) }
                            @for share in shares { td { (format!("{:.1} %", 100.0 * share)) } }
                            td {
                                @match longest {
                                    Some((text, line)) => { q { (text) } ", " (text.chars().count()) " characters, line " (line) }
                                    None => "–",
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_the_longest_copy_are_in_the_table() {
        let longest = Some(("to <be>".to_owned(), 12));
        let copies =
            [Copies { name: "temperature 0.8".into(), shares: [0.5, 0.25, 0.0, 0.0], longest }];
        let html = section(&copies).into_string();
        assert!(html.contains("<td>50.0 %</td><td>25.0 %</td><td>0.0 %</td>"), "{html}");
        assert!(html.contains("<q>to &lt;be&gt;</q>, 7 characters, line 12"), "{html}");
        assert_eq!(section(&[]).into_string(), "");
    }
}
