//! What staff did, to be read.

use std::collections::BTreeMap;

use poem_openapi::param::Query;
use poem_openapi::{Object, OpenApi, Tags};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::audit::{Audit, Filter, Hash, Row};
use crate::permissions::{Allowed, System};
use crate::platform::clock::{Timestamp, seconds};
use crate::platform::db::Order;
use crate::platform::problem::{Failure, FieldError};
use crate::platform::secrets::Key32;
use crate::platform::web::{Listing, Paging, PartQuery};

/// Characters of an action's name.
pub(super) const LONGEST_ACTION: usize = 100;

/// The operations on the log of what staff did.
pub struct AuditApi {
    /// The log.
    pub audit: Audit,
    /// Seals cursors.
    pub cursor_key: Key32,
}

#[derive(Tags)]
enum Section {
    /// The admin's tools.
    Admin,
}

crate::permissions! {
    /// Read what staff did.
    ReadAudit: AuditRead on System;
}

crate::refusals! {
    /// Why the log is not shown.
    pub enum AuditRefusal {
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
}

/// Something that staff did.
#[derive(Debug, Serialize, Object)]
pub struct AuditEntry {
    /// Its place in the log: 1, 2, 3, …
    pub number: i64,
    /// When, in seconds since the Unix epoch.
    pub time: i64,
    /// Who did it; null: the operator, from the command line or in a file.
    #[oai(nullable)]
    pub actor: Option<Uuid>,
    /// What was done, as `banned`.
    pub action: String,
    /// What it was done to: `user`, `webhook`, `letter`, `flags`, `events`, `database` or `system`.
    pub subject_type: String,
    /// Which one, where there are several. It may be gone.
    #[oai(nullable)]
    pub subject: Option<Uuid>,
    /// What there is to know besides.
    pub details: BTreeMap<String, Value>,
    /// The trace id of the request.
    #[oai(nullable)]
    pub trace_id: Option<String>,
    /// The digest of this entry and of all before it, in hexadecimal.
    pub hash: String,
}

impl From<Row> for AuditEntry {
    fn from(row: Row) -> Self {
        Self {
            number: row.number,
            time: seconds(row.at),
            actor: row.actor_id,
            action: row.action,
            subject_type: row.subject_type,
            subject: row.subject_id,
            // Whoever has tampered with it may have left anything there.
            details: serde_json::from_str(&row.details).unwrap_or_default(),
            trace_id: row.trace_id,
            hash: Hash::from_bytes(&row.hash).map(|hash| hash.to_string()).unwrap_or_default(),
        }
    }
}

#[OpenApi(prefix_path = "/admin", tag = "Section::Admin")]
impl AuditApi {
    /// What staff did, newest first
    ///
    /// For admins. Each entry holds the digest of itself and of the one before; `gatehouse audit verify` finds out whether
    /// anything was changed since.
    #[oai(path = "/audit", method = "get", operation_id = "read_audit")]
    #[expect(clippy::too_many_arguments, reason = "one for each parameter of the query")]
    async fn read(
        &self,
        _allowed: Allowed<ReadAudit>,
        paging: Paging,
        /// Only what this account did.
        actor: Query<Option<Uuid>>,
        /// Only this action, as `banned`.
        action: Query<Option<String>>,
        /// Only what was done to this account, webhook or letter.
        subject: Query<Option<Uuid>>,
        /// Only what happened then or later, in seconds since the Unix epoch.
        range_start: Query<Option<i64>>,
        /// Only what happened before, in seconds since the Unix epoch.
        range_end: Query<Option<i64>>,
    ) -> Result<Listing<AuditEntry>, Failure<AuditRefusal>> {
        let is_none = |action: &str| action.chars().nth(LONGEST_ACTION).is_some() || action.contains('\0');
        if action.as_deref().is_some_and(is_none) {
            let error = FieldError::new("action", "Must be the name of an action.");
            return Err(AuditRefusal::Invalid(vec![error]).into());
        }
        let filter = Filter {
            actor: actor.0,
            action: action.0,
            subject: subject.0,
            since: range_start.0.map(Timestamp::from_seconds),
            until: range_end.0.map(Timestamp::from_seconds),
        };
        self.listing(&filter, &paging).await
    }
}

impl AuditApi {
    async fn listing(
        &self,
        filter: &Filter,
        paging: &Paging,
    ) -> Result<Listing<AuditEntry>, Failure<AuditRefusal>> {
        let asked =
            PartQuery::of(paging, self.cursor_key.bytes(), Order::Desc).map_err(AuditRefusal::Invalid)?;
        let rows = self.audit.list(filter, &asked.span).await?;
        let total = self.audit.count(filter).await?;
        Ok(asked.part(rows, total, |row| row.number).listing(AuditEntry::from))
    }
}
