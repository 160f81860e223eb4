//! WorkOS, where it keeps the directory of users.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::catalogue::section;
use super::kinds::{Flag, Optional, Secret, TEXT, Word, seconds};
use super::oauth::check_place;
use super::reader::Reader;
use super::server::WEB_ADDRESS;

section! {
    /// WorkOS.
    pub struct Workos {
        /// Key of the environment at WorkOS whose users are the users here. Unset: WorkOS has no part in anything.
        api_key: Option<SecretString> = "WORKOS_API_KEY", Optional(HEADER_SECRET), "";
        /// Id of the client at WorkOS that the key belongs to; `gatehouse check` names it.
        client_id: Option<String> = "WORKOS_CLIENT_ID", Optional(TEXT), "";
        /// Whether the server follows the directory itself; otherwise `gatehouse workos-sync` does, as a process of its own.
        sync_in_process: bool = "WORKOS_SYNC_IN_PROCESS", Flag, "True";
        /// How often WorkOS is asked for what is new, in seconds.
        interval: Duration = "WORKOS_SYNC_INTERVAL_SECONDS", seconds(1, 3600), "5";
        /// How long one answer of WorkOS is waited for, in seconds.
        request_timeout: Duration = "WORKOS_REQUEST_TIMEOUT_SECONDS", seconds(1, 60), "10";
        /// Where WorkOS is; for tests and proxies.
        base_url: Url = "WORKOS_BASE_URL", WEB_ADDRESS, "https://api.workos.com";
        /// Secret of the webhook endpoint at WorkOS that leads to `POST /workos/webhook`. Unset: there is no such operation.
        webhook_secret: Option<SecretString> = "WORKOS_WEBHOOK_SECRET", Optional(HEADER_SECRET), "";
    }
}

const HEADER_SECRET: Secret<Word<SecretString>> = Secret(Word {
    accepts: "text of visible ASCII characters",
    parse: |text| text.bytes().all(|byte| byte.is_ascii_graphic()).then(|| SecretString::from(text)),
});

/// The key goes only to whoever is WorkOS.
pub(super) fn check_workos(workos: &Workos, reader: &mut Reader) {
    if workos.api_key.is_some() && check_place("WORKOS_BASE_URL", &workos.base_url, reader).is_err() {
        return;
    }
    if workos.api_key.is_none() && workos.webhook_secret.is_some() {
        reader.warn("WORKOS_WEBHOOK_SECRET does nothing without WORKOS_API_KEY");
    }
}
