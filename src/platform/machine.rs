//! What the system tells of the machine: files of Linux that cost next to nothing to read. Elsewhere nothing is told.

use std::fs;

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All that the machine has.
    pub total: Option<u64>,
    /// What programs can have of it before others must give some back.
    pub available: Option<u64>,
    /// What this program holds.
    pub resident: Option<u64>,
}

impl Memory {
    /// As it is now. It reads files.
    #[must_use]
    pub fn look() -> Self {
        let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self {
            total: bytes(&machine, "MemTotal:"),
            available: bytes(&machine, "MemAvailable:"),
            resident: resident(),
        }
    }
}

/// Memory that this program holds, in bytes. It reads a file.
#[must_use]
pub fn resident() -> Option<u64> {
    bytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// What the line says that begins so: `MemTotal:  1024 kB`, where kB are 1024 bytes.
fn bytes(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = rest.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_name() {
        let text = "MemTotal:       2048 kB\nMemFree:         512 kB\nMemAvailable:   1024 kB\nHuge: x kB\n";
        assert_eq!(bytes(text, "MemTotal:"), Some(2 * 1024 * 1024));
        assert_eq!(bytes(text, "MemAvailable:"), Some(1024 * 1024));
        assert_eq!(bytes(text, "Huge:"), None);
        assert_eq!(bytes(text, "Swap:"), None);
        assert_eq!(bytes("", "MemTotal:"), None);
        assert_eq!(bytes("A: 18446744073709551615 kB", "A:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_has_more_than_this_program_holds() {
        let Memory { total, available, resident } = Memory::look();
        let (total, available, resident) = (total.unwrap(), available.unwrap(), resident.unwrap());
        assert!(available <= total && 0 < resident && resident < total, "{total} {available} {resident}");
    }
}
