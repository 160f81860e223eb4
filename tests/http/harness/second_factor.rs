//! Second factors, over HTTP: authenticators as people have them, challenges and their answers.

use std::time::Duration;

use gatehouse::platform::clock::Timestamp;
use serde_json::{Value, json};
use totp_rs::Totp;

use super::{Actor, PASSWORD, Reply, TestApp};

/// How long an authenticator shows a code.
pub const STEP: Duration = Duration::from_secs(30);

/// An app that shows codes.
#[derive(Clone, Debug)]
pub struct Authenticator {
    /// What its QR code said.
    pub uri: String,
}

impl Authenticator {
    /// The code of a moment.
    pub fn code_at(&self, moment: Timestamp) -> String {
        let totp = Totp::from_url(&self.uri).expect("an otpauth URI");
        totp.generate(u64::try_from(moment.seconds()).expect("after 1970")).to_string()
    }

    /// The code of now.
    pub fn code(&self, app: &TestApp) -> String {
        self.code_at(app.clock.now())
    }

    /// A code that nobody has used yet: time goes on by a step.
    pub fn next_code(&self, app: &TestApp) -> String {
        app.clock.advance(STEP);
        self.code(app)
    }

    /// A code that it does not show now, nor near now.
    pub fn wrong_code(&self, app: &TestApp) -> String {
        let now = app.clock.now();
        let near = [now.before(STEP * 2), now.before(STEP), now, now.after(STEP), now.after(STEP * 2)];
        let near = near.map(|moment| self.code_at(moment));
        let wrong = ["000000", "111111", "222222", "333333", "444444", "555555"];
        (*wrong.iter().find(|code| !near.iter().any(|shown| shown == *code)).expect("one is free")).to_owned()
    }
}

/// A right password that was answered by the demand for a second factor.
#[derive(Clone, Debug)]
pub struct Demand {
    /// `otp_token`.
    pub token: String,
    /// `otp_method`.
    pub method: String,
}

impl Demand {
    /// Reads the answer to a sign-in.
    #[track_caller]
    pub fn of(reply: &Reply) -> Self {
        let problem = reply.refused(401, "otp_required").json();
        let text = |member: &str| problem[member].as_str().expect("a text").to_owned();
        Self { token: text("otp_token"), method: text("otp_method") }
    }
}

impl Actor {
    /// What turning on, or off, this second factor with this code answers.
    pub async fn change_method(&self, method: &str, code: &str) -> Reply {
        self.patch(&format!("/api/auth/OTP/{method}")).json(&json!({"otp_code": code})).await
    }

    /// A new authenticator, which waits for its first code.
    pub async fn begin_authenticator(&self) -> Authenticator {
        let begun = self.get("/api/auth/QR").header("accept", "application/json").await.is(200).json();
        Authenticator { uri: begun["uri"].as_str().expect("a URI").to_owned() }
    }

    /// Turns an authenticator on; with its recovery codes. The code of now is used up.
    pub async fn enrol(&self, app: &TestApp) -> (Authenticator, Vec<String>) {
        let authenticator = self.begin_authenticator().await;
        let changed = self.change_method("authenticator", &authenticator.code(app)).await;
        (authenticator, recovery_codes(&changed.is(200).json()))
    }

    /// Turns codes by mail on, at `name@example.com`; with its recovery codes.
    pub async fn enrol_mail(&self, app: &TestApp) -> Vec<String> {
        self.post("/api/auth/OTP/send").await.is(202);
        let code = app.mail_to(&format!("{}@example.com", self.name), "code").await.code();
        recovery_codes(&self.change_method("email", &code).await.is(200).json())
    }

    /// What proving again who one is answers.
    pub async fn reauthenticate(&self, code: Option<&str>) -> Reply {
        let mut proof = json!({"password": PASSWORD});
        if let Some(code) = code {
            proof["otp_code"] = json!(code);
        }
        self.post("/api/auth/reauthenticate").json(&proof).await
    }
}

impl TestApp {
    /// Gives `name`'s password, and is asked for the second factor.
    pub async fn demand(&self, name: &str) -> Demand {
        Demand::of(&self.try_sign_in(name, PASSWORD).await)
    }

    /// What answering a demand answers.
    pub async fn answer(&self, token: &str, code: &str) -> Reply {
        self.post("/api/auth/OTP").json(&json!({"otp_token": token, "otp_code": code})).await
    }

    /// `name` signed in with both factors, in a new session.
    pub async fn sign_in_with(&self, name: &str, code: &str) -> Actor {
        let demand = self.demand(name).await;
        let reply = self.answer(&demand.token, code).await;
        Actor::with_tokens(self, name, &reply.is(200).json())
    }
}

/// The recovery codes of an answer: ten, each another.
pub fn recovery_codes(answer: &Value) -> Vec<String> {
    let codes = answer["recovery_codes"].as_array().expect("recovery codes").iter();
    let codes: Vec<String> = codes.map(|code| code.as_str().expect("a code").to_owned()).collect();
    assert_eq!(codes.iter().collect::<std::collections::BTreeSet<_>>().len(), 10, "{codes:?}");
    codes
}
