//! What every feature stands on and no feature is in.

pub mod causes;
pub mod clock;
pub mod config;
pub mod cron;
pub mod db;
pub mod domains;
pub mod fetch;
pub mod folders;
pub mod freshness;
pub mod hashing;
pub mod hexadecimal;
pub mod listening;
pub mod machine;
pub mod names;
pub mod outgoing;
pub mod part_state;
pub mod priority;
pub mod problem;
pub mod public_address;
pub mod random;
pub mod regular_file;
pub mod secrets;
pub mod shape;
pub mod tasks;
pub mod telemetry;
pub mod web;
