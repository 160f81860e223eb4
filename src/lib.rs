//! Gatehouse gives an application its users. This file is the map: one line per feature, in the order in
//! which they may know each other (a feature looks only at those before it; `tests/architecture.rs` holds this).

#[path = "../migrations/mod.rs"]
pub mod migrations;
pub mod platform; // configuration, clock, chance, database, secrets, problems, telemetry: knows no feature
pub mod audit; // what staff did: a chain of rows, in which nothing can be changed unseen
pub mod events; // what other systems are told: the outbox, one event for each change, in its transaction
pub mod sessions; // who is calling: sessions, access and refresh tokens, signing keys
pub mod permissions; // who may do what: Cedar policies, decisions and their explanation
pub mod rate_limit; // how often clients may do something: buckets in memory or in Redis
pub mod flags; // what is switched on, and for whom: the file of flags, the gate before every operation, OFREP
pub mod users; // people with an account: rules and rows
pub mod files; // files that people upload, and the bytes that belong to them
pub mod pictures; // profile pictures: what people choose, made safe, and what is drawn for who has none
pub mod mail; // letters to people: queue, templates, delivery
pub mod webhooks; // events for other systems over HTTP: signed, in order, tried again for three days
pub mod proofs; // mailed links: whose an address is, and who may choose a new password
pub mod otp; // the second factor: authenticators, codes by e-mail, recovery codes, challenges
pub mod oauth; // signing in through other providers
pub mod workos; // the directory of users at WorkOS: followed here, event by event
pub mod profiles; // owns `/user`: what is shown of a person, and to whom
pub mod auth; // the door: sign-up, sign-in, passwords, throttles, first start
pub mod archive; // data moves: everything into a file, and back out of one, whichever database it is
pub mod admin; // the admin's tools: who may do what, and why; letters to people
pub mod pages; // pages for people
pub mod server; // the front: accept loop, limits, headers, documentation pages
pub mod app; // builds every feature once, in order; starts and stops the background work
pub mod cli; // the command line: what `gatehouse` can be asked to do
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing; // what must hold of the parsers whatever strangers send: for `fuzz/`, and for the tests
