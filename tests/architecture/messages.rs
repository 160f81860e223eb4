//! Every mistake of the configuration that ends a start has its entry in docs/operations.md.
//!
//! What a mistake says is read from the sources: the text in a call that makes one, or, where the words were put into a
//! variable before, the text of the function up to the call. A heading of the chapter must hold all that is always the same
//! in it, in its order; what changes is `…` there.

use std::ops::Range;
use std::path::Path;

use super::{files_below, read, skipped, word_length};

/// The chapter of the entries.
const CHAPTER: &str = "\n## When it does not start\n";
/// A file whose mistakes are worded in another one.
const WORDED_ELSEWHERE: (&str, &str) = ("tokens.rs", "secret_key.rs");

#[test]
fn every_mistake_of_the_configuration_has_its_entry() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = entries(&read(&root.join("docs/operations.md")));
    assert!(entries.len() > 20, "the entries were not found: {entries:#?}");
    let (mut seen, mut lost) = (0, Vec::new());
    let folder = root.join("src/platform/config");
    for file in files_below(&folder) {
        let name = file.strip_prefix(&folder).unwrap_or(&file).to_string_lossy().into_owned();
        if name.starts_with("tests") {
            continue;
        }
        for (line, message) in mistakes(&name, &read(&file)) {
            seen += 1;
            let pieces = pieces(&message);
            if pieces.is_empty() || !entries.iter().any(|entry| tells(entry, &pieces)) {
                lost.push(format!("src/platform/config/{name}:{line}: {message:?}"));
            }
        }
    }
    assert!(seen > 20, "the mistakes were not found: {seen}");
    assert!(lost.is_empty(), "no heading under{CHAPTER}of docs/operations.md says:\n{}", lost.join("\n"));
}

/// The headings of the chapter, as they are read. One may name several messages.
fn entries(page: &str) -> Vec<String> {
    let chapter = page.split(CHAPTER).nth(1).and_then(|behind| behind.split("\n## ").next());
    let headings = chapter.unwrap_or_default().lines().filter_map(|line| line.strip_prefix("### "));
    headings.flat_map(|heading| heading.split(" · ")).map(|entry| entry.replace('`', "")).collect()
}

fn tells(entry: &str, pieces: &[String]) -> bool {
    let mut rest = entry;
    pieces.iter().all(|piece| {
        let behind = rest.split_once(piece.as_str()).map(|(_, behind)| behind);
        rest = behind.unwrap_or_default();
        behind.is_some()
    })
}

/// What is always the same in a message, without the signs before each piece and the parenthesis that opens behind it.
fn pieces(message: &str) -> Vec<String> {
    let behind_holes = message.split('{').map(|part| part.split_once('}').map_or(part, |(_, behind)| behind));
    let words = behind_holes.map(|part| part.replace('`', ""));
    let words = words.map(|part| {
        let part = part.trim_start_matches(|c: char| !c.is_alphanumeric());
        part.trim_end_matches([' ', '(']).to_owned()
    });
    words.filter(|part| !part.is_empty()).collect()
}

/// Whether a text says something, and is no name.
fn is_said(text: &str) -> bool {
    pieces(text).iter().any(|piece| piece.contains(' '))
}

/// The mistakes that a file makes, each with its line. One that can't be read is empty.
fn mistakes(name: &str, source: &str) -> Vec<(usize, String)> {
    let source = Source::read(source);
    if name == WORDED_ELSEWHERE.1 {
        return source.said_in(&(0..source.code.len()));
    }
    let call = if name == "mistake.rs" { "Self::new(" } else { "Mistake::new(" };
    let mut mistakes = Vec::new();
    for place in source.calls(call) {
        let before = source.code[..place.start].rfind("fn ").unwrap_or(0)..place.start;
        let in_call: Vec<_> = source.within(&place).filter(|(_, text)| !pieces(text).is_empty()).collect();
        match source.said_in(&before) {
            _ if !in_call.is_empty() => mistakes.extend(source.with_lines(in_call)),
            said if !said.is_empty() => mistakes.extend(said),
            _ if name == WORDED_ELSEWHERE.0 => {}
            _ => mistakes.push((source.line(place.start), String::new())),
        }
    }
    mistakes
}

/// A source without its tests, code and text apart: text and comments are spaces in the code, so that places are the same.
struct Source<'a> {
    whole: &'a str,
    code: String,
    texts: Vec<(usize, &'a str)>,
}

impl<'a> Source<'a> {
    fn read(source: &'a str) -> Self {
        let whole = source.split("#[cfg(test)]").next().unwrap_or(source);
        let (mut code, mut texts, mut rest) = (String::new(), Vec::new(), whole);
        while !rest.is_empty() {
            let skipped = skipped(rest);
            let (passed, after) = rest.split_at(skipped.unwrap_or_else(|| word_length(rest)));
            if let Some(text) = passed.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
                texts.push((code.len(), text));
            }
            match skipped {
                Some(length) => code.extend(std::iter::repeat_n(' ', length)),
                None => code.push_str(passed),
            }
            rest = after;
        }
        Self { whole, code, texts }
    }

    fn line(&self, place: usize) -> usize {
        self.whole[..place].matches('\n').count() + 1
    }

    /// Where the arguments of each call stand.
    fn calls(&self, call: &str) -> Vec<Range<usize>> {
        let begins = self.code.match_indices(call).map(|(at, call)| at + call.len());
        begins.map(|begin| begin..self.closing(begin)).collect()
    }

    /// Where the parenthesis ends that was opened just before.
    fn closing(&self, begin: usize) -> usize {
        let mut open = 1;
        for (at, c) in self.code[begin..].char_indices() {
            match c {
                '(' => open += 1,
                ')' => open -= 1,
                _ => {}
            }
            if open == 0 {
                return begin + at;
            }
        }
        self.code.len()
    }

    fn within(&self, place: &Range<usize>) -> impl Iterator<Item = (usize, &'a str)> {
        self.texts.iter().copied().filter(move |(at, _)| place.contains(at))
    }

    /// What is said there but for warnings, and what a value must be: that has an entry for all settings together.
    fn said_in(&self, place: &Range<usize>) -> Vec<(usize, String)> {
        let other = [".warn(", ".refuse("].map(|call| self.calls(call)).concat();
        let is_ours = |at: &usize| !other.iter().any(|call| call.contains(at));
        let said = self.within(place).filter(|(at, text)| is_said(text) && is_ours(at)).collect();
        self.with_lines(said)
    }

    fn with_lines(&self, texts: Vec<(usize, &str)>) -> Vec<(usize, String)> {
        texts.into_iter().map(|(at, text)| (self.line(at), text.to_owned())).collect()
    }
}

// --- the watchman is watched

#[test]
fn what_a_mistake_says_is_read_from_its_call_or_from_before_it() {
    let source = r#"
fn unknown() { Mistake::new(format!("{name} ({origin}) is no setting: {hint}")) }
fn other() { let words = "is never told"; }
fn parts() { reader.warn(format!("{} is ) odd", a)); let b = ["ONE_NAME", ", "];
    let words = match c { 1 => format!("{b} must be set"), _ => "all must be set" }; // "not this"
    Mistake::new(words) }
fn silent() { Mistake::new(why) }
#[cfg(test)]
mod tests { fn a() { Mistake::new("of a test"); } }
"#;
    let said = |line: usize, text: &str| (line, text.to_owned());
    let expected = [
        said(2, "{name} ({origin}) is no setting: {hint}"),
        said(5, "{b} must be set"),
        said(5, "all must be set"),
        said(7, ""),
    ];
    assert_eq!(mistakes("any.rs", source), expected);
    assert_eq!(mistakes("tokens.rs", source), expected[..3], "that is worded elsewhere");
}

#[test]
fn a_heading_holds_all_that_is_always_the_same() {
    let page = "# A\n### `not this`\n## When it does not start\n\n### `… is set twice (…): keep one` · ``A is `…` ``\n\
                ## B\n### `nor this`\n";
    let entries = entries(page);
    assert_eq!(entries, ["… is set twice (…): keep one", "A is … "]);
    let twice = pieces("{} is set twice ({origin}): keep one");
    assert_eq!(twice, ["is set twice", "keep one"]);
    assert!(tells(&entries[0], &twice) && !tells(&entries[1], &twice));
    assert!(!tells("… is set twice", &twice) && !tells("keep one, as … is set twice", &twice));
}
