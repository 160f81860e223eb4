//! The contract, over real HTTP: every test opens the program on a database of its own and talks to it as clients do.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unchecked_time_subtraction,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests: what can't be done has failed"
)]

mod harness;
#[path = "../support/port.rs"]
mod port;
#[path = "../support/rabbitmq.rs"]
mod rabbitmq;

mod admin;
mod attacks;
mod backups;
mod blocks;
mod canary;
mod clock;
mod database;
mod documentation;
mod events;
mod events_broker;
mod files;
mod flags;
mod front;
mod limits;
mod lists;
mod mail;
mod moves;
mod oauth;
mod openapi;
mod pages;
mod passwords;
mod permissions;
mod pictures;
mod recovery;
mod route_table;
mod second_factor;
mod sessions;
mod setup;
mod sign_in;
mod sign_up;
mod telemetry;
mod the_harness;
mod tokens;
mod users;
mod webhooks;
mod workos;
