//! The schema, step by step: one file per step, in plain SQL that both databases understand.
//!
//! `{uuid}`, `{bytes}`, `{key}` (text that sorts by its bytes, so that ranges find prefixes) and `{serial}` (a primary key
//! that counts up, no number twice) stand for types that differ; `{by_key}` behind a table keeps its rows in the order of
//! their key where that is a choice (SQLite: `WITHOUT ROWID`), which spares an index; `{turn}` is m0012's. A statement that
//! begins with `{postgres}` or `{sqlite}` is run there only. Moments are milliseconds since the Unix epoch.
//! A step is never edited after a release; it is followed by another one. New steps only add (expand), and what is
//! no longer used goes a release later (contract), so that two versions can serve side by side.

mod m0001_users;
mod m0002_sessions;
mod m0003_signing_keys;
mod m0004_throttles;
mod m0005_one_time_tokens;
mod m0006_mail;
mod m0007_second_factor;
mod m0008_proofs;
mod m0009_files;
mod m0010_flags;
mod m0011_oauth;
mod m0012_events;
mod m0013_webhooks;
mod m0014_workos;
mod m0015_audit;
mod m0016_backups;
mod m0017_events_aside;
mod m0018_workos_intents;

/// One step of the schema.
pub struct Step {
    /// Its name: number and subject.
    pub name: &'static str,
    /// The lowest program version that can serve on a database with this step.
    pub min_binary: &'static str,
    /// What brings it about.
    pub up: &'static [&'static str],
    /// What undoes it.
    pub down: &'static [&'static str],
}

/// Every step, in order.
pub const STEPS: &[Step] = &[
    m0001_users::STEP,
    m0002_sessions::STEP,
    m0003_signing_keys::STEP,
    m0004_throttles::STEP,
    m0005_one_time_tokens::STEP,
    m0006_mail::STEP,
    m0007_second_factor::STEP,
    m0008_proofs::STEP,
    m0009_files::STEP,
    m0010_flags::STEP,
    m0011_oauth::STEP,
    m0012_events::STEP,
    m0013_webhooks::STEP,
    m0014_workos::STEP,
    m0015_audit::STEP,
    m0016_backups::STEP,
    m0017_events_aside::STEP,
    m0018_workos_intents::STEP,
];
