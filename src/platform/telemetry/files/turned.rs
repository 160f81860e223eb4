//! Files that were turned over: their names, their packing, and how long they stay.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::{AHEAD, PRESENT, Retention};
use crate::platform::clock::Timestamp;

const BEGINS: &str = "gatehouse-";
const PLAIN: &str = ".log";
const PACKED: &str = ".log.gz";
/// A file that is being packed; what a crash leaves of it is worth nothing.
const UNFINISHED: &str = ".log.gz.part";
const MOMENT: &str = "%Y%m%dT%H%M%S%.3fZ";

/// Turns the present file over: it gets the moment in its name.
pub(super) fn turn(folder: &Path, now: Timestamp) -> io::Result<()> {
    let mut moment = now;
    // Never over another one: two within a millisecond are a millisecond apart.
    while names(folder, moment).iter().any(|name| name.exists()) {
        moment = moment.after(Duration::from_millis(1));
    }
    let [plain, _packed] = names(folder, moment);
    fs::rename(folder.join(PRESENT), plain)
}

fn names(folder: &Path, moment: Timestamp) -> [PathBuf; 2] {
    let moment = DateTime::from_timestamp_millis(moment.millis()).unwrap_or_default().format(MOMENT);
    [PLAIN, PACKED].map(|ending| folder.join(format!("{BEGINS}{moment}{ending}")))
}

/// A file that was turned over.
struct Turned {
    path: PathBuf,
    at: Timestamp,
    bytes: u64,
}

/// Packs what is not packed, and lets go of what need not be kept.
pub(super) fn tidy(folder: &Path, retention: Retention, now: Timestamp) -> io::Result<()> {
    for path in files(folder)? {
        let name = name_of(&path);
        if name.starts_with(BEGINS) && name.ends_with(UNFINISHED) {
            fs::remove_file(&path)?;
        } else if moment_of(name, PLAIN).is_some() {
            pack(&path)?;
        }
    }
    for old in not_kept(newest_first(folder, now)?, retention, now) {
        fs::remove_file(old.path)?;
    }
    Ok(())
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// The moment in the name of a file of ours; nothing else in the folder is touched.
fn moment_of(name: &str, ending: &str) -> Option<Timestamp> {
    let moment = name.strip_prefix(BEGINS)?.strip_suffix(ending)?;
    let moment = NaiveDateTime::parse_from_str(moment, MOMENT).ok()?;
    Some(Timestamp::from_millis(moment.and_utc().timestamp_millis()))
}

fn pack(plain: &Path) -> io::Result<()> {
    let unfinished = plain.with_extension("log.gz.part");
    let out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&unfinished)?;
    let mut packer = GzEncoder::new(out, Compression::default());
    io::copy(&mut File::open(plain)?, &mut packer)?;
    packer.finish()?.sync_all()?;
    fs::rename(&unfinished, plain.with_extension("log.gz"))?;
    fs::remove_file(plain)
}

/// Those from before the clock was set back come last: else they would outlive all that are turned over until it has
/// caught up.
fn newest_first(folder: &Path, now: Timestamp) -> io::Result<Vec<Turned>> {
    let latest = now.after(AHEAD);
    let mut turned = Vec::new();
    for path in files(folder)? {
        let name = name_of(&path);
        if let Some(at) = moment_of(name, PACKED).or_else(|| moment_of(name, PLAIN)) {
            let bytes = fs::metadata(&path)?.len();
            turned.push(Turned { path, at, bytes });
        }
    }
    turned.sort_by_key(|turned| (turned.at > latest, std::cmp::Reverse(turned.at)));
    Ok(turned)
}

fn not_kept(turned: Vec<Turned>, retention: Retention, now: Timestamp) -> Vec<Turned> {
    let mut bytes = 0_u64;
    let keeps = |number: usize, turned: &Turned, bytes: u64| match retention {
        Retention::Age(age) => now.since(turned.at) <= age,
        Retention::Files(most) => number < most,
        Retention::Bytes(most) => bytes <= most,
    };
    let numbered = turned.into_iter().enumerate().filter(|(number, turned)| {
        bytes = bytes.saturating_add(turned.bytes);
        !keeps(*number, turned, bytes)
    });
    numbered.map(|(_, turned)| turned).collect()
}
