//! Proofs and ways back by mail: signing up, the proof of an address, the forgotten password, the change of address.

mod address;
mod forgotten;
mod resetting;
mod sign_up;
mod verifying;

/// Another good password.
const OTHER_PASSWORD: &str = "sapphire lantern 88 meadow";
