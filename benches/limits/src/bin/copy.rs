//! The limit of an upload: a file that is read, hashed (SHA-256), written, brought to the disk and named, on one core.
//! `copy FILE FOLDER SECONDS`

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};

const PIECE: usize = 64 * 1024;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or_else(|| anyhow::anyhow!("copy FILE FOLDER SECONDS"));
    let (file, folder, seconds) = (next()?, next()?, next()?.parse()?);
    let (start, mut done) = (Instant::now(), 0_u32);
    while start.elapsed() < Duration::from_secs(seconds) {
        copy(Path::new(&file), Path::new(&folder))?;
        done += 1;
    }
    let per_second = f64::from(done) / start.elapsed().as_secs_f64();
    println!("{}", serde_json::json!({ "per_second": per_second }));
    Ok(())
}

fn copy(file: &Path, folder: &Path) -> anyhow::Result<()> {
    let (waiting, named) = (folder.join("waiting"), folder.join("named"));
    let (mut from, mut to) = (File::open(file)?, File::create(&waiting)?);
    let (mut piece, mut hash) = (vec![0; PIECE], Context::new(&SHA256));
    loop {
        let read = from.read(&mut piece)?;
        if read == 0 {
            break;
        }
        hash.update(&piece[..read]);
        to.write_all(&piece[..read])?;
    }
    to.sync_all()?;
    fs::rename(&waiting, &named)?;
    File::open(folder)?.sync_all()?;
    std::hint::black_box(hash.finish());
    fs::remove_file(&named)?;
    Ok(())
}
