//! Connections for reading that are not waited for without end.

use std::time::Duration;

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement};

use super::links::{Links, Pressure};
use super::patience::within;
use super::traced::{kind_of, traced};

/// The connections for reading. A database that says nothing counts as one that is away.
#[derive(Clone)]
pub struct Reader {
    links: Links,
    patience: Option<Duration>,
}

impl Reader {
    /// Without patience, an answer is waited for however long it takes.
    pub(super) const fn new(links: Links, patience: Option<Duration>) -> Self {
        Self { links, patience }
    }

    pub(super) const fn links(&self) -> &Links {
        &self.links
    }

    pub(super) fn pressure(&self) -> Pressure {
        self.links.pressure()
    }

    async fn asked<T>(
        &self,
        kind: &'static str,
        work: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        traced(self.links.backend(), kind, within(self.patience, work)).await
    }

    pub(super) async fn close(&self) {
        self.links.close().await;
    }
}

#[async_trait]
impl ConnectionTrait for Reader {
    fn get_database_backend(&self) -> DbBackend {
        self.links.backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let kind = kind_of(&statement.sql);
        self.asked(kind, Box::pin(async { self.links.borrow().await?.execute(statement).await })).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.asked(kind_of(sql), Box::pin(async { self.links.borrow().await?.execute_unprepared(sql).await }))
            .await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let kind = kind_of(&statement.sql);
        self.asked(kind, Box::pin(async { self.links.borrow().await?.query_one(statement).await })).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let kind = kind_of(&statement.sql);
        self.asked(kind, Box::pin(async { self.links.borrow().await?.query_all(statement).await })).await
    }
}
