//! Chance that a failed run can repeat.

use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use gatehouse::platform::random::Random;

/// How often to do what a test does by chance.
pub fn rounds(default: u64) -> u64 {
    variable("FAULT_ROUNDS").unwrap_or(default)
}

/// A variable of the test run.
#[expect(clippy::disallowed_methods, reason = "these are settings of the tests, not of the program")]
pub fn variable<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().filter(|text| !text.is_empty())?.parse().ok()
}

/// Makes the choices of one part of a test.
pub struct Dice(Random);

impl Dice {
    /// New choices, or those of `FAULT_SEED`; says which.
    pub fn new() -> Self {
        let seed =
            variable("FAULT_SEED").unwrap_or_else(|| u64::from(u32::from_le_bytes(Random::System.bytes())));
        println!("FAULT_SEED={seed}");
        Self(Random::seeded(seed))
    }

    /// Choices of its own for a part that runs beside others.
    pub fn part(&self) -> Self {
        Self(Random::seeded(u64::from_le_bytes(self.0.bytes())))
    }

    /// A number from 0 up to but without `end`.
    pub fn below(&self, end: usize) -> usize {
        usize::try_from(u32::from_le_bytes(self.0.bytes())).unwrap() % end
    }

    /// A time of so many milliseconds.
    pub fn millis(&self, range: Range<usize>) -> Duration {
        Duration::from_millis(u64::try_from(range.start + self.below(range.len())).unwrap())
    }
}

/// A word that no other test of any run uses.
pub fn unique() -> String {
    format!("{:016x}", u64::from_le_bytes(Random::System.bytes()))
}
