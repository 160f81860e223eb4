//! What must hold of letters that staff write: see `src/fuzzing.rs`.

use super::html::{as_text, cleaned, of_text};

/// What is clean stays as it is; text comes through HTML word by word.
pub(crate) fn html(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let clean = cleaned(text);
    assert_eq!(cleaned(&clean), clean, "of {text:?}");
    for tag in ["<script", "<style", "<iframe", "<img", "<form", "<object", "<svg", "<math"] {
        assert!(!outside_quotes(&clean).contains(tag), "{clean}");
    }
    // Each link is shown once more.
    assert!(as_text(&clean).len() <= 2 * clean.len() + 1, "{clean}");
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&as_text(&of_text(text))), words(text));
}

/// Without the values of attributes, where nothing is a tag.
fn outside_quotes(html: &str) -> String {
    let mut is_value = false;
    let mut in_tag = false;
    let outside = html.chars().filter(|c| {
        match c {
            '"' if in_tag => is_value = !is_value,
            '<' if !is_value => in_tag = true,
            '>' if !is_value => in_tag = false,
            _ => {}
        }
        !is_value
    });
    outside.collect()
}
