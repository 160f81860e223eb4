//! Passwords: what is asked of them and what their hashes cost.

use super::catalogue::section;
use super::kinds::{Flag, Whole, Word};

section! {
    /// Passwords.
    pub struct Passwords {
        /// Fewest characters of a new password.
        min_length: usize = "PASSWORD_MIN_LENGTH", MIN_LENGTH, "10";
        /// Whether a new password needs an upper and a lower case letter, a digit and another character.
        composition: bool = "PASSWORD_COMPOSITION", Flag, "False";
        /// How many passwords are hashed at once; `auto` is the number of cores.
        max_concurrent_hashes: usize = "MAX_CONCURRENT_HASHES", HASHES, "auto";
        derived {
            /// What a hash costs.
            argon2: Argon2Cost = Argon2Cost::read;
        }
    }
}

section! {
    /// What an argon2id hash costs (RFC 9106, 3.1). The floors are those of the OWASP Password Storage Cheat Sheet.
    #[derive(Copy, PartialEq, Eq)]
    pub struct Argon2Cost {
        /// Memory of a password hash, in KiB.
        memory_kib: u32 = "ARGON2_MEMORY_KIB", Whole(19456, 1 << 20), "19456";
        /// Passes over the memory.
        iterations: u32 = "ARGON2_ITERATIONS", Whole(2, 10), "2";
        /// Lanes of the memory.
        lanes: u32 = "ARGON2_LANES", Whole(1, 16), "1";
    }
}

/// The settings of passwords.
pub(super) const SETTINGS: [&[super::Setting]; 2] = [Passwords::SETTINGS, Argon2Cost::SETTINGS];

impl Argon2Cost {
    /// Next to nothing: for tests, where thousands of passwords are hashed that guard nothing.
    pub(super) const CHEAP: Self = Self { memory_kib: 64, iterations: 1, lanes: 1 };
}

/// Kind of `PASSWORD_MIN_LENGTH`; the floor is that of NIST SP 800-63B-4, 3.1.1.2, with a second factor.
pub(super) const MIN_LENGTH: Whole<usize> = Whole(8, 128);

const HASHES: Word<usize> = Word {
    accepts: "auto or a whole number from 1 to 1024",
    parse: |text| match text {
        "auto" => Some(std::thread::available_parallelism().map_or(1, usize::from)),
        number => number.parse().ok().filter(|count| (1..=1024).contains(count)),
    },
};
