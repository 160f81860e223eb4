//! `gatehouse hash-secret`: a service's secret goes in, the hash for `SERVICE_CLIENTS` comes out.

use std::io::{self, ErrorKind};

use secrecy::ExposeSecret;

use super::prompt;
use crate::platform::config::hash_of_secret;

/// Shorter secrets could be guessed from their hash, which is made to be fast.
const SHORTEST: usize = 32;

/// The hash of the secret on standard input, as a line.
pub(super) fn hash() -> io::Result<String> {
    let secret = prompt::secret("Secret of the service: ")?;
    let secret = secret.expose_secret();
    if secret.len() < SHORTEST {
        let words =
            format!("the secret must have {SHORTEST} characters or more; `openssl rand -hex 32` makes one");
        return Err(io::Error::new(ErrorKind::InvalidInput, words));
    }
    Ok(format!("{}\n", hash_of_secret(secret.as_bytes())))
}
