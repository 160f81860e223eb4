//! The secret that signs what a webhook is sent.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

use crate::platform::clock::Timestamp;
use crate::platform::random::Random;
use crate::platform::secrets::{CannotOpen, Secrets};

/// Sealed secrets of webhooks open as nothing else.
const PURPOSE: &str = "webhook secret";
/// What the specification has a secret begin with.
const PREFIX: &str = "whsec_";
/// It asks for 24 to 64 bytes.
const LENGTH: usize = 32;

/// A secret. It can't be printed and is wiped from memory when dropped.
pub(super) struct SigningSecret(Zeroizing<Vec<u8>>);

impl SigningSecret {
    /// A new one.
    pub(super) fn new(random: &Random) -> Self {
        Self(Zeroizing::new(random.bytes::<LENGTH>().to_vec()))
    }

    /// As its receiver is told: once.
    pub(super) fn text(&self) -> SecretString {
        let mut encoded = STANDARD.encode(&*self.0);
        let text = SecretString::from(format!("{PREFIX}{encoded}"));
        encoded.zeroize();
        text
    }

    /// One signature, as it stands in `webhook-signature`.
    pub(super) fn sign(&self, id: Uuid, at: Timestamp, body: &[u8]) -> String {
        self.sign_as(&id.to_string(), at, body)
    }

    fn sign_as(&self, id: &str, at: Timestamp, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        context.update(format!("{id}.{}.", at.seconds()).as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }

    /// Sealed for the row of its webhook.
    pub(super) fn seal(&self, secrets: &Secrets, random: &Random, webhook: Uuid) -> Vec<u8> {
        secrets.seal(random, PURPOSE, webhook.as_bytes(), &self.0)
    }

    /// What was sealed for the row of a webhook.
    pub(super) fn open(secrets: &Secrets, webhook: Uuid, sealed: &[u8]) -> Result<Self, CannotOpen> {
        secrets.open(PURPOSE, webhook.as_bytes(), sealed).map(Self)
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SigningSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    /// Of the specification's own libraries; `standardwebhooks` 1.1.0 for Python signs this so.
    #[test]
    fn it_signs_as_the_specification_says() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let secret = SigningSecret(Zeroizing::new(key));
        let at = Timestamp::from_seconds(1_614_265_330);
        let signature = secret.sign_as("msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn it_opens_for_its_own_webhook_only_and_is_told_in_the_usual_form() {
        let (secrets, random) = (Secrets::new(&[7; 32], &[]), Random::seeded(1));
        let (secret, webhook) = (SigningSecret::new(&random), Uuid::from_u128(1));
        let sealed = secret.seal(&secrets, &random, webhook);
        assert_eq!(SigningSecret::open(&secrets, webhook, &sealed).unwrap().0, secret.0);
        assert!(SigningSecret::open(&secrets, Uuid::from_u128(2), &sealed).is_err());
        let text = secret.text();
        let bytes = STANDARD.decode(text.expose_secret().strip_prefix("whsec_").unwrap()).unwrap();
        assert_eq!((bytes.len(), bytes.as_slice()), (32, secret.0.as_slice()));
        assert_eq!(format!("{secret:?}"), "SigningSecret(…)");
    }
}
