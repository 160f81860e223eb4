//! What must hold when things break: the program killed, starved, misled, and cut off from its database.
//!
//! Every test starts the program that cargo has built as a process of its own, on a free port of loopback, with an
//! empty `DATA_DIR`, on SQLite; with `TEST_DATABASE_URL`, on a PostgreSQL database of its own that the program itself
//! has to make. Nothing sleeps until things are surely done: they are asked until they are.
//!
//! | variable | |
//! |---|---|
//! | `FAULT_ROUNDS` | how often the tests that kill by chance do so; the default is made for every day |
//! | `SOAK_SECONDS` | how long the test works that looks at what becomes more and more; half an hour and more also holds its memory |
//! | `MIXED_SECONDS` | how long everything goes wrong in the test of faults that are mixed; 20 by default |
//! | `FAULT_SEED` | repeats the choices of a run that has failed; each run prints its own |
//! | `FAULT_PROGRAM` | another build of the program, such as the release |
//! | `BROKER_AWAY_SECONDS` | how long RabbitMQ is stopped; 2 by default |

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on has failed, and says where"
)]

mod backups;
mod broken;
mod broker;
mod chance;
mod client;
mod cluster;
mod commands;
mod connections;
mod copies;
mod database;
mod disk;
mod gatehouse;
mod interrupted;
mod keys;
mod killed;
mod ledger;
mod locked;
mod migrations;
mod mixed;
mod names;
mod order;
mod outage;
mod pair;
mod policies;
#[path = "../support/port.rs"]
mod port;
mod power;
mod preload;
mod proxy;
mod recording;
mod rolling;
mod soak;
mod starts;
mod stops;
mod together;
mod uploads;
mod waiting;
mod webhooks;
mod wire;
mod workos;
