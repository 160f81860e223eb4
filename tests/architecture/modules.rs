//! Every source file is compiled: a file of tests that no module names looks as if it were run.

use std::path::Path;

use super::{files_below, read};

#[test]
fn every_source_file_is_a_module_of_something() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files: Vec<_> =
        ["src", "tests"].into_iter().flat_map(|folder| files_below(&root.join(folder))).collect();
    let sources: Vec<String> = files.iter().map(|file| read(file)).collect();
    // A few files stand elsewhere than their module does.
    let is_named = |file: &Path| {
        let end = format!("/{}\"]", file.file_name().unwrap_or_default().display());
        sources
            .iter()
            .flat_map(|source| source.lines())
            .any(|line| line.starts_with("#[path = ") && line.ends_with(&end))
    };
    let lost: Vec<_> =
        files.iter().filter(|file| !is_root(root, file) && !is_declared(file) && !is_named(file)).collect();
    assert!(files.len() > 100, "the sources were not found");
    assert!(lost.is_empty(), "no module declares these, so they are not compiled: {lost:?}");
}

/// What cargo itself compiles: programs, the library, and the test programs.
fn is_root(root: &Path, file: &Path) -> bool {
    let place = file.strip_prefix(root).unwrap_or(file);
    file.ends_with("main.rs")
        || place == Path::new("src/lib.rs")
        || place.parent() == Some(Path::new("tests"))
}

/// Whether the module that the file belongs to says `mod name;`.
fn is_declared(file: &Path) -> bool {
    let Some(mut folder) = file.parent() else { return false };
    let mut name = file.file_stem();
    if name.is_some_and(|name| name == "mod") {
        name = folder.file_name();
        folder = folder.parent().unwrap_or(folder);
    }
    let declaration = format!("mod {};", name.unwrap_or_default().display());
    let parents =
        [folder.join("mod.rs"), folder.join("lib.rs"), folder.join("main.rs"), folder.with_extension("rs")];
    let says_so = |parent: &Path| {
        parent.is_file()
            && read(parent).lines().any(|line| {
                line.split("//").next().is_some_and(|line| line.trim_end().ends_with(&declaration))
            })
    };
    parents.iter().any(|parent| says_so(parent))
}
