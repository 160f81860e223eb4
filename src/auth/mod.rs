//! The door: sign-up, sign-in, passwords, throttles, first start.
