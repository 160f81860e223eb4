//! Looking at the queue: for staff without what mails say, in `local` with it.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement, Value};
use uuid::Uuid;

use super::Mail;
use super::store::{BatchState, State};
use crate::platform::db::{Span, signed};
use crate::platform::secrets::Key32;
use crate::platform::shape::Words;
use crate::platform::telemetry::metrics::{Family, Sample, number};

/// Batches that are shown.
const BATCHES: i64 = 20;

/// Where a mail can stand, for the OpenAPI document.
pub(crate) fn state_words() -> Words {
    let all = State::SHOWN.map(State::name).to_vec();
    Words { name: "MailState", about: "Where a mail stands.", all }
}

/// Where a letter to many can stand, for the OpenAPI document.
pub(crate) fn batch_state_words() -> Words {
    let all = BatchState::ALL.map(BatchState::name).to_vec();
    Words { name: "MailBatchState", about: "Where a letter to many stands.", all }
}

/// How many mails stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// To be sent.
    pub waiting: u64,
    /// Handed over.
    pub sent: u64,
    /// Not sent, because what they said was no longer true.
    pub expired: u64,
    /// Given up.
    pub dead: u64,
}

impl QueueCounts {
    /// How many there are in all.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.waiting + self.sent + self.expired + self.dead
    }

    fn add(&mut self, state: &str, count: i64) {
        let count = u64::try_from(count).unwrap_or(0);
        for (known, place) in [
            (State::Waiting, &mut self.waiting),
            (State::Sent, &mut self.sent),
            (State::Expired, &mut self.expired),
            (State::Dead, &mut self.dead),
        ] {
            if known.name() == state {
                *place += count;
            }
        }
    }
}

/// How far a letter to many is.
#[derive(Clone, Debug)]
pub struct BatchProgress {
    /// The batch.
    pub id: Uuid,
    /// Where it stands.
    pub state: BatchState,
    /// For how many it was queued so far.
    pub recipients: i64,
    /// Where its mails stand.
    pub counts: QueueCounts,
    /// Who sent it.
    pub created_by: Uuid,
    /// When, in milliseconds.
    pub created_at: i64,
    /// When the last of its mails ended, in milliseconds.
    pub finished_at: Option<i64>,
}

/// A mail of the queue, without what it says.
#[derive(Clone, Debug)]
pub struct QueuedMail {
    /// Its id, also in its `Message-ID`.
    pub id: Uuid,
    /// Whom it goes to.
    pub recipient: String,
    /// Which letter.
    pub letter: String,
    /// In which language.
    pub language: String,
    /// `waiting`, `sent`, `expired` or `dead`.
    pub state: String,
    /// How often it was tried.
    pub attempts: i64,
    /// When it is tried next, in milliseconds; none while it is being handed over, and at its end.
    pub next_try_at: Option<i64>,
    /// When it was queued, in milliseconds.
    pub created_at: i64,
    /// When it ended, in milliseconds.
    pub finished_at: Option<i64>,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// The request that caused it.
    pub trace_id: Option<String>,
    /// The letter to many that it is of.
    pub batch: Option<Uuid>,
}

/// A mail as it is read in `local`.
#[derive(Clone)]
pub struct InboxMail {
    /// Its id.
    pub id: Uuid,
    /// Whom it goes to.
    pub to: String,
    /// Which letter.
    pub letter: String,
    /// Where it stands.
    pub state: String,
    /// When it was queued, in milliseconds.
    pub created_at: i64,
    /// What it says.
    pub rendered: super::Rendered,
    /// The links in it, each once.
    pub links: Vec<String>,
}

impl Mail {
    /// How many mails stand where.
    pub async fn counts(&self) -> Result<QueueCounts, DbErr> {
        // Each half is an index of its own.
        let sql = "SELECT 'waiting' AS state, COUNT(*) FROM mails WHERE state = 'waiting' UNION ALL \
                   SELECT state, COUNT(*) FROM mails WHERE finished_at IS NOT NULL GROUP BY state";
        let rows = self.rows(sql, Vec::new()).await?;
        let mut counts = QueueCounts::default();
        for row in rows {
            counts.add(&row.try_get_by_index::<String>(0)?, row.try_get_by_index(1)?);
        }
        Ok(counts)
    }

    /// How many mails stand where, as measurements; none where the database does not say.
    pub async fn measures(&self) -> Option<Vec<Family>> {
        let QueueCounts { waiting, sent, expired, dead } = self.counts().await.ok()?;
        let states = [("waiting", waiting), ("sent", sent), ("expired", expired), ("dead", dead)];
        let samples = states.map(|(state, count)| Sample::labelled([("state", state)], number(count)));
        let help = "Mails of the queue; those that have ended stay for a while.";
        Some(vec![Family::gauge("gatehouse_mails", help, samples.into())])
    }

    /// The newest letters to many.
    pub async fn batches(&self) -> Result<Vec<BatchProgress>, DbErr> {
        let sql = "SELECT id, state, recipients, created_by, created_at, finished_at FROM mail_batches \
                   ORDER BY id DESC LIMIT $1";
        let rows = self.rows(sql, vec![BATCHES.into()]).await?;
        let mut batches = rows.iter().map(batch).collect::<Result<Vec<_>, _>>()?;
        let Some(oldest) = batches.last().map(|batch| batch.id) else { return Ok(batches) };
        let sql = "SELECT batch_id, state, COUNT(*) FROM mails WHERE batch_id >= $1 GROUP BY batch_id, state";
        let mut counts: BTreeMap<Uuid, QueueCounts> = BTreeMap::new();
        for row in self.rows(sql, vec![oldest.into()]).await? {
            let of_batch = counts.entry(row.try_get_by_index(0)?).or_default();
            of_batch.add(&row.try_get_by_index::<String>(1)?, row.try_get_by_index(2)?);
        }
        for batch in &mut batches {
            batch.counts = counts.remove(&batch.id).unwrap_or_default();
        }
        Ok(batches)
    }

    /// Seals the cursors of the queue.
    #[must_use]
    pub fn cursor_key(&self) -> &Key32 {
        &self.0.cursor_key
    }

    /// A part of the queue, by the ids of the mails.
    pub async fn queue(&self, span: &Span<Uuid>) -> Result<Vec<QueuedMail>, DbErr> {
        let (order, behind) = span.order.sql();
        let range = if span.after.is_some() { format!("AND id {behind} $4") } else { String::new() };
        let sql = format!(
            "SELECT id, recipient, letter, language, state, attempts, due_at, lease, created_at, finished_at, last_error, \
             trace_id, batch_id FROM mails WHERE state <> $1 {range} ORDER BY id {order} LIMIT $2 OFFSET $3"
        );
        let (limit, offset) = (signed(span.limit), signed(span.offset));
        let mut values: Vec<Value> = vec![State::Nobody.name().into(), limit.into(), offset.into()];
        values.extend(span.after.map(Value::from));
        self.rows(&sql, values).await?.iter().map(queued).collect()
    }

    /// The newest mails with what they say. Only in `local`, where it is kept.
    pub async fn inbox(&self, limit: i64) -> Result<Vec<InboxMail>, DbErr> {
        if !self.0.settings.is_local {
            return Ok(Vec::new());
        }
        let sql = "SELECT m.id, m.recipient, m.letter, m.language, m.state, m.created_at, m.trace_id, m.batch_id, \
                   COALESCE(m.content, b.content) AS content FROM mails m \
                   LEFT JOIN mail_batches b ON b.id = m.batch_id WHERE m.state <> $1 ORDER BY m.id DESC LIMIT $2";
        let rows = self.rows(sql, vec![State::Nobody.name().into(), limit.into()]).await?;
        let mails = rows.iter().map(|row| self.inbox_mail(row)).collect::<Result<Vec<_>, _>>()?;
        Ok(mails.into_iter().flatten().collect())
    }

    fn inbox_mail(&self, row: &QueryResult) -> Result<Option<InboxMail>, DbErr> {
        let id: Uuid = row.try_get("", "id")?;
        let sealed: Option<Vec<u8>> = row.try_get("", "content")?;
        let Some(sealed) = sealed else { return Ok(None) };
        let (letter, language): (String, String) = (row.try_get("", "letter")?, row.try_get("", "language")?);
        let trace_id: Option<String> = row.try_get("", "trace_id")?;
        let sealed_for = row.try_get::<Option<Uuid>>("", "batch_id")?.unwrap_or(id);
        let rendered = match self.written(sealed_for, &sealed, &letter, &language, trace_id.as_deref()) {
            Ok(rendered) => rendered,
            Err(failure) => {
                tracing::warn!(mail = %id, reason = failure.words, "a mail can't be shown");
                return Ok(None);
            }
        };
        Ok(Some(InboxMail {
            id,
            to: row.try_get("", "recipient")?,
            state: row.try_get("", "state")?,
            created_at: row.try_get("", "created_at")?,
            links: links(&rendered.text),
            letter,
            rendered,
        }))
    }

    async fn rows(&self, sql: &str, values: Vec<Value>) -> Result<Vec<QueryResult>, DbErr> {
        let reader = self.0.db.reader();
        reader.query_all_raw(Statement::from_sql_and_values(reader.get_database_backend(), sql, values)).await
    }
}

fn batch(row: &QueryResult) -> Result<BatchProgress, DbErr> {
    Ok(BatchProgress {
        id: row.try_get("", "id")?,
        state: BatchState::of_row(row)?,
        recipients: row.try_get("", "recipients")?,
        counts: QueueCounts::default(),
        created_by: row.try_get("", "created_by")?,
        created_at: row.try_get("", "created_at")?,
        finished_at: row.try_get("", "finished_at")?,
    })
}

fn queued(row: &QueryResult) -> Result<QueuedMail, DbErr> {
    let state: String = row.try_get("", "state")?;
    let in_hand = row.try_get::<Option<Uuid>>("", "lease")?.is_some();
    let next_try_at = Some(row.try_get("", "due_at")?).filter(|_| state == State::Waiting.name() && !in_hand);
    Ok(QueuedMail {
        id: row.try_get("", "id")?,
        recipient: row.try_get("", "recipient")?,
        letter: row.try_get("", "letter")?,
        language: row.try_get("", "language")?,
        state,
        attempts: row.try_get("", "attempts")?,
        next_try_at,
        created_at: row.try_get("", "created_at")?,
        finished_at: row.try_get("", "finished_at")?,
        last_error: row.try_get("", "last_error")?,
        trace_id: row.try_get("", "trace_id")?,
        batch: row.try_get("", "batch_id")?,
    })
}

/// The web addresses in a text, each once, in their order.
fn links(text: &str) -> Vec<String> {
    let mut links: Vec<String> = Vec::new();
    for word in text.split(|char: char| char.is_whitespace() || matches!(char, '<' | '>' | '"' | '(' | ')')) {
        let link = word.trim_end_matches(['.', ',', ';', ':', '!', '?']);
        if (link.starts_with("https://") || link.starts_with("http://"))
            && !links.iter().any(|known| known == link)
        {
            links.push(link.to_owned());
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_in_text_each_once() {
        let text = "See https://a.test/x?y=1. (https://b.test) or <http://c.test/>, https://b.test!";
        assert_eq!(links(text), ["https://a.test/x?y=1", "https://b.test", "http://c.test/"]);
        assert!(links("ftp://a.test nothing").is_empty());
    }
}
