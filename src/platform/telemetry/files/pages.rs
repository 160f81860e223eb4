//! The file that is written to: opened, filled, turned over, and done without where the disk takes nothing.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use chrono::DateTime;

use super::{AHEAD, FileSettings, Lost, PRESENT, Rotation, complain, turned};
use crate::platform::clock::{Clock, Timestamp};

/// Bytes that are written at once.
const BLOCK: usize = 64 * 1024;
/// No line of ours is longer; what is, was written by somebody else.
const FIRST_LINE: u64 = 256 * 1024;
/// How long a disk that took nothing is left alone.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// How often turned files are looked at although none was turned.
const TIDYING: Duration = Duration::from_hours(1);

/// The present file.
struct Page {
    file: File,
    /// Bytes of whole lines.
    length: u64,
    /// When its first line was written.
    begun: Timestamp,
}

/// All files, as something to write lines to. Never fails: what can't be written is counted.
pub(super) struct Pages {
    settings: FileSettings,
    clock: Clock,
    pub(super) lost: Lost,
    tidy: Option<SyncSender<()>>,
    page: Option<Page>,
    block: Vec<u8>,
    lines_in_block: u64,
    /// A disk that took nothing is tried again then.
    rests_until: Option<Timestamp>,
    told_of: u64,
    tidied: Option<Timestamp>,
}

impl Pages {
    pub(super) fn new(
        settings: FileSettings,
        clock: Clock,
        lost: Lost,
        tidy: Option<SyncSender<()>>,
    ) -> Self {
        let mut pages = Self {
            settings,
            clock,
            lost,
            tidy,
            page: None,
            block: Vec::new(),
            lines_in_block: 0,
            rests_until: None,
            told_of: 0,
            tidied: None,
        };
        let opened = pages.open();
        pages.settle(opened);
        pages
    }

    /// Goes on with the file that is there.
    fn open(&mut self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o750).create(&self.settings.folder)?;
        let path = self.settings.folder.join(PRESENT);
        let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o640).open(&path)?;
        let length = file.metadata()?.len();
        let begun = first_moment(&mut file).unwrap_or_else(|| self.clock.now());
        self.page = Some(Page { file, length, begun });
        Ok(())
    }

    /// Writes what has gathered, turning the file over where it is time.
    fn put(&mut self) -> io::Result<()> {
        if self.page.is_none() {
            self.open()?;
        }
        if self.is_full() {
            self.turn_over()?;
        }
        self.own_up();
        let Some(page) = &mut self.page else { return Ok(()) };
        if page.length == 0 {
            page.begun = self.clock.now();
        }
        if let Err(error) = page.file.write_all(&self.block) {
            // Half a line would spoil the next one. If that fails as well, a reader has to bear one bad line.
            page.file.set_len(page.length).unwrap_or_default();
            return Err(error);
        }
        page.length += u64::try_from(self.block.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn is_full(&self) -> bool {
        let Some(page) = self.page.as_ref().filter(|page| page.length > 0) else { return false };
        let Rotation { age, bytes } = self.settings.rotation;
        let more = u64::try_from(self.block.len()).unwrap_or(u64::MAX);
        let now = self.clock.now();
        age.is_some_and(|age| now.since(page.begun) >= age || page.begun > now.after(AHEAD))
            || bytes.is_some_and(|bytes| page.length.saturating_add(more) > bytes)
    }

    fn turn_over(&mut self) -> io::Result<()> {
        turned::turn(&self.settings.folder, self.clock.now())?;
        self.page = None;
        self.tidied = None;
        self.open()
    }

    /// Says how many lines are missing before this one.
    fn own_up(&mut self) {
        let lost = self.lost.lines();
        if lost > self.told_of {
            let (time, count) = (self.clock.now().rfc3339(), lost - self.told_of);
            let line = format!(
                "{{\"time\":\"{time}\",\"level\":\"WARN\",\"target\":\"gatehouse\",\
                 \"message\":\"the log file could not keep up\",\"lost\":{count}}}\n"
            );
            drop(self.block.splice(0..0, line.into_bytes()));
            self.told_of = lost;
        }
    }

    /// Writes the block, or counts what it loses.
    fn write_block(&mut self) {
        let now = self.clock.now();
        if self.lines_in_block == 0 {
            return;
        }
        // Further ahead than a pause is what was noted before the clock was set back.
        if self.rests_until.is_some_and(|until| now < until && until <= now.after(PAUSE)) {
            return self.lose_block();
        }
        let told_of = self.told_of;
        let put = self.put();
        if put.is_err() {
            self.told_of = told_of;
            self.lose_block();
        }
        self.settle(put);
        self.block.clear();
        self.lines_in_block = 0;
        self.ask_for_tidying(now);
    }

    fn lose_block(&mut self) {
        self.lost.disk.fetch_add(self.lines_in_block, Ordering::Relaxed);
        self.block.clear();
        self.lines_in_block = 0;
    }

    /// Tells of a disk that takes nothing once, and once that it does again.
    fn settle(&mut self, done: io::Result<()>) {
        match done {
            Ok(()) => {
                if self.rests_until.take().is_some() {
                    let words = "the log can be written to its file again";
                    writeln!(io::stderr(), "gatehouse: {words}").unwrap_or_default();
                }
            }
            Err(error) => {
                if self.rests_until.is_none() {
                    let folder = self.settings.folder.display().to_string();
                    complain(
                        Err(error),
                        &format!("the log can't be written to {folder}, its lines are lost"),
                    );
                }
                self.page = None;
                self.rests_until = Some(self.clock.now().after(PAUSE));
            }
        }
    }

    fn ask_for_tidying(&mut self, now: Timestamp) {
        if self.tidied.is_some_and(|at| now.is_soon_after(at, TIDYING)) {
            return;
        }
        self.tidied = Some(now);
        if let Some(tidy) = &self.tidy {
            // One that waits already will do for this one, too.
            tidy.try_send(()).unwrap_or_default();
        }
    }
}

impl Write for Pages {
    /// Takes one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let most = self
            .settings
            .rotation
            .bytes
            .map_or(BLOCK, |bytes| usize::try_from(bytes).unwrap_or(BLOCK).min(BLOCK));
        if self.block.len() + line.len() > most {
            self.write_block();
        }
        self.block.extend_from_slice(line);
        self.lines_in_block += 1;
        Ok(line.len())
    }

    /// Nothing more waits.
    fn flush(&mut self) -> io::Result<()> {
        self.write_block();
        Ok(())
    }
}

/// When the first line of a file was written. The line says so itself; what the file system says of a file's birth changes
/// with each copy.
fn first_moment(file: &mut File) -> Option<Timestamp> {
    let mut line = String::new();
    BufReader::new(file.take(FIRST_LINE)).read_line(&mut line).ok()?;
    let line: serde_json::Value = serde_json::from_str(&line).ok()?;
    let time = DateTime::parse_from_rfc3339(line.get("time")?.as_str()?).ok()?;
    Some(Timestamp::from_millis(time.timestamp_millis()))
}
