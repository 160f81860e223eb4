//! The acts of the second factor, each in a transaction of its own, and the app on somebody's telephone.

use std::time::Duration;

use futures_util::FutureExt;
use gatehouse::app::App;
use gatehouse::otp::{Answer, Challenge, Code, FirstFactor, Seed, Used, Waiting};
use gatehouse::platform::clock::Clock;
use gatehouse::sessions::{Kind, OneTimeToken};
use sea_orm::{ConnectionTrait, DbErr, Statement};
use secrecy::ExposeSecret;
use serde_json::json;
use totp_rs::Totp;
use uuid::Uuid;

use crate::harness::{Actor, TestApp};

/// How long an authenticator shows a code.
pub const STEP: Duration = Duration::from_secs(30);

/// Acts in a transaction, on the account as it was read before that.
macro_rules! act {
    ($acts:ident, $who:ident, |$otp:ident, $tx:ident, $user:ident| $act:expr) => {{
        let $otp = $acts.app.otp.clone();
        let $user = $acts.app.users.by_id($who).await.expect("an answer").expect("an account");
        let done = $acts.app.db.write::<_, DbErr, _>(move |$tx| async move { $act.await }.boxed());
        done.await.expect("an act that is done")
    }};
}

/// The acts.
#[derive(Clone)]
pub struct Acts {
    app: Box<App>,
}

impl Acts {
    /// On this program.
    pub fn of(app: &TestApp) -> Self {
        Self { app: app.inside.clone() }
    }

    /// What was typed.
    pub fn code(&self, typed: &str) -> Code {
        self.app.otp.read_code(typed).unwrap_or_else(|| panic!("{typed} is no code"))
    }

    /// Begins to enrol an authenticator.
    pub async fn begin(&self, who: Uuid) -> Authenticator {
        let seed: Seed = act!(self, who, |otp, tx, user| otp.begin_authenticator_in(tx, &user));
        Authenticator::scanning(&seed, &self.app.clock)
    }

    /// Ends it with a code; the recovery codes, if it was right.
    pub async fn confirm(&self, who: Uuid, typed: &str) -> Option<Vec<String>> {
        let code = self.code(typed);
        let codes = act!(self, who, |otp, tx, user| otp.confirm_authenticator_in(tx, &user, &code));
        codes.map(|codes| codes.iter().map(|code| code.text().to_string()).collect())
    }

    /// Both.
    pub async fn enrol(&self, who: Uuid) -> (Authenticator, Vec<String>) {
        let authenticator = self.begin(who).await;
        let codes = self.confirm(who, &authenticator.code(0)).await.expect("the right code");
        self.app.clock.advance(STEP); // the first code is used up
        (authenticator, codes)
    }

    /// The code that a session is sent.
    pub async fn send_to_session(&self, who: Uuid, session: Uuid) -> String {
        let code = act!(self, who, |otp, tx, user| otp.enrol_code_in(tx, &user, session));
        code.code.expose_secret().to_owned()
    }

    /// Chooses e-mail; the recovery codes, if the code was right.
    pub async fn confirm_email(&self, who: Uuid, session: Uuid, typed: &str) -> Option<Vec<String>> {
        let code = self.code(typed);
        let codes = act!(self, who, |otp, tx, user| otp.confirm_email_in(tx, &user, session, &code));
        codes.map(|codes| codes.iter().map(|code| code.text().to_string()).collect())
    }

    /// The whole way to e-mail as second factor.
    pub async fn enrol_email(&self, who: &Actor) -> Vec<String> {
        let code = self.send_to_session(who.id, who.session()).await;
        self.confirm_email(who.id, who.session(), &code).await.expect("the right code")
    }

    /// Proves the second factor while signed in.
    pub async fn check(&self, who: Uuid, session: Uuid, typed: &str) -> Option<Used> {
        let code = self.code(typed);
        act!(self, who, |otp, tx, user| otp.check_in(tx, &user, session, &code))
    }

    /// Gives the second factor up.
    pub async fn turn_off(&self, who: Uuid) {
        act!(self, who, |otp, tx, user| otp.turn_off_in(tx, &user));
    }

    /// New recovery codes.
    pub async fn replace_recovery_codes(&self, who: Uuid) -> Vec<String> {
        let codes = act!(self, who, |otp, tx, user| otp.replace_recovery_codes_in(tx, &user));
        codes.iter().map(|code| code.text().to_string()).collect()
    }

    /// How many recovery codes are left.
    pub async fn recovery_codes_left(&self, who: Uuid) -> u64 {
        let user = self.app.users.by_id(who).await.expect("an answer").expect("an account");
        self.app.otp.recovery_codes_left(self.app.db.reader(), &user).await.expect("an answer")
    }

    /// The first factor was given.
    pub async fn challenge(&self, who: Uuid) -> Challenge {
        let first = FirstFactor { kind: Kind::Token, amr: "pwd".to_owned() };
        act!(self, who, |otp, tx, user| otp.challenge_in(tx, &user, first))
    }

    /// The second is given.
    pub async fn answer(&self, who: Uuid, token: &OneTimeToken, typed: &str) -> Answer {
        let (code, token) = (self.code(typed), token.clone());
        act!(self, who, |otp, tx, user| otp.answer_in(tx, &token, &user, &code))
    }

    /// Another code for a challenge.
    pub async fn another_code(&self, who: Uuid, token: &OneTimeToken) -> Option<String> {
        let token = token.clone();
        let code = act!(self, who, |otp, tx, _user| otp.another_code_in(tx, &token));
        code.map(|code| code.code.expose_secret().to_owned())
    }

    /// The challenge, if it waits.
    pub async fn waiting(&self, token: &OneTimeToken) -> Option<Waiting> {
        self.app.otp.waiting(self.app.db.reader(), token).await.expect("an answer")
    }

    /// The number that this query gives.
    pub async fn number(&self, sql: &str) -> i64 {
        let reader = self.app.db.reader();
        let statement = Statement::from_string(reader.get_database_backend(), sql);
        let row = reader.query_one_raw(statement).await.expect("an answer").expect("a row");
        row.try_get_by_index(0).expect("a number")
    }

    /// The bytes in the rows that this query gives.
    pub async fn bytes(&self, sql: &str) -> Vec<Vec<u8>> {
        let reader = self.app.db.reader();
        let statement = Statement::from_string(reader.get_database_backend(), sql);
        let rows = reader.query_all_raw(statement).await.expect("an answer");
        rows.iter().map(|row| row.try_get_by_index(0).expect("bytes")).collect()
    }

    /// Changes the rows as somebody who has the database could.
    pub async fn tamper(&self, sql: &'static str) {
        let done = self.app.db.write::<_, DbErr, _>(move |tx| {
            async move { tx.execute_unprepared(sql).await.map(|_| ()) }.boxed()
        });
        done.await.expect("a change");
    }

    /// Rows in all tables of the second factor.
    pub async fn rows(&self) -> i64 {
        self.number(
            "SELECT (SELECT COUNT(*) FROM second_factors) + (SELECT COUNT(*) FROM recovery_codes) \
             + (SELECT COUNT(*) FROM otp_challenges) + (SELECT COUNT(*) FROM otp_session_codes)",
        )
        .await
    }
}

/// An app that has scanned a QR code.
#[derive(Clone)]
pub struct Authenticator {
    totp: Totp,
    clock: Clock,
}

impl Authenticator {
    /// It reads the URI.
    pub fn scanning(seed: &Seed, clock: &Clock) -> Self {
        let totp = Totp::from_url(seed.uri.expose_secret()).expect("a URI that apps understand");
        Self { totp, clock: clock.clone() }
    }

    /// What it shows so many steps from now.
    pub fn code(&self, steps: i64) -> String {
        let seconds = self.clock.now().seconds() + steps * 30;
        self.totp.generate(seconds.try_into().expect("after 1970")).to_string()
    }

    /// What it does not show about now, the same each time.
    pub fn wrong(&self) -> String {
        let shown: Vec<String> = (-3..=3).map(|steps| self.code(steps)).collect();
        let codes = (0..10).map(|number| format!("{number:06}"));
        codes.into_iter().find(|code| !shown.contains(code)).expect("ten are more than seven")
    }

    /// The seed itself.
    pub fn seed(&self) -> Vec<u8> {
        self.totp.secret().as_bytes().to_vec()
    }
}

/// A code that is not this one.
pub fn other_than(code: &str) -> String {
    if code == "000000" { "000001".to_owned() } else { "000000".to_owned() }
}

/// Somebody whose address is proved.
pub async fn somebody(app: &TestApp, name: &str) -> Actor {
    let user = app.user(name).await;
    app.admin().await.patch(&user.path()).json(&json!({"email_verified": true})).await.is(200);
    user
}
