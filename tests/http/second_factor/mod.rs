//! The second factor from inside, on a real database: what the operations of `/auth` stand on.

mod acts;
mod challenges;
mod enrolling;
mod letters;
mod races;
mod required;
