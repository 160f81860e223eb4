//! The second factor: from inside, on a real database, what the operations of `/auth` stand on; and at the door, over
//! HTTP, what people and programs get to see of it.

mod acts;
mod challenges;
mod door;
mod enrolling;
mod letters;
mod races;
mod required;
