//! What the documents name is there: tests, files, and headings in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::read;

#[test]
fn every_test_that_reliability_names_exists() {
    let page = read(&root().join("docs/reliability.md"));
    let named = tests_named(&page);
    assert!(named.len() > 100, "the names were not found: {}", named.len());
    let lost: Vec<_> = named.into_iter().filter(|name| !is_there(name)).collect();
    assert!(lost.is_empty(), "docs/reliability.md names tests that are not there: {lost:#?}");
}

#[test]
fn every_link_leads_somewhere() {
    let mut documents = documents_below(&root().join("docs"));
    documents.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name)));
    let (mut seen, mut lost) = (0, Vec::new());
    for document in documents {
        for link in links(&read(&document)) {
            seen += 1;
            if !leads_somewhere(&document, &link) {
                lost.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(seen > 100, "the links were not found: {seen}");
    assert!(lost.is_empty(), "these lead nowhere:\n{}", lost.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents_below(folder: &Path) -> Vec<PathBuf> {
    let mut documents = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            documents.extend(documents_below(&path));
        } else if path.extension().is_some_and(|ending| ending == "md") {
            documents.push(path);
        }
    }
    documents
}

/// Whatever is written as the path of a test.
fn tests_named(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|name| name.contains("::") && name.contains('/')).collect()
}

/// Names are below `tests/`, or whole paths; what comes behind the file is the test, and modules in the file.
fn is_there(name: &str) -> bool {
    let (place, inside) = name.split_once("::").unwrap_or((name, ""));
    let test = format!("fn {}(", inside.rsplit("::").next().unwrap_or(inside));
    let folder =
        if place.starts_with("src/") { root().join(place) } else { root().join("tests").join(place) };
    let files = [folder.with_extension("rs"), folder.join("mod.rs")];
    files.iter().any(|file| file.is_file() && read(file).contains(&test))
}

/// The lines of a document that are no example.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_example = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_example ^= is_fence;
        !is_example && !is_fence
    })
}

/// Where the links of a document lead that stay in the repository.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in prose(text) {
        // What is between backticks is shown, not linked.
        let line: String = line.split('`').step_by(2).collect();
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        links.extend(targets.filter(|target| !target.contains(':')).map(str::to_owned));
    }
    links
}

fn leads_somewhere(document: &Path, link: &str) -> bool {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let folder = document.parent().expect("a document in a folder");
    let target = if path.is_empty() { document.to_owned() } else { folder.join(path) };
    target.exists() && (anchor.is_empty() || (target.is_file() && has_heading(&read(&target), anchor)))
}

fn has_heading(text: &str, anchor: &str) -> bool {
    prose(text).filter(|line| line.starts_with('#')).any(|line| anchor_of(line) == anchor)
}

/// The anchor that a heading gets where the documents are shown: what is no letter is left out, and spaces are dashes.
fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

// --- the watchman is watched

#[test]
fn what_leads_nowhere_is_found() {
    let readme = root().join("README.md");
    assert!(leads_somewhere(&readme, "docs/reliability.md#the-ledger"));
    assert!(!leads_somewhere(&readme, "docs/reliability.md#the-lodger"));
    assert!(!leads_somewhere(&readme, "docs/nowhere.md"));
    assert_eq!(anchor_of("## By `other` means: a, b"), "by-other-means-a-b");
    assert_eq!(links("[a](b.md#c) `[d](e)` [f](https://g)\n```\n[h](i)\n```\n[j](#k)"), ["b.md#c", "#k"]);
}

#[test]
fn a_test_that_is_not_there_is_found() {
    let named = tests_named("| `http/clock::a` | `x` and `src/y/tests::b::c`, `faults` |");
    assert_eq!(named, BTreeSet::from(["http/clock::a", "src/y/tests::b::c"]));
    assert!(!is_there("http/clock::nothing_of_the_kind"));
}
