//! The attack catalogue: what somebody with bad intentions tries, held against the running program over HTTP.
//!
//! Each test is one line of the catalogue, named by its number; where the line speaks of all routes, the routes are
//! read from the OpenAPI document, so that a new one is attacked from its first day. A [`Scene`] has a bystander who
//! must come out of everything unharmed. Races run `ROUNDS` times (or `GATEHOUSE_RACE_ROUNDS`; 50 if unset).

mod between;
mod browser;
mod brute_force;
mod enumeration;
mod fields;
mod forgery;
mod input;
mod late;
mod links;
mod names;
mod naughty;
mod parsing;
mod races;
mod rights;
mod routes;
mod scene;
mod second_factor;
mod sessions;
mod wire;

pub use scene::{Scene, operations, rounds, same, with_ids};
pub use wire::{Answer, Wire};
