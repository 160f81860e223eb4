//! What must hold of the bytes of a connection: see `src/fuzzing.rs`.

use super::bounds::Bounds;
use super::frames::FrameReader;
use super::head::{Framing, HeadCheck, Progress};

const BOUNDS: Bounds = Bounds { head: 512, target: 128, list: 256 };

/// However a head is cut into pieces, the verdict is the same; and one that is taken can be read in one way only.
pub(crate) fn head(input: &[u8]) {
    let whole = HeadCheck::new(BOUNDS).feed(input);
    let mut check = HeadCheck::new(BOUNDS);
    let mut bytes = input.iter().map(|byte| check.feed(std::slice::from_ref(byte))).enumerate();
    let (at, last) =
        bytes.find(|(_, step)| *step != Ok(Progress::Partial)).unwrap_or((0, Ok(Progress::Partial)));
    match (whole, last) {
        (Ok(Progress::Complete(end, framing)), Ok(Progress::Complete(1, same))) => {
            assert_eq!((end, framing), (at + 1, same));
            one_reading(&input[..end], framing);
        }
        (Ok(Progress::Http2(end)), Ok(Progress::Http2(1))) => assert_eq!(end, at + 1),
        // Of two bounds that are passed, the one that is told depends on which was looked at first.
        (Err(_), Err(_)) => {}
        (whole, last) => assert_eq!(whole, last),
    }
}

fn one_reading(head: &[u8], read: Framing) {
    assert!(head.len() <= BOUNDS.largest() + 8 && head.ends_with(b"\r\n\r\n"), "{head:?}");
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "{text:?}");
    let lines = || text.trim_start_matches("\r\n").split("\r\n").skip(1);
    assert!(lines().all(|line| !line.starts_with([' ', '\t'])), "{text:?}");
    let framing = |line: &str| line.starts_with("content-length:") || line.starts_with("transfer-encoding:");
    assert!(lines().filter(|line| framing(line)).count() <= 1, "{text:?}");
    let length = lines().find_map(|line| line.strip_prefix("content-length:")).map(str::trim);
    match read {
        Framing::Length(read) => assert_eq!(length.map_or(Ok(0), str::parse), Ok(read), "{text:?}"),
        Framing::Chunked => assert_eq!(length, None, "{text:?}"),
    }
}

/// However the frames of a connection are cut into pieces, they are the same, and every byte belongs to one.
pub(crate) fn frames(input: &[u8]) {
    let read = |size: usize| {
        let (mut reader, mut heads) = (FrameReader::behind(8), Vec::new());
        input.chunks(size).for_each(|piece| reader.feed(piece, |head| heads.push(head)));
        heads
    };
    let whole = read(input.len().max(1));
    let size = input.first().map_or(1, |byte| usize::from(*byte).max(1));
    assert_eq!(read(1), whole);
    assert_eq!(read(size), whole);
    let begins = |frames: usize| 8 + whole[..frames].iter().map(|head| 9 + head.length).sum::<usize>();
    assert!(begins(whole.len().saturating_sub(1)) <= input.len().max(8));
    assert!(begins(whole.len()) + 9 > input.len());
}
