//! How deep a policy may go. Cedar reads and checks policies by recursion: one that is nested without end overflows
//! the stack, which ends the program, and one that is only very deep passes the validator unchecked. This looks at
//! the text before Cedar does.

use super::PolicyMistake;
use super::policies::Source;

/// How many brackets may be open at once.
const MAX_NESTING: usize = 16;

/// How many operators one policy may have. Lists count nothing, so that long ones of ids are fine.
const MAX_OPERATORS: usize = 64;

/// Signs that stand alone, and those that may be half of an operator.
const SINGLE_SIGNS: &str = ".+-*!";
const DOUBLE_SIGNS: &str = "<>=&|";
const OPERATOR_WORDS: [&str; 5] = ["if", "in", "has", "like", "is"];

/// Refuses a file with a policy that goes too deep.
pub(super) fn check(source: &Source) -> Result<(), PolicyMistake> {
    let mut here = Depth::default();
    for (line, token) in tokens(&source.text) {
        here = here.after(token);
        if let Some(what) = here.complaint() {
            return Err(PolicyMistake { line: Some(line), ..PolicyMistake::new(&source.name, what) });
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Default)]
struct Depth {
    nesting: usize,
    operators: usize,
}

impl Depth {
    fn after(self, token: &str) -> Self {
        let Self { nesting, operators } = self;
        match token {
            ";" => Self::default(),
            "(" | "[" | "{" => Self { nesting: nesting + 1, operators },
            ")" | "]" | "}" => Self { nesting: nesting.saturating_sub(1), operators },
            _ if is_operator(token) => Self { nesting, operators: operators + 1 },
            _ => self,
        }
    }

    fn complaint(self) -> Option<String> {
        if self.nesting > MAX_NESTING {
            return Some(format!("a policy may not have more than {MAX_NESTING} brackets in one another"));
        }
        (self.operators > MAX_OPERATORS).then(|| {
            format!("a policy may not have more than {MAX_OPERATORS} operators; make it several policies")
        })
    }
}

fn is_operator(token: &str) -> bool {
    OPERATOR_WORDS.contains(&token)
        || token.starts_with(|first| is_one_of(SINGLE_SIGNS, first) || is_one_of(DOUBLE_SIGNS, first))
}

/// The line of the first string that is written so, quotes included.
pub(super) fn line_of(text: &str, string: &str) -> Option<usize> {
    all_tokens(text).find(|(_, token)| *token == string).map(|(line, _)| line)
}

/// The tokens that matter here, each with its line; strings and comments are left out.
fn tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    all_tokens(text).filter(|(_, token)| !token.starts_with('"') && !token.starts_with("//"))
}

fn all_tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = text;
    let mut line = 1;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = line;
        let (token, after) = rest.split_at(token_length(rest));
        line += token.bytes().filter(|byte| *byte == b'\n').count();
        rest = after;
        Some((at, token))
    })
}

/// How long the first token of a text is that is not empty.
fn token_length(text: &str) -> usize {
    let ends = |outside: fn(char) -> bool| text.find(outside).unwrap_or(text.len());
    match text.chars().next() {
        Some('"') => string_length(text),
        Some('/') if text.starts_with("//") => ends(|found| found == '\n' || found == '\r'),
        Some(first) if is_word(first) => ends(|found| !is_word(found)),
        Some(first) if is_one_of(DOUBLE_SIGNS, first) => ends(|found| !is_one_of(DOUBLE_SIGNS, found)),
        first => first.map_or(text.len(), char::len_utf8),
    }
}

fn is_one_of(signs: &str, found: char) -> bool {
    signs.contains(found)
}

fn is_word(found: char) -> bool {
    found == '_' || found.is_ascii_alphanumeric()
}

/// The length of the string that the text begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> Option<(usize, String)> {
        let found = check(&Source { name: "a.cedar".to_owned(), text: text.to_owned() }).err();
        found.map(|mistake| (mistake.line.unwrap(), mistake.what))
    }

    #[test]
    fn brackets_are_counted_up_to_the_limit() {
        let nested = |depth| format!("\n{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(complaint(&nested(16)), None);
        let (line, what) = complaint(&nested(17)).unwrap();
        assert_eq!((line, what.as_str()), (2, "a policy may not have more than 16 brackets in one another"));
    }

    #[test]
    fn operators_are_counted_in_each_policy() {
        for operator in ["&&", "in", ".", "if", "-", "==", "<"] {
            let chain = |length| format!("a {operator} ").repeat(length);
            assert_eq!(complaint(&(chain(64) + ";" + &chain(64))), None, "{operator}");
            assert!(complaint(&chain(65)).is_some(), "{operator}");
        }
        assert!(complaint(&"a && !!b".repeat(22)).is_some());
    }

    #[test]
    fn strings_and_comments_are_not_counted() {
        assert_eq!(complaint(&format!(r#""\\" "\"{}" // {}"#, "(".repeat(17), "(".repeat(17))), None);
        assert!(complaint(&format!("// comment\r{}", "(".repeat(17))).is_some());
        assert!(complaint(&format!(r#""\\" {}"#, "(".repeat(17))).is_some());
    }

    #[test]
    fn a_long_list_is_no_depth() {
        assert_eq!(complaint(&r#"Account::"0", "#.repeat(10_000)), None);
    }

    #[test]
    fn any_text_is_read_to_its_end() {
        for text in ["", "\"", "\"\\", "/", "//", "é\"é", "\0"] {
            assert_eq!(complaint(text), None, "{text:?}");
        }
    }
}
