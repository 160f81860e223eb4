//! The image is built from what `.dockerignore` lets in, and nothing else.
//!
//! Cargo refuses a manifest that names a bench, a program or a test whose file is not there, though it builds none of them
//! then; and sources take in files from elsewhere. Nothing is built here: what they name is compared with what is let in.

use std::path::{Component, Path, PathBuf};

use toml::{Table, Value};

use super::{files_below, read};

#[test]
fn the_image_is_built_from_all_that_it_needs() {
    let ignored = read(&root().join(".dockerignore"));
    let entries = let_in(&ignored);
    let mut needed = targets(&manifest(), &["bench", "bin", "test", "example"]);
    for file in ["src", "migrations"].into_iter().flat_map(|folder| files_below(&root().join(folder))) {
        needed.extend(taken_in(file.strip_prefix(root()).expect("a file of ours"), &read(&file)));
    }
    assert!(needed.iter().any(|path| path.starts_with("static")), "no source takes in anything: {needed:?}");
    let dockerfile = read(&root().join("Dockerfile"));
    let scripts = dockerfile.split_whitespace().filter(|word| word.starts_with("scripts/"));
    needed.extend(scripts.map(PathBuf::from));
    needed.retain(|path| !entries.iter().any(|entry| path.starts_with(entry)));
    assert!(needed.is_empty(), ".dockerignore keeps these out of the image's build: {needed:?}");
}

#[test]
fn the_layer_of_dependencies_has_a_dummy_of_each_bench() {
    let dockerfile = read(&root().join("Dockerfile"));
    let (layer, _) = dockerfile.split_once("\nCOPY . .\n").expect("the sources come after the dependencies");
    let mut benches = targets(&manifest(), &["bench"]);
    benches.retain(|bench| !layer.split_whitespace().any(|word| Path::new(word) == bench));
    assert!(benches.is_empty(), "the Dockerfile's first layer must make these, too: {benches:?}");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn manifest() -> Table {
    read(&root().join("Cargo.toml")).parse().expect("a manifest")
}

/// What `.dockerignore` lets in again, after it has kept out everything.
fn let_in(ignored: &str) -> Vec<&str> {
    ignored.lines().filter_map(|line| line.strip_prefix('!')).collect()
}

/// The files of the targets of these kinds that the manifest names.
fn targets(manifest: &Table, kinds: &[&str]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for kind in kinds {
        for target in manifest.get(*kind).and_then(Value::as_array).into_iter().flatten() {
            let text = |key: &str| target.get(key).and_then(Value::as_str);
            let name = text("name").expect("a target's name");
            let folder = match *kind {
                "bench" => "benches",
                "bin" => "src/bin",
                "test" => "tests",
                _ => "examples",
            };
            files.push(text("path").map_or_else(|| format!("{folder}/{name}.rs").into(), PathBuf::from));
        }
    }
    files
}

/// The files, or folders of files, that a source takes in by `include_str!` and `include_bytes!`. Its tests are no part of
/// the image, and what the build itself has made needs not be let in.
fn taken_in(file: &Path, source: &str) -> Vec<PathBuf> {
    let built = source.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut found = Vec::new();
    for call in ["include_str!(", "include_bytes!("].into_iter().flat_map(|name| built.split(name).skip(1)) {
        let named = call.trim_start().trim_start_matches("concat!(").trim_start();
        if let Some(literal) = named.strip_prefix('"').and_then(|named| named.split('"').next()) {
            found.push(resolved(&file.with_file_name(literal)));
        }
    }
    found
}

/// The path without `..`.
fn resolved(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut whole, part| {
        if part == Component::ParentDir {
            whole.pop();
        } else {
            whole.push(part);
        }
        whole
    })
}

// --- the watchman is watched

#[test]
fn every_way_to_take_a_file_in_is_seen() {
    let of = |source| taken_in(Path::new("src/mail/x.rs"), source);
    assert_eq!(of(r#"include_str!("../../README.md")"#), [Path::new("README.md")]);
    assert_eq!(of("include_bytes!(\n    \"y.png\")"), [Path::new("src/mail/y.png")]);
    assert_eq!(of(r#"include_str!(concat!("../../docs/", $name))"#), [Path::new("docs")]);
    assert!(of(r#"include_bytes!(concat!(env!("OUT_DIR"), "/", $name))"#).is_empty());
    assert!(of("#[cfg(test)]\nmod tests { include_str!(\"x\") }").is_empty());
}

#[test]
fn every_target_is_seen() {
    let manifest: Table =
        "[[bench]]\nname = \"a\"\n[[test]]\nname = \"b\"\npath = \"c/d.rs\"".parse().expect("TOML");
    assert_eq!(targets(&manifest, &["bench", "test"]), [Path::new("benches/a.rs"), Path::new("c/d.rs")]);
    assert_eq!(let_in("# All but\n*\n!src\n!benches/a.rs\n"), ["src", "benches/a.rs"]);
}
