//! Files are turned over, packed and let go of when they should be, and nothing that befalls a disk ends the program.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::pages::PAUSE;
use super::turned::tidy;
use super::*;
use crate::platform::clock::Timestamp;

const START: Timestamp = Timestamp::from_seconds(1_767_225_600);
const HOUR: Duration = Duration::from_hours(1);

struct Desk {
    folder: TempDir,
    clock: Clock,
    rotation: Rotation,
}

impl Desk {
    fn new(rotation: Rotation) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: Clock::manual(START), rotation }
    }

    fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    fn pages(&self) -> Pages {
        let settings =
            FileSettings { folder: self.logs(), rotation: self.rotation, retention: Retention::Files(3) };
        Pages::new(settings, self.clock.clone(), Lost::new(), None)
    }

    /// One line, as it comes to the file.
    fn line(&self, number: usize) -> String {
        let time = self.clock.now().rfc3339();
        format!("{{\"time\":\"{time}\",\"level\":\"WARN\",\"message\":\"line {number:04}\"}}\n")
    }

    fn write(&self, pages: &mut Pages, number: usize) {
        pages.write_all(self.line(number).as_bytes()).unwrap();
        pages.flush().unwrap();
    }

    fn set(&self, time: Timestamp) {
        let Clock::Manual(hands) = &self.clock else { panic!("the clock is ours") };
        hands.store(time.millis(), Ordering::SeqCst);
    }

    fn names(&self) -> Vec<String> {
        names_in(&self.logs())
    }

    fn present(&self) -> String {
        fs::read_to_string(self.logs().join(PRESENT)).unwrap()
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn by_age(hours: u32) -> Rotation {
    Rotation { age: Some(HOUR * hours), bytes: None }
}

#[test]
fn a_file_is_turned_over_when_its_first_line_is_old_also_after_a_restart() {
    let desk = Desk::new(by_age(24));
    let mut pages = desk.pages();
    desk.write(&mut pages, 1);
    desk.clock.advance(HOUR * 23);
    drop(pages);
    let mut pages = desk.pages();
    desk.write(&mut pages, 2);
    assert_eq!(desk.names(), [PRESENT], "a restart goes on with the file");
    assert_eq!(desk.present().lines().count(), 2);
    desk.clock.advance(HOUR);
    desk.write(&mut pages, 3);
    assert_eq!(desk.names(), ["gatehouse-20260102T000000.000Z.log", PRESENT]);
    assert!(desk.present().contains("line 0003") && desk.present().lines().count() == 1);
}

#[test]
fn a_file_is_turned_over_before_it_grows_too_large_and_no_line_is_torn() {
    let desk = Desk::new(Rotation { age: None, bytes: Some(200) });
    let mut pages = desk.pages();
    for number in 0..20 {
        pages.write_all(desk.line(number).as_bytes()).unwrap();
    }
    pages.flush().unwrap();
    let names = desk.names();
    assert!(names.len() > 5, "{names:?}");
    let mut seen = Vec::new();
    for name in names {
        let text = fs::read_to_string(desk.logs().join(&name)).unwrap();
        assert!(text.len() <= 200, "{name}");
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            seen.push(line["message"].as_str().unwrap().to_owned());
        }
    }
    let expected: Vec<String> = (0..20).map(|number| format!("line {number:04}")).collect();
    assert_eq!(seen, expected, "names sort as they were written, and nothing is missing");
}

#[test]
fn only_the_owner_writes_and_strangers_do_not_read() {
    let desk = Desk::new(by_age(1));
    desk.write(&mut desk.pages(), 1);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    // The umask may take more away.
    assert_eq!(mode(&desk.logs().join(PRESENT)) & !0o640, 0);
    assert_eq!(mode(&desk.logs()) & !0o750, 0);
}

fn turned_files(desk: &Desk, count: usize) -> Vec<String> {
    let mut pages = desk.pages();
    for number in 0..=count {
        desk.write(&mut pages, number);
        desk.clock.advance(HOUR);
    }
    desk.names().into_iter().filter(|name| name != PRESENT).collect()
}

#[test]
fn turned_files_are_packed_and_what_a_crash_left_is_swept_away() {
    let desk = Desk::new(by_age(1));
    let turned = turned_files(&desk, 2);
    fs::write(desk.logs().join("gatehouse-20260101T000000.000Z.log.gz.part"), "half").unwrap();
    fs::write(desk.logs().join("notes.log"), "of the operator").unwrap();
    tidy(&desk.logs(), Retention::Files(9), desk.clock.now()).unwrap();
    let mut expected: Vec<String> = turned.iter().map(|name| format!("{name}.gz")).collect();
    expected.extend([PRESENT.to_owned(), "notes.log".to_owned()]);
    expected.sort();
    assert_eq!(desk.names(), expected);
    let mut text = String::new();
    let packed = File::open(desk.logs().join(&expected[0])).unwrap();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    assert!(text.contains("line 0000") && text.ends_with('\n'));
}

#[test]
fn files_are_kept_by_number_by_age_and_by_size() {
    let left = |retention: fn(u64) -> Retention| {
        let desk = Desk::new(by_age(1));
        let turned = turned_files(&desk, 5);
        tidy(&desk.logs(), Retention::Files(9), desk.clock.now()).unwrap();
        let one = fs::metadata(desk.logs().join(format!("{}.gz", turned[4]))).unwrap().len();
        tidy(&desk.logs(), retention(one), desk.clock.now()).unwrap();
        let left: Vec<String> = desk.names().into_iter().filter(|name| name != PRESENT).collect();
        let newest: Vec<String> = turned[5 - left.len()..].iter().map(|name| format!("{name}.gz")).collect();
        assert_eq!(left, newest, "the newest stay");
        left.len()
    };
    assert_eq!(left(|_| Retention::Files(2)), 2);
    assert_eq!(left(|_| Retention::Files(0)), 0);
    // The newest was turned over one hour ago, the one before it two.
    assert_eq!(left(|_| Retention::Age(HOUR * 2)), 2);
    assert_eq!(left(|one| Retention::Bytes(one * 3 + 20)), 3);
}

// F-18
#[test]
fn files_of_before_the_clock_was_set_back_outlive_none_of_after_it() {
    let desk = Desk::new(by_age(1));
    desk.set(START.after(HOUR * 100));
    let before = turned_files(&desk, 2);
    // What stands in the present file is of then, too.
    desk.set(START);
    let mut pages = desk.pages();
    for number in 10..12 {
        desk.write(&mut pages, number);
        desk.clock.advance(HOUR);
    }
    desk.write(&mut pages, 12);
    assert_eq!(desk.present().lines().count(), 1);
    tidy(&desk.logs(), Retention::Files(4), desk.clock.now()).unwrap();
    let after = ["000000", "010000", "020000"].map(|time| format!("gatehouse-20260101T{time}.000Z.log.gz"));
    let expected: Vec<String> =
        after.into_iter().chain([format!("{}.gz", before[1]), PRESENT.to_owned()]).collect();
    assert_eq!(desk.names(), expected);
}

// F-18
#[test]
fn a_disk_that_took_nothing_before_the_clock_was_set_back_is_tried_again_after_it() {
    let desk = Desk::new(by_age(24));
    fs::write(desk.logs(), "a file is in the way").unwrap();
    let mut pages = desk.pages();
    fs::remove_file(desk.logs()).unwrap();
    desk.write(&mut pages, 1);
    assert_eq!(pages.lost.lines(), 1, "it rests for a moment");
    desk.set(START.before(HOUR));
    desk.write(&mut pages, 2);
    assert!(desk.present().contains("line 0002"));
}

#[test]
fn a_folder_that_can_not_be_made_costs_lines_and_nothing_else_and_comes_back() {
    let desk = Desk::new(by_age(24));
    fs::write(desk.logs(), "a file is in the way").unwrap();
    let mut pages = desk.pages();
    desk.clock.advance(PAUSE);
    desk.write(&mut pages, 1);
    desk.write(&mut pages, 2);
    assert_eq!(pages.lost.lines(), 2);
    fs::remove_file(desk.logs()).unwrap();
    desk.write(&mut pages, 3);
    assert_eq!(pages.lost.lines(), 3, "it rests for a moment");
    desk.clock.advance(PAUSE);
    desk.write(&mut pages, 4);
    let lines: Vec<Value> = desk.present().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["lost"], &lines[1]["message"]), (&3.into(), &"line 0004".into()));
    desk.write(&mut pages, 5);
    assert_eq!(desk.present().matches("lost").count(), 1, "it is told once");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let desk = Desk::new(by_age(24));
    fs::create_dir(desk.logs()).unwrap();
    // Each write to it fails as on a full disk.
    std::os::unix::fs::symlink("/dev/full", desk.logs().join(PRESENT)).unwrap();
    let mut pages = desk.pages();
    desk.write(&mut pages, 1);
    assert_eq!(pages.lost.lines(), 1);
    fs::remove_file(desk.logs().join(PRESENT)).unwrap();
    desk.clock.advance(PAUSE);
    desk.write(&mut pages, 2);
    assert!(desk.present().contains("\"lost\":1") && desk.present().contains("line 0002"));
}

#[test]
fn the_queue_takes_lines_to_the_file_and_the_end_waits_for_them() {
    let desk = Desk::new(by_age(24));
    let settings =
        FileSettings { folder: desk.logs(), rotation: desk.rotation, retention: Retention::Files(1) };
    let FileLog { mut lines, guard, lost } = start(settings, desk.clock.clone()).unwrap();
    for number in 0..100 {
        lines.write_all(desk.line(number).as_bytes()).unwrap();
    }
    drop(guard);
    assert_eq!((desk.present().lines().count(), lost.lines()), (100, 0));
}
