//! The page that a person sees instead of a problem document, where there are no pages to take it from.

use crate::platform::problem::Problem;

/// The same words as the document, without script, style or image.
pub(super) fn of_problem(problem: &Problem, trace_id: &str) -> String {
    let title = problem.status.canonical_reason().unwrap_or("Error");
    let mut page = String::with_capacity(512);
    for part in ["<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>", title] {
        page.push_str(part);
    }
    page.push_str("</title><meta name=\"viewport\" content=\"width=device-width\"><h1>");
    page.push_str(title);
    page.push_str("</h1><p>");
    escape(&mut page, &problem.detail);
    page.push_str("</p><p>Trace id: <code>");
    escape(&mut page, trace_id);
    page.push_str("</code></p></html>");
    page
}

/// Text between tags (HTML, 13.3).
fn escape(page: &mut String, text: &str) {
    for char in text.chars() {
        match char {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            plain => page.push(plain),
        }
    }
}
