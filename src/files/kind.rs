//! What a file is, as its first bytes say; its name only tells apart what begins alike.

/// How many bytes are looked at.
pub const LOOKED_AT: usize = 4096;

/// What anything may be that is known to be nothing else.
pub const UNKNOWN: &str = "application/octet-stream";

/// Pictures that can't hold scripts.
pub const PLAIN_PICTURES: [&str; 5] = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"];

/// The first bytes of kinds that have some of their own.
const MAGIC: [(&[u8], &str); 20] = [
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\0", "application/x-xz"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"(\xb5/\xfd", "application/zstd"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "application/ogg"),
    (b"fLaC", "audio/flac"),
    (b"\x1aE\xdf\xa3", "video/webm"),
];

/// What a text, or a zip, is by the ending of its name.
const BY_ENDING: [(&str, &str, &str); 16] = [
    ("text/plain", "csv", "text/csv"),
    ("text/plain", "css", "text/css"),
    ("text/plain", "html", "text/html"),
    ("text/plain", "htm", "text/html"),
    ("text/plain", "js", "text/javascript"),
    ("text/plain", "json", "application/json"),
    ("text/plain", "md", "text/markdown"),
    ("text/plain", "svg", "image/svg+xml"),
    ("text/plain", "xml", "application/xml"),
    ("text/plain", "ics", "text/calendar"),
    ("application/zip", "docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("application/zip", "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("application/zip", "pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("application/zip", "odt", "application/vnd.oasis.opendocument.text"),
    ("application/zip", "ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("application/zip", "epub", "application/epub+zip"),
];

/// The media type of a file that begins so, whose name has this ending; `whole`: there are no more bytes.
#[must_use]
pub fn of(head: &[u8], whole: bool, ending: Option<&str>) -> &'static str {
    let family = by_magic(head).unwrap_or(if is_text(head, whole) { "text/plain" } else { UNKNOWN });
    let refined = BY_ENDING.iter().find(|(of, known, _)| *of == family && Some(*known) == ending);
    refined.map_or(family, |(_, _, media_type)| media_type)
}

/// Whether a browser may show it in place: pictures that can't hold scripts.
#[must_use]
pub fn is_shown_inline(media_type: &str) -> bool {
    PLAIN_PICTURES.contains(&media_type)
}

fn by_magic(head: &[u8]) -> Option<&'static str> {
    let known = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, media_type)| *media_type);
    // `BM` begins many a text; behind it stands the file's length, and two words of nothing.
    let known = known.filter(|media_type| *media_type != "image/bmp" || head.get(6..10) == Some(&[0; 4]));
    known.or_else(|| match (head.get(..4)?, head.get(4..8)?, head.get(8..12)?) {
        (b"RIFF", _, b"WEBP") => Some("image/webp"),
        (b"RIFF", _, b"WAVE") => Some("audio/wav"),
        (b"RIFF", _, b"AVI ") => Some("video/x-msvideo"),
        (_, b"ftyp", b"avif") => Some("image/avif"),
        (_, b"ftyp", b"heic" | b"heix" | b"mif1") => Some("image/heic"),
        (_, b"ftyp", b"qt  ") => Some("video/quicktime"),
        (_, b"ftyp", b"M4A ") => Some("audio/mp4"),
        (_, b"ftyp", _) => Some("video/mp4"),
        _ => None,
    })
}

fn is_text(head: &[u8], whole: bool) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The last character may be cut in two.
        Err(error) if error.error_len().is_none() && !whole => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}' | '\u{1b}');
    !text.is_empty() && !text.contains(is_odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides_and_not_the_name() {
        assert_eq!(of(b"\x89PNG\r\n\x1a\n....", true, Some("html")), "image/png");
        assert_eq!(of(b"<html><script>", true, Some("png")), "text/plain");
        assert_eq!(of(b"GIF89a<script>", true, Some("js")), "image/gif");
        assert_eq!(of(b"RIFF\0\0\0\0WEBPVP8 ", true, None), "image/webp");
        assert_eq!(of(b"\x00\x01\x02", true, Some("txt")), UNKNOWN);
        assert_eq!(of(b"", true, Some("txt")), UNKNOWN);
        assert_eq!(of(b"BM is no picture", true, None), "text/plain");
    }

    #[test]
    fn a_name_tells_apart_what_begins_alike() {
        assert_eq!(of(b"a,b\n1,2", true, Some("csv")), "text/csv");
        assert_eq!(of(b"<svg onload=alert(1)>", true, Some("svg")), "image/svg+xml");
        assert_eq!(of(b"PK\x03\x04", true, Some("docx")).len(), 71);
        assert_eq!(of(b"%PDF-1.7", true, Some("csv")), "application/pdf");
    }

    #[test]
    fn a_character_cut_in_two_is_still_text_but_broken_text_is_not() {
        let text = "né".as_bytes();
        assert_eq!(of(&text[..2], false, None), "text/plain");
        assert_eq!(of(&text[..2], true, None), UNKNOWN);
        assert_eq!(of(b"a\xffb", false, None), UNKNOWN);
    }

    #[test]
    fn only_pictures_without_scripts_are_shown_in_place() {
        assert!(is_shown_inline("image/png"));
        for other in ["image/svg+xml", "text/html", "application/pdf", "text/plain", "image/avif", UNKNOWN] {
            assert!(!is_shown_inline(other), "{other}");
        }
    }
}
