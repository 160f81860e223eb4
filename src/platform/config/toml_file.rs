//! `gatehouse.toml`: variables as keys in any case, at the top or in tables, which only help the eye.

use std::path::Path;

use toml::{Table, Value};

use super::mistake::Mistake;
use super::sources::Pair;

/// The pairs. Values are never shown, nor the words of the TOML parser, which may quote them.
pub(super) fn parse(path: &Path, text: &str) -> (Vec<Pair>, Vec<Mistake>) {
    let table = match text.trim_start_matches('\u{feff}').parse::<Table>() {
        Ok(table) => table,
        Err(error) => {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
            return (vec![], vec![Mistake::new(format!("{}, line {line}: is not TOML", path.display()))]);
        }
    };
    let mut pairs = Vec::new();
    let mut mistakes = Vec::new();
    for (key, value) in table {
        let entries = if let Value::Table(section) = value {
            section.into_iter().collect()
        } else {
            vec![(key, value)]
        };
        for (key, value) in entries {
            match text_of(&value) {
                Some(text) => pairs.push(Pair::new(key.to_uppercase(), text)),
                None => mistakes.push(Mistake::new(format!(
                    "{key} ({}) must be text, a number, true, false or a list of text",
                    path.display()
                ))),
            }
        }
    }
    (pairs, mistakes)
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map(|texts| texts.join(",")),
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_lists_and_plain_values_become_texts() {
        let text = "port = 80\n[server]\nhost = \"::\"\n[log]\nLOG_LEVEL = \"INFO\"\n[x]\na = true\nb = [\"c\", \"d\"]";
        let (pairs, mistakes) = parse(Path::new("gatehouse.toml"), text);
        let expected = [("LOG_LEVEL", "INFO"), ("PORT", "80"), ("HOST", "::"), ("A", "true"), ("B", "c,d")];
        assert_eq!(mistakes, []);
        assert_eq!(pairs, expected.map(|(name, text)| Pair::new(name, text)));
    }

    #[test]
    fn what_is_no_toml_is_named_by_line_and_not_shown() {
        let (_, mistakes) = parse(Path::new("gatehouse.toml"), "port = 80\njwt_secret_key = hunter2\n");
        assert_eq!(mistakes, [Mistake::new("gatehouse.toml, line 2: is not TOML")]);
    }

    #[test]
    fn a_date_is_no_setting() {
        let (_, mistakes) = parse(Path::new("a.toml"), "port = 1979-05-27");
        assert_eq!(
            mistakes,
            [Mistake::new("port (a.toml) must be text, a number, true, false or a list of text")]
        );
    }
}
