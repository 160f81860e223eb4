//! `.env`: one `NAME=value` a line, spaces round the `=` allowed, ` #` begins a comment outside quotes.
//!
//! Nothing is substituted and nothing is escaped: a password with `$` or `\` in it stays what it is.

use std::path::Path;

use super::mistake::Mistake;
use super::sources::Pair;

/// The pairs, quotes still on. A line that can't be read is named by its number, never shown: it may be a secret.
pub(super) fn parse(path: &Path, text: &str) -> (Vec<Pair>, Vec<Mistake>) {
    let mut pairs = Vec::new();
    let mut mistakes = Vec::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match pair(line) {
            Some(pair) => pairs.push(pair),
            None => mistakes.push(Mistake::new(format!(
                "{}, line {}: must be NAME=value, a comment or empty",
                path.display(),
                number + 1
            ))),
        }
    }
    (pairs, mistakes)
}

fn pair(line: &str) -> Option<Pair> {
    let (name, value) = line.split_once('=')?;
    let name = name.strip_prefix("export ").unwrap_or(name).trim();
    let plain = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '#');
    plain.then(|| Pair::new(name, without_comment(value)))
}

fn without_comment(value: &str) -> &str {
    quoted(value.trim_start()).unwrap_or_else(|| {
        let comment = value
            .char_indices()
            .zip(value.chars().skip(1))
            .find(|((_, c), next)| c.is_whitespace() && *next == '#');
        comment.map_or(value, |((start, _), _)| &value[..start])
    })
}

/// The value with its quotes, when what follows the closing one is nothing or a comment.
fn quoted(value: &str) -> Option<&str> {
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let closing = value.match_indices(quote).skip(1).map(|(at, _)| at + 1);
    let ends = |end: usize| {
        let rest = &value[end..];
        rest.trim().is_empty()
            || (rest.starts_with(char::is_whitespace) && rest.trim_start().starts_with('#'))
    };
    closing.filter(|end| ends(*end)).map(|end| &value[..end]).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, String)> {
        let (pairs, mistakes) = parse(Path::new(".env"), text);
        assert_eq!(mistakes, []);
        pairs.into_iter().map(|pair| (pair.name, pair.text.trim().to_owned())).collect()
    }

    #[test]
    fn spaces_comments_and_quotes_are_understood() {
        for (line, value) in [
            ("A=b", "b"),
            ("A = b", "b"),
            ("export A=b", "b"),
            ("A=b # c", "b"),
            ("A=b#c", "b#c"),
            ("A=#b", "#b"),
            ("A= # c", ""),
            ("A=", ""),
            ("A=b\t# c", "b"),
            (r#"A="b # c""#, r#""b # c""#),
            (r#"A="b # c" # d"#, r#""b # c""#),
            ("A='b\"' # it's", "'b\"'"),
            (r#"A="b"c" # d"#, r#""b"c""#),
            (r#"A="b # c"#, r#""b"#),
            (r"A=p$a\s=s", r"p$a\s=s"),
        ] {
            assert_eq!(values(line), [("A".to_owned(), value.to_owned())], "{line}");
        }
    }

    #[test]
    fn empty_lines_and_comments_are_skipped() {
        assert_eq!(values("\u{feff}# c\r\n\r\n  # d = e\r\nA=b\r\n"), [("A".to_owned(), "b".to_owned())]);
    }

    #[test]
    fn a_line_that_is_no_pair_is_named_by_number_and_not_shown() {
        let (_, mistakes) = parse(Path::new(".env"), "A=b\nhunter2 is my password\n=c");
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                ".env, line 2: must be NAME=value, a comment or empty",
                ".env, line 3: must be NAME=value, a comment or empty"
            ]
        );
    }
}
