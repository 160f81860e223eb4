//! Connections for reading that are not waited for without end.

use std::time::Duration;

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, Statement};

use super::patience::within;

/// The connections for reading. A database that says nothing counts as one that is away.
#[derive(Clone, Debug)]
pub struct Reader {
    connections: DatabaseConnection,
    patience: Option<Duration>,
}

impl Reader {
    /// Without patience, an answer is waited for however long it takes.
    pub(super) fn new(connections: DatabaseConnection, patience: Option<Duration>) -> Self {
        Self { connections, patience }
    }

    pub(super) async fn close(self) -> Result<(), DbErr> {
        self.connections.close().await
    }
}

#[async_trait]
impl ConnectionTrait for Reader {
    fn get_database_backend(&self) -> DbBackend {
        self.connections.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        within(self.patience, self.connections.execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        within(self.patience, self.connections.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        within(self.patience, self.connections.query_one_raw(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        within(self.patience, self.connections.query_all_raw(statement)).await
    }
}
