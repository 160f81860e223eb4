//! The pages in a browser: Chromium, driven over `WebDriver`, against the program that the tests over HTTP open as well.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests: what can't be done has failed"
)]

#[expect(dead_code, unused_imports, reason = "made for the tests over HTTP, which use all of it")]
#[path = "../http/harness/mod.rs"]
mod harness;

mod account;
mod browser;
mod console;
mod door;
mod driver;
mod looks;
