//! A feature looks only at those before it.
//!
//! The order is that of the modules in `src/lib.rs`. Each source file is read as a row of words, without comments and
//! text, and every path that starts at the crate's root, by `crate::` or by enough `super::`, must lead to the module
//! that the file is in or to one above it in the map. `migrations` stands first and therefore knows nobody.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that can't read the source has failed")]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "architecture/deploy.rs"]
mod deploy;
#[path = "architecture/documents.rs"]
mod documents;
#[path = "architecture/image.rs"]
mod image;
#[path = "architecture/messages.rs"]
mod messages;
#[path = "architecture/modules.rs"]
mod modules;
#[path = "architecture/routes.rs"]
mod routes;

#[test]
fn no_feature_looks_forward() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let order = order_of(&read(&root.join("src/lib.rs")));
    assert!(order.iter().any(|name| name == "platform"), "src/lib.rs no longer names its modules: {order:?}");
    let mut wrong = Vec::new();
    for (place, module) in order.iter().enumerate() {
        for file in files_of(root, module) {
            let source = read(&file);
            for (line, later) in looks_forward(&source, depth_of(root, module, &file), &order[place + 1..]) {
                let file = file.strip_prefix(root).unwrap_or(&file).display();
                wrong.push(format!("{file}:{line}: `{module}` stands before `{later}` in src/lib.rs"));
            }
        }
    }
    assert!(wrong.is_empty(), "these look forward:\n{}", wrong.join("\n"));
}

/// The places in `source` that name one of the modules that come `later`.
fn looks_forward(source: &str, depth: usize, later: &[String]) -> Vec<(usize, String)> {
    paths_from_root(source, depth).into_iter().filter(|(_, name)| later.contains(name)).collect()
}

/// The modules named in the map, in its order.
fn order_of(map: &str) -> Vec<String> {
    let words = words(map);
    let declared = words.windows(3).filter(|three| three[0].text == "mod" && three[2].text == ";");
    declared.map(|three| three[1].text.clone()).collect()
}

/// `src/x.rs` and all that lies under `src/x/`; the migrations have a folder of their own beside `src`.
fn files_of(root: &Path, module: &str) -> Vec<PathBuf> {
    let folder = folder_of(root, module);
    let mut files = files_below(&folder);
    files.extend(Some(folder.with_extension("rs")).filter(|single| single.is_file()));
    assert!(!files.is_empty(), "src/lib.rs names `{module}`, but there is no file of it");
    files
}

/// The source files in a folder, however deep.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

fn folder_of(root: &Path, module: &str) -> PathBuf {
    if module == "migrations" { root.join(module) } else { root.join("src").join(module) }
}

/// How many `super::` lead from the file's top level to the crate's root.
fn depth_of(root: &Path, module: &str, file: &Path) -> usize {
    let inside = file.strip_prefix(folder_of(root, module)).map_or(0, |inside| inside.components().count());
    if file.file_name().is_some_and(|name| name == "mod.rs") { inside } else { inside + 1 }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

// --- paths

/// The first name of each path that starts at the crate's root, with its line.
fn paths_from_root(source: &str, depth: usize) -> Vec<(usize, String)> {
    let words = words(source);
    let mut paths = Vec::new();
    // For each open brace: whether it is the body of an inline module, which is one `super::` further down.
    let mut braces: Vec<bool> = Vec::new();
    for at in 0..words.len() {
        match words[at].text.as_str() {
            "{" => braces.push(at >= 2 && words[at - 2].text == "mod"),
            "}" => drop(braces.pop()),
            "crate" => paths.extend(names_after(&words, at + 1)),
            "super" if at == 0 || words[at - 1].text != "::" => {
                let ups = words[at..].chunks(2).take_while(|pair| pair[0].text == "super").count();
                if ups == depth + braces.iter().filter(|inline| **inline).count() {
                    paths.extend(names_after(&words, at + 2 * ups - 1));
                }
            }
            _ => {}
        }
    }
    paths
}

/// The names that a `::` at `at` leads to: one, or each of a group in braces.
fn names_after(words: &[Word], at: usize) -> Vec<(usize, String)> {
    let text = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
    if text(at) != "::" {
        return Vec::new();
    }
    if text(at + 1) != "{" {
        return words.get(at + 1).map(|word| (word.line, word.text.clone())).into_iter().collect();
    }
    let mut names = Vec::new();
    let mut open = 0;
    for pair in words[at..].windows(2) {
        match pair[1].text.as_str() {
            "{" => open += 1,
            "}" => open -= 1,
            name if open == 1 && matches!(pair[0].text.as_str(), "{" | ",") => {
                names.push((pair[1].line, name.to_owned()));
            }
            _ => {}
        }
        if open == 0 {
            break;
        }
    }
    names
}

// --- words

/// An identifier, `::`, or one other character.
struct Word {
    line: usize,
    text: String,
}

/// The source without comments, text and space.
fn words(source: &str) -> Vec<Word> {
    let (mut words, mut rest, mut line) = (Vec::new(), source, 1);
    while let Some(first) = rest.chars().next() {
        let skipped = skipped(rest);
        let (passed, after) = rest.split_at(skipped.unwrap_or_else(|| word_length(rest)));
        if skipped.is_none() && !first.is_whitespace() {
            words.push(Word { line, text: passed.to_owned() });
        }
        line += passed.matches('\n').count();
        rest = after;
    }
    words
}

fn word_length(rest: &str) -> usize {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    match rest.find(|c| !is_name(c)).unwrap_or(rest.len()) {
        0 if rest.starts_with("::") => 2,
        0 => rest.chars().next().map_or(0, char::len_utf8),
        length => length,
    }
}

/// The length of the comment or literal that `rest` starts with.
fn skipped(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    let (prefix, literal) = rest.split_at(rest.find(|c| !matches!(c, 'b' | 'c' | 'r')).unwrap_or(0));
    match prefix {
        "" | "b" | "c" if literal.starts_with('"') => Some(prefix.len() + quoted(literal, '"')),
        "" | "b" if literal.starts_with('\'') => character(literal).map(|length| prefix.len() + length),
        "r" | "br" | "cr" => raw(literal).map(|length| prefix.len() + length),
        _ => None,
    }
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut open = 0;
    for (at, two) in rest.as_bytes().windows(2).enumerate() {
        match two {
            b"/*" => open += 1,
            b"*/" => open -= 1,
            _ => {}
        }
        if open == 0 {
            return at + 2;
        }
    }
    rest.len()
}

fn quoted(literal: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in literal.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    literal.len()
}

/// `'x'` and `'\n'`, but not the lifetime `'x`, of which only the quote is passed over.
fn character(literal: &str) -> Option<usize> {
    let mut chars = literal.chars().skip(1);
    let first = chars.next()?;
    if first == '\\' || chars.next() == Some('\'') { Some(quoted(literal, '\'')) } else { Some(1) }
}

/// What follows the `r`; `None` when that was the start of a raw identifier.
fn raw(literal: &str) -> Option<usize> {
    let hashes = literal.find(|c| c != '#')?;
    let end = format!("\"{}", &literal[..hashes]);
    let text = literal[hashes..].strip_prefix('"')?;
    Some(hashes + 1 + text.find(&end).map_or(text.len(), |at| at + end.len()))
}

// --- the watchman is watched

fn seen(source: &str, depth: usize) -> Vec<String> {
    paths_from_root(source, depth).into_iter().map(|(_, name)| name).collect()
}

#[test]
fn the_order_is_read_from_the_map() {
    let map = "//! pub mod not_this;\npub mod platform; // pub mod nor_this;\n#[path = \"x.rs\"]\nmod users;\nmod inline {}";
    assert_eq!(order_of(map), ["platform", "users"]);
}

#[test]
fn a_look_forward_is_found_and_a_look_back_is_not() {
    let order = order_of("pub mod platform; pub mod users; pub mod auth;");
    let source = "use crate::platform::clock::Clock;\nuse crate::auth::Door;\nuse crate::users::User;";
    assert_eq!(looks_forward(source, 1, &order[2..]), [(2, "auth".to_owned())]);
    assert!(looks_forward(source, 1, &order[3..]).is_empty());
}

#[test]
fn every_way_to_name_a_module_is_seen() {
    assert_eq!(seen("use crate::auth::login;", 1), ["auth"]);
    assert_eq!(seen("use crate::{users, auth::{self, door}, pages as p};", 1), ["users", "auth", "pages"]);
    assert_eq!(seen("fn f() -> crate::auth::Door { crate :: admin :: g() }", 1), ["auth", "admin"]);
    assert_eq!(seen("pub(in crate::users) fn f() {}", 1), ["users"]);
    assert_eq!(seen("use super::auth;", 1), ["auth"]);
    assert_eq!(seen("use super::super::{auth, pages};", 2), ["auth", "pages"]);
    assert_eq!(seen("mod tests { use super::super::auth; }", 1), ["auth"]);
    assert_eq!(paths_from_root("\n\nuse crate::auth;", 1), [(3, "auth".to_owned())]);
}

#[test]
fn nothing_else_is() {
    assert!(seen("// crate::auth\n/* crate::auth /* */ crate::auth */ //! [`x`](crate::auth)", 1).is_empty());
    assert!(
        seen(r##"let a = "\"crate::auth"; let b = r#"crate::auth"#; let c = '"'; let d = '\'';"##, 1)
            .is_empty()
    );
    assert!(seen("use super::store; mod tests { use super::*; }", 2).is_empty());
    assert!(seen("pub(crate) fn f<'a>(x: &'a str) {} use other::crate_auth;", 1).is_empty());
}

#[test]
fn a_lifetime_does_not_hide_what_follows() {
    assert_eq!(seen("fn f<'a>(x: &'a crate::auth::Door) -> char { 'x' }", 1), ["auth"]);
    assert_eq!(seen("let r#type = crate::auth::kind();", 1), ["auth"]);
}
