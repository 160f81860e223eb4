//! Bytes as hexadecimal text, and back.

/// Bytes in lower case.
#[must_use]
pub fn written(bytes: &[u8]) -> String {
    let half_bytes = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    half_bytes.filter_map(|half| char::from_digit(half.into(), 16)).collect()
}

/// The 32 bytes that a text of 64 digits stands for, in either case.
#[must_use]
pub fn read(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is() {
        let mut bytes = [0xa0; 32];
        bytes[1] = 0x0b;
        let text = written(&bytes);
        assert!(text.starts_with("a00ba0") && text.len() == 64);
        assert_eq!(read(&text), Some(bytes));
        assert_eq!(read(&text.to_uppercase()), Some(bytes));
        for wrong in
            [&text[1..], &format!("{text}0"), &text.replace('b', "g"), &format!("+{}", &text[1..]), "", "ä"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
