//! The command line: what `gatehouse` can be asked to do.
//!
//! Commands that need no configuration are done at once; the others get it and go to the module of their subject.

mod archive;
mod audit;
mod backup;
mod check;
mod commands;
mod config;
mod database;
mod hash_secret;
mod output;
mod own;
pub mod prompt;
mod run;
mod serve;
mod workos;

pub use run::main;

use output::{complain, fault, say};
