//! Posting: what goes into the queue.

use std::time::Duration;

use sea_orm::DbErr;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Mail;
use super::letter::{Budget, Languages, Letter, Occasion, Post};
use super::store::{self, NewMail, State};
use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;
use crate::platform::web::ClientInfo;

/// Sealed contents of mails open as nothing else.
const PURPOSE: &str = "mail";
/// Letters that strangers may have sent to an address within [`HOUR`].
const HOUR: Duration = Duration::from_hours(1);
/// What samples of letters are counted under.
const SAMPLES: Budget = Budget { name: "sample budget", most: 5 };
/// What letters are counted under that people ask for who are known to be at home in the account.
const AT_HOME: Budget = Budget { name: "budget of those at home", most: 5 };
/// As long as what a usual letter holds.
const USUAL_LENGTH: usize = 320;
/// For how long finished mails are kept: sent ones, and those that came to nothing.
const KEEP_SENT: Duration = Duration::from_hours(7 * 24);
const KEEP_LOST: Duration = Duration::from_hours(30 * 24);

/// What a mail's row holds, sealed: the values that the templates show, and what caused it.
#[derive(Serialize, Deserialize)]
pub(super) struct Content {
    pub values: Map<String, Value>,
    pub occasion: Value,
}

impl Mail {
    /// Queues a letter in the transaction of the act that causes it. `None` when mail is off, or when the address has
    /// had as many letters of the kind as an hour allows; the same work is done then, and nobody can tell.
    pub async fn post_in(&self, tx: &Tx, post: Post) -> Result<Option<Uuid>, DbErr> {
        let budget = post.letter.budget();
        self.post_within(tx, post, budget).await
    }

    /// The same for somebody who is known to be at home in the account that the letter concerns: what strangers have sent
    /// to its address does not count.
    pub async fn post_to_known_in(&self, tx: &Tx, post: Post) -> Result<Option<Uuid>, DbErr> {
        let budget = post.letter.budget().map(|_| AT_HOME);
        self.post_within(tx, post, budget).await
    }

    async fn post_within(&self, tx: &Tx, post: Post, budget: Option<Budget>) -> Result<Option<Uuid>, DbErr> {
        if !self.is_on() {
            return Ok(None);
        }
        let now = self.0.clock.now();
        if let Some(budget) = budget
            && !self.spend(tx, budget, &post.to, now).await?
        {
            self.throw_away(tx, now).await?;
            return Ok(None);
        }
        let Post { to, user_id, languages, letter, good_until, occasion } = post;
        let content = Content {
            values: letter.values(&self.0.links),
            occasion: if letter.tells_occasion() { occasion.kept() } else { Value::Null },
        };
        let id = self.0.ids.next(&self.0.random, now);
        let mail = NewMail {
            recipient: to,
            user_id,
            letter: letter.name(),
            language: self.0.templates.language(letter.name(), &languages),
            content: Some(self.seal(id, &content)?),
            good_until: good_until.map(Timestamp::millis),
            trace_id: occasion.trace_id,
            ..NewMail::at(id, now)
        };
        store::insert(tx, mail).await?;
        tx.wake(&self.0.queued);
        Ok(Some(id))
    }

    /// The same work for nobody, so that a reader of clocks does not learn whether there was somebody to write to.
    pub async fn pretend_in(&self, tx: &Tx) -> Result<(), DbErr> {
        if !self.is_on() {
            return Ok(());
        }
        let now = self.0.clock.now();
        let nobody: [u8; 32] = self.0.random.bytes();
        store::spend(tx, &nobody, SAMPLES.most, now, HOUR).await?;
        self.throw_away(tx, now).await
    }

    /// Queues a sample of a letter, as staff may have sent to any address. `None` as for [`Mail::post_in`], but counted
    /// apart: staff must not be able to use up what the owner of the address may have sent.
    pub async fn post_sample(
        &self,
        to: String,
        letter: Letter,
        client: &ClientInfo,
        now: Timestamp,
    ) -> Result<Option<Uuid>, DbErr> {
        let occasion = Occasion::of(client, now);
        let post =
            Post { to, user_id: None, languages: Languages::default(), letter, good_until: None, occasion };
        let mail = self.clone();
        let budget = post.letter.budget().map(|_| SAMPLES);
        self.0.db.write(move |tx| Box::pin(async move { mail.post_within(tx, post, budget).await })).await
    }

    /// Whether the address may get one more letter of this budget. Counted at once.
    async fn spend(&self, tx: &Tx, budget: Budget, address: &str, now: Timestamp) -> Result<bool, DbErr> {
        let key = self.0.secrets.mac(budget.name, &[address.as_bytes()]);
        store::spend(tx, &key, budget.most, now, HOUR).await
    }

    /// A row that nobody sends.
    async fn throw_away(&self, tx: &Tx, now: Timestamp) -> Result<(), DbErr> {
        let id = self.0.ids.next(&self.0.random, now);
        let nothing = vec![0; USUAL_LENGTH];
        let mail = NewMail {
            state: State::Nobody,
            // As long as an address, and none.
            recipient: "nobody@nowhere.invalid".to_owned(),
            letter: "nobody",
            language: self.0.templates.language("nobody", &Languages::default()),
            content: Some(self.0.secrets.seal(&self.0.random, PURPOSE, id.as_bytes(), &nothing)),
            ..NewMail::at(id, now)
        };
        store::insert(tx, mail).await?;
        tx.wake(&self.0.queued);
        Ok(())
    }

    /// The sealed content of the mail, or batch of mails, with this id.
    pub(super) fn seal(&self, id: Uuid, content: &Content) -> Result<Vec<u8>, DbErr> {
        let plain = serde_json::to_vec(content).map_err(|error| DbErr::Custom(error.to_string()))?;
        let plain = Zeroizing::new(plain);
        Ok(self.0.secrets.seal(&self.0.random, PURPOSE, id.as_bytes(), &plain))
    }

    /// What was sealed for the mail or batch with this id.
    pub(super) fn open_content(&self, id: Uuid, sealed: &[u8]) -> anyhow::Result<Content> {
        let plain = self.0.secrets.open(PURPOSE, id.as_bytes(), sealed)?;
        Ok(serde_json::from_slice(&plain)?)
    }

    /// Forgets mails that were finished long ago, and budgets that are whole again.
    pub async fn sweep(&self) -> Result<(), DbErr> {
        let now = self.0.clock.now();
        let sent = now.before(KEEP_SENT);
        let lost = now.before(KEEP_LOST);
        let forget = self.0.db.write_in_steps(move |tx, most| {
            Box::pin(async move {
                let mut forgotten = store::forget(tx, &[State::Nobody], now, most).await?;
                forgotten += store::forget(tx, &[State::Sent], sent, most).await?;
                forgotten += store::forget(tx, &[State::Expired, State::Dead], lost, most).await?;
                forgotten += store::forget_batches(tx, lost, most).await?;
                forgotten += store::forget_budgets(tx, now.before(HOUR), most).await?;
                Ok::<_, DbErr>(forgotten)
            })
        });
        forget.await
    }
}
