//! Letters to many. What they say is kept once; each reader has a row of their own.
//!
//! A letter to all is queued in steps, each one transaction that also moves the batch's mark on: a crash in between
//! repeats nothing and leaves nobody out.

use std::time::Duration;

use sea_orm::DbErr;
use serde_json::Value;
use uuid::Uuid;

use super::Mail;
use super::letter::{Languages, Letter};
use super::rules::Content;
use super::store::{self, BatchState, NewBatch, NewMail};
use crate::audit::{Entry, Subject};
use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;
use crate::users::store::{Reachable, reachable_after};

/// People whom one transaction queues a letter for.
const STEP: usize = 500;
/// How often is looked whether another instance has begun a batch, or a batch has come to its end.
const EVERY: Duration = Duration::from_secs(1);

/// An admin's letter.
#[derive(Clone, Debug)]
pub struct Circular {
    /// One line.
    pub subject: String,
    /// As text; made of the HTML if empty.
    pub text: String,
    /// As HTML; made of the text if there is none.
    pub html: Option<String>,
    /// Who sends it.
    pub by: Uuid,
    /// The request that it came with.
    pub trace_id: Option<String>,
}

impl Mail {
    /// Queues an admin's letter to these addresses; the ids of the mails, in the same order.
    pub async fn send_to(&self, circular: Circular, recipients: Vec<String>) -> Result<Vec<Uuid>, DbErr> {
        let now = self.0.clock.now();
        let count = i64::try_from(recipients.len()).unwrap_or(i64::MAX);
        let batch = self.new_batch(&circular, BatchState::Sending, count, now)?;
        let readers = recipients.into_iter().map(|address| (address, None, Languages::default()));
        let mails: Vec<NewMail> =
            readers.map(|reader| self.of_batch(batch.id, batch.trace_id.clone(), reader, now)).collect();
        let ids = mails.iter().map(|mail| mail.id).collect();
        let entry = Entry::by(circular.by, "letter_sent", Subject::Letter(Some(batch.id)));
        let entry = entry.with("recipients", count);
        let mail = self.clone();
        let posting = self.0.db.write(move |tx| {
            Box::pin(async move {
                store::insert_batch(tx, batch).await?;
                store::insert_all(tx, mails).await?;
                tx.wake(&mail.0.queued);
                mail.0.audit.record(tx, entry).await?;
                Ok::<_, DbErr>(())
            })
        });
        posting.await?;
        Ok(ids)
    }

    /// Begins an admin's letter to everybody who is active and has an address; the batch's id.
    pub async fn send_to_all(&self, circular: Circular) -> Result<Uuid, DbErr> {
        let batch = self.new_batch(&circular, BatchState::Queueing, 0, self.0.clock.now())?;
        let (id, mail) = (batch.id, self.clone());
        let entry = Entry::by(circular.by, "letter_sent_to_all", Subject::Letter(Some(id)));
        let beginning = self.0.db.write(move |tx| {
            Box::pin(async move {
                store::insert_batch(tx, batch).await?;
                tx.wake(&mail.0.begun);
                mail.0.audit.record(tx, entry).await?;
                Ok::<_, DbErr>(())
            })
        });
        beginning.await?;
        Ok(id)
    }

    fn new_batch(
        &self,
        circular: &Circular,
        state: BatchState,
        recipients: i64,
        now: Timestamp,
    ) -> Result<NewBatch, DbErr> {
        let id = self.0.ids.next(&self.0.random, now);
        let letter = Letter::Custom {
            subject: circular.subject.clone(),
            text: circular.text.clone(),
            html: circular.html.clone(),
        };
        let content = Content { values: letter.values(&self.0.links), occasion: Value::Null };
        Ok(NewBatch {
            id,
            state,
            content: self.seal(id, &content)?,
            recipients,
            created_by: circular.by,
            created_at: now.millis(),
            trace_id: circular.trace_id.clone(),
        })
    }

    /// One mail of a batch.
    fn of_batch(
        &self,
        batch: Uuid,
        trace_id: Option<String>,
        (recipient, user_id, languages): (String, Option<Uuid>, Languages),
        now: Timestamp,
    ) -> NewMail {
        NewMail {
            recipient,
            user_id,
            letter: "custom",
            language: self.0.templates.language("custom", &languages),
            batch_id: Some(batch),
            trace_id,
            ..NewMail::at(self.0.ids.next(&self.0.random, now), now)
        }
    }

    /// Queues what batches have begun, for ever; may be dropped at any time.
    pub async fn work_on_batches(self) {
        if !self.is_on() {
            return std::future::pending().await;
        }
        loop {
            match self.advance_batches().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "a letter to all stopped; it goes on in a moment"),
            }
            tokio::select! {
                () = self.0.begun.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// One step of the oldest batch. Whether there is more to do at once.
    pub async fn advance_batches(&self) -> Result<bool, DbErr> {
        let open = store::open_batches(self.0.db.reader()).await?;
        if open.is_empty() {
            return Ok(false);
        }
        if open.contains(&BatchState::Queueing) {
            let mail = self.clone();
            return self.0.db.write(move |tx| Box::pin(async move { mail.step_in(tx).await })).await;
        }
        let (now, keep) = (self.0.clock.now(), self.keeps_contents());
        self.0.db.write(move |tx| Box::pin(store::finish_batches(tx, keep, now))).await?;
        Ok(false)
    }

    async fn step_in(&self, tx: &Tx) -> Result<bool, DbErr> {
        let Some(batch) = store::next_batch(tx).await? else { return Ok(false) };
        let now = self.0.clock.now();
        let readers = reachable_after(tx, batch.reached, STEP).await?;
        let (reached, count) = (readers.last().map(|reader| reader.id), readers.len());
        let mail = |reader: Reachable| {
            let languages = Languages { locale: reader.locale, accept_language: None };
            self.of_batch(batch.id, batch.trace_id.clone(), (reader.email, Some(reader.id), languages), now)
        };
        store::insert_all(tx, readers.into_iter().map(mail).collect()).await?;
        store::advance_batch(tx, batch.id, reached, count, count < STEP).await?;
        tx.wake(&self.0.queued);
        Ok(true)
    }
}
