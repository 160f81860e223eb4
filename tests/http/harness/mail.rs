//! Mail, as the inbox of `local` shows it: nothing leaves the machine.

use serde_json::{Value, json};

use super::{Reply, TestApp, eventually};

/// A mail.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The one address that it goes to.
    pub to: String,
    /// Which letter it is: the folder of its templates.
    pub letter: String,
    /// Its subject.
    pub subject: String,
    /// What it says.
    pub text: String,
    /// The same as HTML.
    pub html: String,
    /// The links in it.
    pub links: Vec<String>,
}

impl Mail {
    fn read(mail: &Value) -> Self {
        let text = |member: &str| mail[member].as_str().expect("a text").to_owned();
        let links = mail["links"].as_array().expect("links").iter();
        Self {
            to: text("to"),
            letter: text("letter"),
            subject: text("subject"),
            text: text("text"),
            html: text("html"),
            links: links.map(|link| link.as_str().expect("a link").to_owned()).collect(),
        }
    }

    /// The link with a token.
    pub fn link(&self) -> &str {
        let mut with_token = self.links.iter().filter(|link| link.contains("token="));
        let link = with_token.next().unwrap_or_else(|| panic!("no link with a token: {self:?}"));
        assert!(with_token.next().is_none(), "two links with a token: {self:?}");
        link
    }

    /// The token of its link.
    pub fn token(&self) -> String {
        self.link().split_once("token=").expect("a token").1.to_owned()
    }

    /// The code in it: the one line that is all digits.
    pub fn code(&self) -> String {
        let is_code = |line: &&str| line.len() >= 6 && line.bytes().all(|byte| byte.is_ascii_digit());
        let mut codes = self.text.lines().map(str::trim).filter(is_code);
        let code = codes.next().unwrap_or_else(|| panic!("no code: {self:?}"));
        assert!(codes.next().is_none(), "two codes: {self:?}");
        code.to_owned()
    }
}

impl TestApp {
    /// The program with mail on, to be read in its inbox.
    pub async fn with_mail(more: &[(&str, &str)]) -> Self {
        Self::with(&[&[("EMAIL_METHOD", "inbox")], more].concat()).await
    }

    /// The newest mails, the newest first.
    pub async fn inbox(&self) -> Vec<Mail> {
        let mails = self.get("/dev/inbox.json").await.is(200).json();
        mails.as_array().expect("a list").iter().map(Mail::read).collect()
    }

    /// Which letters an address was sent, the newest first.
    pub async fn letters_to(&self, address: &str) -> Vec<String> {
        let mails = self.inbox().await.into_iter();
        mails.filter(|mail| mail.to == address).map(|mail| mail.letter).collect()
    }

    /// The newest of these letters to an address, once there is one.
    pub async fn mail_to(&self, address: &str, letter: &str) -> Mail {
        let newest = || async move {
            self.inbox().await.into_iter().find(|mail| mail.to == address && mail.letter == letter)
        };
        eventually(newest, Option::is_some).await.expect("the letter")
    }

    /// What signing up with this name, address and password answers.
    pub async fn sign_up(&self, name: &str, email: &str, password: &str) -> Reply {
        let registration = json!({
            "username": name, "email": email, "password": password, "confirm_password": password,
        });
        self.post("/api/auth/register").json(&registration).await
    }

    /// What proving an address with the token of a link answers.
    pub async fn verify(&self, token: &str) -> Reply {
        self.post("/api/auth/email/verify").json(&json!({"token": token})).await
    }

    /// What asking for a link to a new password answers; `who` is the name of a field and its value.
    pub async fn forget(&self, who: (&str, &str)) -> Reply {
        self.post("/api/auth/forgot-password/request").json(&json!({who.0: who.1})).await
    }

    /// The token of the link to a new password that somebody asks for by this name.
    pub async fn reset_token(&self, name: &str) -> String {
        self.forget(("username", name)).await.is(202);
        self.mail_to(&format!("{name}@example.com"), "reset").await.token()
    }

    /// What choosing a new password with the token of a link answers.
    pub async fn reset(&self, token: &str, password: &str) -> Reply {
        let body = json!({"token": token, "new_password": password, "confirm_password": password});
        self.post("/api/auth/forgot-password/reset").json(&body).await
    }
}
