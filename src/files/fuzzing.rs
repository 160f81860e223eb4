//! What must hold of uploads and of what is asked of files: see `src/fuzzing.rs`.

use poem::http::{HeaderMap, HeaderValue, header};

use super::kind::{self, is_shown_inline};
use super::range::Wanted;
use super::{FileName, disposition};

/// The first line is what a client calls a file, the rest its content: the name leads nowhere, fits into a header and is
/// read there as it is; what a browser shows in place is no page.
pub(crate) fn file(input: &[u8]) {
    let (typed, content) = match memchr::memchr(b'\n', input) {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, &[][..]),
    };
    let typed = String::from_utf8_lossy(typed);
    let name = FileName::of(&typed);
    let shown = name.as_str();
    assert!((1..=255).contains(&shown.len()) && shown != "." && shown != "..", "{shown:?}");
    assert!(!shown.contains(|c: char| c.is_control() || c == '/' || c == '\\'), "{shown:?}");
    assert_eq!(FileName::of(shown), name, "of {typed:?}");
    for inline in [false, true] {
        let value = disposition(inline, shown);
        assert!(HeaderValue::try_from(&value).is_ok() && value.is_ascii(), "{value:?}");
        assert_eq!(value.matches('"').count(), 2, "{value:?}");
        if let Some((_, escaped)) = value.split_once("; filename*=UTF-8''") {
            assert_eq!(
                percent_encoding::percent_decode_str(escaped).decode_utf8().ok().as_deref(),
                Some(shown)
            );
        } else {
            assert!(value.ends_with(&format!("; filename=\"{shown}\"")), "{value:?}");
        }
    }
    for whole in [false, true] {
        let media_type = kind::of(content, whole, name.ending().as_deref());
        assert!(HeaderValue::try_from(media_type).is_ok());
        let could_be_a_page = content.trim_ascii_start().starts_with(b"<");
        assert!(!(is_shown_inline(media_type) && could_be_a_page), "{media_type}");
    }
}

/// Eight bytes are the size of a file, the rest is what `Range` says: a part lies within the file, and is the same when it
/// is asked for plainly.
pub(crate) fn range(input: &[u8]) {
    let Some((size, range)) = input.split_first_chunk() else { return };
    let size = u64::from_le_bytes(*size);
    let wanted = |range: &[u8]| {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_bytes(range).ok()?);
        Some(Wanted::of(&headers, "\"tag\"", size))
    };
    match wanted(range) {
        Some(Wanted::Part(part)) => {
            assert!(part.start < part.end && part.end <= size, "{part:?} of {size}");
            let plainly = format!("bytes={}-{}", part.start, part.end - 1);
            assert_eq!(wanted(plainly.as_bytes()), Some(Wanted::Part(part)));
        }
        Some(Wanted::Unchanged) => unreachable!("no tag was named"),
        Some(Wanted::Whole | Wanted::OutOfRange) | None => {}
    }
}
