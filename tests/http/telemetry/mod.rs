//! What the program tells of itself: measurements, spans, files of the log.

pub mod collector;
mod deploy;
mod files;
mod measures;
mod security;
mod spans;
