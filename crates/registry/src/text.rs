//! TOML as a person writes it: `1e-8` where the serializer of `toml` has `0.00000001`.

use toml::{Table, Value};

/// A value on one line, which reads back to the same bits.
pub fn value_text(value: &Value) -> String {
    match value {
        Value::Float(float) if float.is_finite() => format!("{float:?}"),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(value_text).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Table(table) if table.is_empty() => "{}".into(),
        Value::Table(table) => {
            let keys: Vec<_> = table.iter().map(|(key, value)| line(key, value)).collect();
            format!("{{ {} }}", keys.join(", "))
        }
        other => other.to_string(),
    }
}

/// A document: values first, then `[section]`s and `[[arrays of them]]`, in the table's order.
pub fn document_text(root: &Table) -> String {
    let mut text = String::new();
    write_table(&mut text, "", root);
    text
}

fn write_table(text: &mut String, path: &str, table: &Table) {
    let (tables, values): (Vec<_>, Vec<_>) =
        table.iter().partition(|(_, value)| value.is_table() || is_array_of_tables(value));
    for (key, value) in values {
        text.push_str(&line(key, value));
        text.push('\n');
    }
    for (key, value) in tables {
        let key = match path {
            "" => bare_or_quoted(key),
            _ => format!("{path}.{}", bare_or_quoted(key)),
        };
        let (entries, header) = match value {
            Value::Array(entries) => (entries.as_slice(), format!("[[{key}]]\n")),
            table => (std::slice::from_ref(table), format!("[{key}]\n")),
        };
        for table in entries.iter().filter_map(Value::as_table) {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&header);
            write_table(text, &key, table);
        }
    }
}

fn is_array_of_tables(value: &Value) -> bool {
    let items = value.as_array().filter(|items| !items.is_empty());
    items.is_some_and(|items| items.iter().all(Value::is_table))
}

fn line(key: &str, value: &Value) -> String {
    format!("{} = {}", bare_or_quoted(key), value_text(value))
}

/// A key as the serializer writes it: what a key may be is more than meets the eye.
fn bare_or_quoted(key: &str) -> String {
    let line = Table::from_iter([(key.to_owned(), Value::from(0))]).to_string();
    line.trim_end().trim_end_matches(" = 0").to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_as_short_as_a_person_writes_them() {
        let check = |float: f64, expected: &str| assert_eq!(value_text(&float.into()), expected);
        check(1e-8, "1e-8");
        check(2.5e-10, "2.5e-10");
        check(0.001, "0.001");
        check(10_000.0, "10000.0");
        check(1e300, "1e300");
        check(-0.0, "-0.0");
        check(f64::INFINITY, "inf");
        check(f64::NAN, "nan");
    }

    #[test]
    fn a_document_has_its_sections_in_order() {
        let text = "\
a = [1, 2.0, \"x\"]
\"b c\" = \"\"

[z]
g = true

[z.y]

[[t]]
k = 1

[[t]]

[t.u]
k = 2
";
        let table: Table = text.parse().expect("valid TOML");
        assert_eq!(document_text(&table), text);
    }

    fn values() -> impl Strategy<Value = Value> {
        let float = any::<f64>().prop_filter("NaN equals nothing", |float| !float.is_nan());
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::from),
            float.prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::Array),
                vec((any::<String>(), inner), 0..4)
                    .prop_map(|pairs| Value::Table(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_document_reads_back_as_itself(pairs in vec((any::<String>(), values()), 0..5)) {
            let table: Table = pairs.into_iter().collect();
            let read: Table = document_text(&table).parse().expect("valid TOML");
            prop_assert_eq!(read, table);
        }

        #[test]
        fn a_value_reads_back_as_itself(value in values()) {
            let read: Table = format!("v = {}", value_text(&value)).parse().expect("valid TOML");
            prop_assert_eq!(&read["v"], &value);
        }
    }
}
