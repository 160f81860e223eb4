//! What those who look after the program are told of it, and of the machine that it runs on.
//!
//! No host, path, account or address is in it, no file of a repository is read, and no other program is run: what is
//! shown is of no use elsewhere, and asking often costs next to nothing.

use std::time::Duration;

use poem_openapi::Object;
use serde::Serialize;

use crate::platform::clock::Timestamp;
use crate::platform::machine::Memory;

/// The machine, as far as the system tells of it, and how long the program has run on it.
#[derive(Debug, Serialize, Object)]
pub struct Machine {
    /// The operating system, such as `linux`.
    pub os: String,
    /// What its processors are, such as `x86_64`.
    pub architecture: String,
    /// How many processors the program may use at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub processors: Option<u64>,
    /// The machine's memory, in bytes. Told on Linux only, as are the next two.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub memory_total: Option<u64>,
    /// What programs can have of it before others must give some back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub memory_available: Option<u64>,
    /// What this program holds of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub memory_of_process: Option<u64>,
    /// When the program began, in seconds since the Unix epoch.
    pub started_at: i64,
    /// How long it has run, in seconds.
    pub uptime_seconds: u64,
}

impl Machine {
    /// As it is now. It reads files of the system.
    pub(super) fn look(begun: Timestamp, up: Duration) -> Self {
        let Memory { total, available, resident } = Memory::look();
        let processors = std::thread::available_parallelism().ok();
        Self {
            os: std::env::consts::OS.to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            processors: processors.and_then(|count| u64::try_from(count.get()).ok()),
            memory_total: total,
            memory_available: available,
            memory_of_process: resident,
            started_at: begun.seconds(),
            uptime_seconds: up.as_secs(),
        }
    }
}

/// Which program this is, by its own manifest.
#[derive(Debug, Serialize, Object)]
pub struct Repository {
    /// The program's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence, in the words of SPDX.
    pub license: String,
    /// Where its source is, if the manifest says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub repository: Option<String>,
}

impl Repository {
    /// This program's.
    pub(super) fn own() -> Self {
        let [name, version, license] =
            [env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_LICENSE")].map(str::to_owned);
        // cargo gives an empty text for what the manifest does not say.
        let repository = Some(env!("CARGO_PKG_REPOSITORY")).filter(|address| !address.is_empty());
        Self { name, version, license, repository: repository.map(str::to_owned) }
    }
}
