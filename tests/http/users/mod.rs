//! People with an account: `/user`.

mod change;
mod create;
mod delete;
mod history;
mod read;
