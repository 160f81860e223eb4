//! The second factor over HTTP.

mod by_mail;
mod changing;
mod enrolling;
mod pages;
mod recovery_codes;
mod required;
mod signing_in;
