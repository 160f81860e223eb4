//! Handing mails to Mailjet (Send API v3.1).

use std::time::Duration;

use lettre::message::Mailbox;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::delivery::{Outgoing, Undelivered, sender};
use crate::platform::causes::causes;
use crate::platform::config;
use crate::platform::outgoing::{self, NoClient};

/// More of an answer is not read.
const LONGEST_ANSWER: usize = 64 * 1024;

/// An account at Mailjet.
pub(super) struct Mailjet {
    client: Client,
    url: Url,
    public_key: String,
    private_key: SecretString,
    from: Mailbox,
}

impl Mailjet {
    pub(super) fn open(
        settings: &config::Mailjet,
        project_name: &str,
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        let client = outgoing::basic().timeout(timeout).build().map_err(NoClient::from)?;
        let base = settings.base_url.as_str().trim_end_matches('/');
        Ok(Self {
            client,
            url: format!("{base}/v3.1/send").parse()?,
            public_key: settings.public_key.clone(),
            private_key: settings.private_key.clone(),
            from: sender(project_name, &settings.sender)?,
        })
    }

    pub(super) async fn hand_over(&self, mail: Outgoing) -> Result<(), Undelivered> {
        let request = self
            .client
            .post(self.url.clone())
            .basic_auth(&self.public_key, Some(self.private_key.expose_secret()))
            .header(CONTENT_TYPE, "application/json")
            .body(self.body(&mail).to_string());
        // An error shows the address of the request, which holds no secret.
        let answer = request.send().await.map_err(|error| Undelivered::passing(chain(&error)))?;
        let status = answer.status();
        let answer = read(answer).await;
        judge(status, &answer)
    }

    /// One message to one recipient. Clicks are not tracked: the links in mails would lead through Mailjet first.
    fn body(&self, mail: &Outgoing) -> Value {
        let Outgoing { id, to, letter, .. } = mail;
        json!({ "Messages": [{
            "From": { "Email": self.from.email.to_string(), "Name": self.from.name },
            "To": [{ "Email": to }],
            "Subject": letter.subject,
            "TextPart": letter.text,
            "HTMLPart": letter.html,
            "CustomID": id,
            "Headers": { "Auto-Submitted": "auto-generated" },
            "TrackClicks": "disabled",
            "TrackOpens": "disabled",
        }] })
    }
}

/// As much of the answer as is looked at.
async fn read(mut answer: Response) -> Value {
    let mut bytes = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        bytes.extend_from_slice(&piece);
        if bytes.len() > LONGEST_ANSWER {
            break;
        }
    }
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// What Mailjet's answer means. A key that is refused can be mended; a message that is refused will be refused again.
fn judge(status: StatusCode, answer: &Value) -> Result<(), Undelivered> {
    let message = &answer["Messages"][0];
    if status.is_success() && message["Status"] == "success" {
        return Ok(());
    }
    let code = message["Errors"][0]["ErrorCode"].as_str().or_else(|| answer["ErrorIdentifier"].as_str());
    let words = format!("Mailjet: {} {}", status.as_u16(), code.unwrap_or_default());
    let words = words.trim_end();
    let is_about_the_mail =
        matches!(status.as_u16(), 200..=299 | 400 | 404 | 413 | 422) && message.is_object();
    Err(if is_about_the_mail { Undelivered::lasting(words) } else { Undelivered::passing(words) })
}

fn chain(error: &reqwest::Error) -> String {
    std::iter::once("Mailjet".to_owned())
        .chain(causes(error).map(ToString::to_string))
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mailjet_answers_is_told_apart() {
        let of = |status: u16, answer: Value| judge(StatusCode::from_u16(status).unwrap(), &answer);
        let failed = json!({"Messages": [{"Status": "error", "Errors": [{"ErrorCode": "mj-0013"}]}]});
        assert_eq!(of(200, json!({"Messages": [{"Status": "success"}]})), Ok(()));
        assert_eq!(of(400, failed.clone()), Err(Undelivered::lasting("Mailjet: 400 mj-0013")));
        assert_eq!(of(200, failed), Err(Undelivered::lasting("Mailjet: 200 mj-0013")));
        for passing in [401, 403, 429, 500, 503, 301] {
            assert!(!of(passing, json!({"ErrorMessage": "x"})).unwrap_err().lasting, "{passing}");
        }
        assert!(!of(200, Value::Null).unwrap_err().lasting, "an answer that can't be read");
    }
}
