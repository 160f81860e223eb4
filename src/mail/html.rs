//! HTML that admins write, made harmless; and the way between HTML and text.

use std::collections::HashSet;

use ammonia::{Builder, UrlRelative};

/// Without scripts, forms, frames, styles, pictures and events; links lead to the web or to a mail program.
pub(super) fn cleaned(html: &str) -> String {
    let mut builder = Builder::default();
    builder
        .rm_tags(["img", "map", "area"])
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .url_relative(UrlRelative::Deny);
    builder.clean(html).to_string()
}

/// Plain text as HTML that looks the same.
pub(super) fn of_text(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + text.len() / 8);
    for paragraph in text.replace("\r\n", "\n").split("\n\n").filter(|paragraph| !paragraph.trim().is_empty())
    {
        html.push_str("<p>");
        html.push_str(&escaped(paragraph.trim_matches('\n')).replace('\n', "<br>\n"));
        html.push_str("</p>\n");
    }
    html
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Cleaned HTML as text: blocks become lines, links show where they lead. It understands what [`cleaned`] writes:
/// every tag closed, every attribute in double quotes.
pub(super) fn as_text(html: &str) -> String {
    let (mut text, mut rest) = (String::with_capacity(html.len()), html);
    let mut link: Option<String> = None;
    while let Some(start) = rest.find('<') {
        push_words(&mut text, &rest[..start]);
        let Some(length) = tag_length(&rest[start..]) else { break };
        let tag = &rest[start + 1..start + length - 1];
        rest = &rest[start + length..];
        match name_of(tag) {
            "a" => link = href_of(tag),
            "/a" => {
                if let Some(link) = link.take().filter(|link| !text.ends_with(link.as_str())) {
                    text.push_str(" (");
                    text.push_str(&link);
                    text.push(')');
                }
            }
            "li" => start_line(&mut text, "- "),
            "br" | "br/" => text.push('\n'),
            "/li" | "/div" | "/tr" | "tr" | "div" => start_line(&mut text, ""),
            "p" | "/p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "/h1" | "/h2" | "/h3" | "/h4" | "/h5"
            | "/h6" | "ul" | "/ul" | "ol" | "/ol" | "blockquote" | "/blockquote" | "pre" | "/pre"
            | "table" | "/table" | "hr" => start_line(&mut text, "\n"),
            _ => {}
        }
    }
    push_words(&mut text, rest);
    tidy(&text)
}

/// The length of the tag that `html` begins with: up to the first `>` outside quotes.
fn tag_length(html: &str) -> Option<usize> {
    let mut quoted = false;
    let end = html.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b'>' && !quoted
    });
    end.map(|end| end + 1)
}

fn name_of(tag: &str) -> &str {
    tag.split([' ', '\n', '\t']).next().unwrap_or_default()
}

fn href_of(tag: &str) -> Option<String> {
    let (_, value) = tag.split_once("href=\"")?;
    let (link, _) = value.split_once('"')?;
    Some(unescaped(link.strip_prefix("mailto:").unwrap_or(link)))
}

/// Text between tags, its white space folded as a browser does.
fn push_words(text: &mut String, words: &str) {
    let words = unescaped(words);
    let begins_apart = words.starts_with(char::is_whitespace);
    let mut first = true;
    for word in words.split_whitespace() {
        if (begins_apart || !first) && !text.is_empty() && !text.ends_with([' ', '\n']) {
            text.push(' ');
        }
        text.push_str(word);
        first = false;
    }
    if !first && words.ends_with(char::is_whitespace) {
        text.push(' ');
    }
}

fn start_line(text: &mut String, with: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(with);
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&nbsp;", " ")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

/// No spaces at the ends of lines, never more than one empty line, one line end at the end.
pub(super) fn tidy(text: &str) -> String {
    let (mut tidy, mut empty) = (String::with_capacity(text.len()), 0);
    for line in text.lines().map(str::trim_end) {
        empty = if line.is_empty() { empty + 1 } else { 0 };
        if empty < 2 && !(tidy.is_empty() && line.is_empty()) {
            tidy.push_str(line);
            tidy.push('\n');
        }
    }
    let end = tidy.trim_end_matches('\n').len();
    tidy.truncate(end);
    tidy.push('\n');
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_of_an_admin_loses_what_could_do_harm_and_keeps_what_it_says() {
        let clean = cleaned(
            "<h1 onclick=\"x()\">Hi</h1><script>alert(1)</script><img src=x onerror=alert(1)>\
             <a href=\"javascript:alert(1)\">bad</a> <a href=\"https://example.com/?a=1&amp;b=2\">good</a>\
             <form action=\"https://evil.test\"><input name=password></form><iframe src=\"//evil.test\"></iframe>\
             <p style=\"position:fixed\">{{ 7*7 }}</p><base href=\"https://evil.test/\"><a href=\"/relative\">r</a>",
        );
        for gone in [
            "script",
            "onclick",
            "onerror",
            "javascript",
            "<form",
            "<input",
            "iframe",
            "style",
            "<base",
            "<img",
        ] {
            assert!(!clean.contains(gone), "{gone}: {clean}");
        }
        for kept in ["<h1>Hi</h1>", "https://example.com/?a=1&amp;b=2", "{{ 7*7 }}"] {
            assert!(clean.contains(kept), "{kept}: {clean}");
        }
        assert!(!clean.contains("/relative"), "{clean}");
    }

    #[test]
    fn html_becomes_text_that_can_be_read() {
        let clean = cleaned(
            "<h1>Hello &amp; welcome</h1><p>One <b>two</b>,<br>three.</p><ul><li>a</li><li>b</li></ul>\
             <p>See <a href=\"https://example.com/?a=1&amp;b=2\">the page</a> &lt;now&gt;.</p>",
        );
        assert_eq!(
            as_text(&clean),
            "Hello & welcome\n\nOne two,\nthree.\n\n- a\n- b\n\nSee the page (https://example.com/?a=1&b=2) <now>.\n"
        );
    }

    #[test]
    fn text_becomes_html_that_says_the_same() {
        assert_eq!(of_text("a <b>\r\nc\n\n{{ d }}\n"), "<p>a &lt;b&gt;<br>\nc</p>\n<p>{{ d }}</p>\n");
    }
}
