//! Columns under a heading.

/// `heading` and `rows` with every column as wide as its widest cell.
pub fn render<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let heading = heading.map(str::to_owned);
    let lines = || std::iter::once(&heading).chain(rows);
    let widths: [usize; N] = std::array::from_fn(|column| {
        lines().map(|line| line[column].chars().count()).max().unwrap_or_default()
    });
    let render = |line: &[String; N]| {
        let padded = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines().map(render).collect()
}

/// The same in Markdown.
pub fn markdown<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let line = |cells: &[String; N]| format!("| {} |\n", cells.join(" | "));
    let head = line(&heading.map(str::to_owned)) + &line(&["---"; N].map(str::to_owned));
    head + &rows.iter().map(line).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_also_behind_characters_of_several_bytes() {
        let rows = [["h·W".into(), "1".into()], ["b".into(), "23".into()]];
        assert_eq!(render(["what", "n"], &rows), "what  n\nh·W   1\nb     23\n");
    }

    #[test]
    fn markdown_has_a_rule_under_its_heading() {
        let rows = [["a".into(), "1".into()]];
        assert_eq!(markdown(["what", "n"], &rows), "| what | n |\n| --- | --- |\n| a | 1 |\n");
    }
}
