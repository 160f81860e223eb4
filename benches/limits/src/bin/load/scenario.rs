//! What one connection does again and again.

use anyhow::{Context, bail};
use clap::ValueEnum;
use hyper::Method;
use limits::{Chance, id_of, username_of};
use serde_json::{Value, json};

use crate::Options;
use crate::client::{Answer, Ask, Client};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    Ping,
    Validate,
    Me,
    /// A random user by id.
    UserById,
    /// A random user by name.
    UserByName,
    /// The user with a random e-mail address.
    UserByEmail,
    /// The first 20 whose name starts with a random six digits.
    Prefix,
    /// The first hundred.
    List,
    /// A random user signs in.
    Login,
    /// Each connection's session is renewed again and again.
    Refresh,
    /// Each connection changes its own description again and again.
    Patch,
    /// The description of a random user is changed, by nobody in particular: for the limit program `change`.
    BarePatch,
    /// A new user signs up.
    Register,
}

impl Scenario {
    fn needs_session(self) -> bool {
        !matches!(self, Self::Ping | Self::Login | Self::Register | Self::BarePatch)
    }
}

/// One connection and who it is.
pub struct Worker {
    pub client: Client,
    scenario: Scenario,
    number: u32,
    turn: u64,
    chance: Chance,
    session: Session,
    options: Options,
}

#[derive(Default)]
struct Session {
    user_id: String,
    access_token: String,
    refresh_token: String,
}

impl Worker {
    /// A worker that is signed in, where its scenario needs that.
    pub async fn ready(scenario: Scenario, number: u32, options: &Options) -> anyhow::Result<Self> {
        let mut worker = Self {
            client: Client::new(options.address),
            scenario,
            number,
            turn: 0,
            chance: Chance::new(number.into()),
            session: Session::default(),
            options: options.clone(),
        };
        if scenario.needs_session() {
            worker.sign_in().await?;
        }
        Ok(worker)
    }

    async fn sign_in(&mut self) -> anyhow::Result<()> {
        let name = self.options.sign_in_as.clone();
        let name = name.unwrap_or_else(|| username_of(u64::from(self.number) % self.options.users + 1));
        let ask = self.login(&name);
        for _ in 0..100 {
            let answer = self.client.send(&ask).await?;
            match answer.status {
                200 => {
                    self.keep(&answer)?;
                    let me =
                        self.client.send(&Ask::get("/api/user/me").by(&self.session.access_token)).await?;
                    self.session.user_id = field(&me, "uuid")?;
                    return Ok(());
                }
                503 => tokio::time::sleep(std::time::Duration::from_millis(300)).await,
                status => bail!("{name} can't sign in: {status} {}", String::from_utf8_lossy(&answer.body)),
            }
        }
        bail!("the server is too busy to let {name} in");
    }

    fn keep(&mut self, token: &Answer) -> anyhow::Result<()> {
        self.session.access_token = field(token, "access_token")?;
        self.session.refresh_token = field(token, "refresh_token")?;
        Ok(())
    }

    pub fn access_token(&self) -> &str {
        &self.session.access_token
    }

    /// The next request.
    pub fn next(&mut self) -> Ask {
        self.turn += 1;
        let somebody = self.chance.up_to(self.options.users);
        let token = &self.session.access_token;
        match self.scenario {
            Scenario::Ping => Ask::get("/ping"),
            Scenario::Validate => Ask::get("/api/auth/token/validate").by(token),
            Scenario::Me => Ask::get("/api/user/me").by(token),
            Scenario::UserById => Ask::get(format!("/api/user/{}", id_of(somebody))).by(token),
            Scenario::UserByName => Ask::get(format!("/api/user/@{}", username_of(somebody))).by(token),
            Scenario::UserByEmail => {
                Ask::get(format!("/api/user/?q={}%40example.test", username_of(somebody))).by(token)
            }
            Scenario::Prefix => {
                Ask::get(format!("/api/user/?limit=20&q=user_{:06}", somebody / 10)).by(token)
            }
            Scenario::List => Ask::get("/api/user/?limit=100").by(token),
            Scenario::Login => self.login(&username_of(somebody)),
            Scenario::Refresh => {
                let body = json!({ "refresh_token": self.session.refresh_token });
                Ask::json(Method::POST, "/api/auth/token/refresh".into(), &body)
            }
            Scenario::Patch => {
                let body = json!({ "description": format!("turn {} of {}", self.turn, self.number) });
                Ask::json(Method::PATCH, format!("/api/user/{}", self.session.user_id), &body).by(token)
            }
            Scenario::BarePatch => {
                let body = json!({ "description": format!("turn {} of {}", self.turn, self.number) });
                Ask::json(Method::PATCH, format!("/user/{}", id_of(somebody)), &body)
            }
            Scenario::Register => self.register(),
        }
    }

    /// What the next request needs of this answer.
    pub fn learn(&mut self, answer: &Answer) -> anyhow::Result<()> {
        if self.scenario == Scenario::Refresh && answer.status == 200 { self.keep(answer) } else { Ok(()) }
    }

    fn login(&mut self, name: &str) -> Ask {
        let body =
            format!("grant_type=password&username={name}&password={}", encoded(&self.options.password));
        Ask { forwarded_for: Some(self.anywhere()), ..Ask::form("/api/auth/login", body) }
    }

    fn register(&mut self) -> Ask {
        // Unique over runs as well: the number of the process is in it.
        let name = format!("new_{}_{}_{}", std::process::id(), self.number, self.turn);
        let password = &self.options.password;
        let body = json!({
            "username": name, "email": format!("{name}@example.test"),
            "password": password, "confirm_password": password,
        });
        let ask = Ask::json(Method::POST, "/api/auth/register".into(), &body);
        Ask { forwarded_for: Some(self.anywhere()), ..ask }
    }

    /// An address of its own for each sign-in, so that the throttles see many people and not one attacker.
    fn anywhere(&mut self) -> String {
        let [_, a, b, c] = u32::try_from(self.chance.up_to(0xff_ffff)).unwrap_or(0).to_be_bytes();
        format!("10.{a}.{b}.{c}")
    }
}

fn field(answer: &Answer, name: &str) -> anyhow::Result<String> {
    let body: Value = serde_json::from_slice(&answer.body)?;
    let value = body.get(name).and_then(Value::as_str);
    Ok(value.with_context(|| format!("no {name} in {body}"))?.to_owned())
}

/// Percent-encoding of everything that is not a letter or digit.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(byte).collect()
}
