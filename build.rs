//! Compresses the scripts and styles of the pages. Those of the documentation are most of what the program carries besides
//! itself, nearly every browser wants them compressed, and so they need not be compressed while it waits.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// The folders of `static/` whose scripts and styles are compressed.
const FOLDERS: [&str; 5] = [".", "docs", "js", "redoc", "swagger-ui"];

/// What ReDoc asks its maker's server for, whoever looks at the page: the content policy does not let it, and says so in
/// the browser's log. It hides a picture that is none.
const FOREIGN_LOGO: &str = "https://cdn.redoc.ly/redoc/logo-mini.svg";
const NO_LOGO: &str = "data:,";

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script where to write by the environment alone"
)]
fn main() -> io::Result<()> {
    let out = std::env::var_os("OUT_DIR").map(PathBuf::from).ok_or(io::ErrorKind::NotFound)?;
    for folder in FOLDERS.map(|folder| Path::new("static").join(folder)) {
        println!("cargo::rerun-if-changed={}", folder.display());
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|kind| kind == "js" || kind == "css") {
                compress(&path, &out)?;
            }
        }
    }
    Ok(())
}

fn compress(path: &Path, out: &Path) -> io::Result<()> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
    let mut packed = GzEncoder::new(File::create(out.join(format!("{name}.gz")))?, Compression::best());
    let text = fs::read_to_string(path)?;
    packed.write_all(text.replace(FOREIGN_LOGO, NO_LOGO).as_bytes())?;
    packed.finish().map(drop)
}
