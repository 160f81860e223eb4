//! What the program asked of the disk, and what a disk may hold of it when the power goes.
//!
//! Only what was synced is sure: the bytes of a file after a sync of the file, its name after a sync of its folder. Of the
//! rest, any part may have arrived, in any order: a write without the one before it, half a write (in sectors of 512 bytes),
//! a name that is gone or that has come back. This is harsher than most disks and file systems are.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::chance::Dice;
use crate::gatehouse::Site;
use crate::preload::library;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// Of the latest steps that were not synced, so many may not arrive although those before them did.
const LATEST: usize = 60;
/// Bytes of a record before its names (`struct head` of `record_disk.c`).
const HEAD: usize = 25;

/// Writes down what one site's program asks of the disk.
pub struct Recorder {
    tools: TempDir,
    root: PathBuf,
}

impl Recorder {
    /// One for this site.
    pub fn of(site: &Site) -> Self {
        Self { tools: tempfile::tempdir().unwrap(), root: site.folder().canonicalize().unwrap() }
    }

    /// The command, recorded.
    pub fn record(&self, mut command: Command) -> Command {
        let library = library(self.tools.path(), "record_disk");
        command.env("LD_PRELOAD", library).env("RECORD_TO", self.file()).env("RECORD_BELOW", &self.root);
        command
    }

    fn file(&self) -> PathBuf {
        self.tools.path().join("record")
    }

    /// How much was asked so far.
    pub fn moment(&self) -> u64 {
        fs::metadata(self.file()).map_or(0, |record| record.len())
    }

    /// A disk on which nothing has arrived yet.
    pub fn play(&self) -> Disk {
        let record = fs::read(self.file()).expect("a record: is the program linked against libc?");
        Disk { record, at: 0, ..Disk::new(self.root.clone()) }
    }
}

/// A disk on which one step after the other arrives.
pub struct Disk {
    root: PathBuf,
    record: Vec<u8>,
    at: usize,
    step: usize,
    files: Vec<Bytes>,
    /// As the program sees them.
    names: HashMap<PathBuf, Node>,
    entries: Vec<Entry>,
    /// Those of them that are not sure.
    unsure: Vec<usize>,
    /// When each thread's sync began.
    begun: HashMap<u32, usize>,
    syncs: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

/// The bytes of a file: those that are sure, and what may have arrived since.
#[derive(Default)]
struct Bytes {
    sure: Vec<u8>,
    since: Vec<(usize, Change)>,
}

enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
}

/// A change of names.
struct Entry {
    step: usize,
    removed: Option<PathBuf>,
    added: Option<(PathBuf, Node)>,
    is_sure: bool,
}

/// What becomes of all that was not synced.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It is lost.
    Lost,
    /// It arrives up to a step: as from a disk that keeps the order.
    Until(usize),
    /// Each part of it arrives or does not.
    Chance,
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Cut(size) => bytes.resize(*size, 0),
            Self::Write(at, written) => {
                let end = at + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*at..end].copy_from_slice(written);
            }
        }
    }

    /// Some of its sectors, if it is a write.
    fn apply_torn(&self, bytes: &mut Vec<u8>, dice: &Dice) {
        let Self::Write(at, written) = self else { return self.apply(bytes) };
        let (mut from, is_cut_short) = (0, dice.below(2) == 0);
        while from < written.len() {
            let to = written.len().min(from + SECTOR - (at + from) % SECTOR);
            let arrives = dice.below(2) == 0;
            if arrives {
                Self::Write(at + from, written[from..to].to_vec()).apply(bytes);
            } else if is_cut_short {
                return;
            }
            from = to;
        }
    }
}

impl Entry {
    fn is_in(&self, folder: &Path) -> bool {
        let parents = [self.removed.as_deref(), self.added.as_ref().map(|(path, _)| path.as_path())];
        parents.into_iter().flatten().any(|path| path.parent() == Some(folder))
    }
}

impl Disk {
    fn new(root: PathBuf) -> Self {
        let names = HashMap::from([(root.clone(), Node::Folder)]);
        Self {
            root,
            record: Vec::new(),
            at: 0,
            step: 0,
            files: Vec::new(),
            names,
            entries: Vec::new(),
            unsure: Vec::new(),
            begun: HashMap::new(),
            syncs: 0,
        }
    }

    /// Lets arrive what was asked until this moment.
    pub fn advance(&mut self, moment: u64) {
        let end = usize::try_from(moment).unwrap().min(self.record.len());
        let record = std::mem::take(&mut self.record);
        while let Some(size) = self.take(&record[self.at..end]) {
            self.at += size;
        }
        self.record = record;
    }

    /// How many syncs there were.
    pub fn syncs(&self) -> usize {
        self.syncs
    }

    /// Lets the first step of these arrive; its size, if it is all there.
    fn take(&mut self, record: &[u8]) -> Option<usize> {
        let number = |at: usize| Some(u32::from_le_bytes(record.get(at..at + 4)?.try_into().ok()?));
        let kind = *record.first()?;
        let thread = number(1)?;
        let at = usize::try_from(u64::from_le_bytes(record.get(5..13)?.try_into().ok()?)).ok()?;
        let lengths = [number(13)?, number(17)?, number(21)?].map(|length| usize::try_from(length).unwrap());
        let size = HEAD + lengths.iter().sum::<usize>();
        let (name, rest) = record.get(HEAD..size)?.split_at(lengths[0]);
        let (other, bytes) = rest.split_at(lengths[1]);
        let path = |text: &[u8]| PathBuf::from(String::from_utf8(text.to_vec()).unwrap());
        let (name, other) = (path(name), path(other));
        self.step += 1;
        let is_data = name == self.root || name.starts_with(self.root.join("data"));
        // Shared memory is no more after a crash.
        if is_data && !name.to_string_lossy().ends_with("-shm") {
            self.happens(kind, thread, name, other, at, bytes);
        }
        Some(size)
    }

    fn happens(&mut self, kind: u8, thread: u32, name: PathBuf, other: PathBuf, at: usize, bytes: &[u8]) {
        match kind {
            b'w' => self.changes(name, Change::Write(at, bytes.to_vec())),
            b't' => self.changes(name, Change::Cut(at)),
            b'b' => {
                self.begun.insert(thread, self.step);
            }
            b'e' => self.is_synced(&name, self.begun[&thread]),
            b'c' => {
                self.file(name);
            }
            b'm' => self.renames(None, Some((name, Node::Folder))),
            b'u' => self.renames(Some(name), None),
            b'r' => {
                let node = Node::File(self.file(name.clone()));
                self.renames(Some(name), Some((other, node)));
            }
            b'l' => {
                let node = Node::File(self.file(name));
                self.renames(None, Some((other, node)));
            }
            other => panic!("a step of the kind {other}"),
        }
    }

    /// The file of this name, which is made if there is none.
    fn file(&mut self, name: PathBuf) -> usize {
        if let Some(Node::File(file)) = self.names.get(&name) {
            return *file;
        }
        self.files.push(Bytes::default());
        let file = self.files.len() - 1;
        self.renames(None, Some((name, Node::File(file))));
        file
    }

    fn changes(&mut self, name: PathBuf, change: Change) {
        let file = self.file(name);
        self.files[file].since.push((self.step, change));
    }

    fn renames(&mut self, removed: Option<PathBuf>, added: Option<(PathBuf, Node)>) {
        if let Some(name) = &removed {
            self.names.remove(name);
        }
        self.names.extend(added.clone());
        self.unsure.push(self.entries.len());
        self.entries.push(Entry { step: self.step, removed, added, is_sure: false });
    }

    /// What was done before the sync began is sure once it has ended.
    fn is_synced(&mut self, name: &Path, begun: usize) {
        self.syncs += 1;
        match self.names.get(name).copied() {
            Some(Node::Folder) => {
                let Self { entries, unsure, .. } = self;
                unsure.retain(|at| {
                    let entry = &mut entries[*at];
                    entry.is_sure = entry.step < begun && entry.is_in(name);
                    !entry.is_sure
                });
            }
            Some(Node::File(file)) => {
                let Bytes { sure, since } = &mut self.files[file];
                let number = since.iter().take_while(|(step, _)| *step < begun).count();
                since.drain(..number).for_each(|(_, change)| change.apply(sure));
            }
            None => {} // its name has gone meanwhile
        }
    }

    /// Puts what the disk may hold, if the power goes now, into this folder, which is empty.
    pub fn fail(&self, dice: &Dice, folder: &Path) {
        let fate = match dice.below(4) {
            0 => Fate::Lost,
            1 => Fate::Until(self.step.saturating_sub(dice.below(LATEST))),
            _ => Fate::Chance,
        };
        let arrives = |step: usize| match fate {
            Fate::Lost => false,
            Fate::Until(last) => step <= last,
            Fate::Chance => dice.below(2) == 0,
        };
        let mut names = BTreeMap::new();
        for entry in &self.entries {
            if entry.is_sure || arrives(entry.step) {
                if let Some(name) = &entry.removed {
                    names.remove(name);
                }
                names.extend(entry.added.clone());
            }
        }
        let mut unsure = 0;
        for (name, node) in names {
            let place = folder.join(name.strip_prefix(&self.root).unwrap());
            // What lies in a folder that is lost is lost with it.
            if !place.parent().is_some_and(Path::is_dir) {
                continue;
            }
            match node {
                Node::Folder => make_folder(&place),
                Node::File(file) => {
                    unsure += self.files[file].since.len();
                    make_file(&place, &self.files[file].after(fate, dice));
                }
            }
        }
        println!("step {}: {unsure} changes of files were not synced: {fate:?}", self.step);
    }
}

impl Bytes {
    fn after(&self, fate: Fate, dice: &Dice) -> Vec<u8> {
        let mut bytes = self.sure.clone();
        for (step, change) in &self.since {
            match fate {
                Fate::Until(last) if *step < last => change.apply(&mut bytes),
                // The last one is torn.
                Fate::Until(last) if *step == last => change.apply_torn(&mut bytes, dice),
                Fate::Lost | Fate::Until(_) => {}
                Fate::Chance => match dice.below(5) {
                    0 | 1 => {}
                    2 => change.apply_torn(&mut bytes, dice),
                    _ => change.apply(&mut bytes),
                },
            }
        }
        bytes
    }
}

fn make_folder(place: &Path) {
    match DirBuilder::new().mode(0o700).create(place) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            panic!("{}: {error}", place.display())
        }
        _ => {}
    }
}

fn make_file(place: &Path, bytes: &[u8]) {
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(place);
    let mut file: File = made.unwrap();
    file.write_all(bytes).unwrap();
}
