//! What must hold of stored hashes, which an import brings from elsewhere: see `src/fuzzing.rs`.

use super::memory::Memory;
use super::phc::{Cost, is_usable, verify};

/// What is taken costs no more than it may, and can be compared with.
pub(crate) fn phc(input: &[u8]) {
    let Some(line) = std::str::from_utf8(input).ok().filter(|line| is_usable(line)) else { return };
    let is_cheap = if line.starts_with("$2") {
        let cost = number(line.split('$').nth(2).unwrap_or_default());
        assert!(cost <= 14, "{line}");
        cost <= 4
    } else {
        let costs = line.strip_prefix("$argon2id$v=19$").and_then(|rest| rest.split('$').next());
        let costs: Vec<(&str, u32)> = costs
            .unwrap_or_default()
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name, number(value)))
            .collect();
        let cost =
            |wanted: &str| costs.iter().find(|(name, _)| *name == wanted).map_or(1, |(_, value)| *value);
        assert!(cost("m") <= 1 << 20 && cost("t") <= 10, "{line}");
        costs.len() == 3 && cost("m") <= 256 && cost("t") <= 2
    };
    let own = Cost::new(8, 1, 1).unwrap_or_else(|_| unreachable!("the least cost is one"));
    if is_cheap {
        assert!(verify(b"secret", Some(line), &own, &mut Memory::default()).is_ok(), "{line}");
    }
}

fn number(digits: &str) -> u32 {
    digits.parse().unwrap_or(u32::MAX)
}
