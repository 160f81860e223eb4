//! Libraries in C that stand between the program and the system, when the test wants to see or to spoil what it asks for.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles `tests/faults/<name>.c` into this folder, for `LD_PRELOAD`.
pub fn library(folder: &Path, name: &str) -> PathBuf {
    let library = folder.join(name).with_extension("so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults").join(name).with_extension("c");
    let compiler = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    assert!(compiler.expect("a C compiler, which the build needs as well").success());
    library
}
