//! Sealed values under a new master secret.

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DbErr, Statement};
use uuid::Uuid;

use super::db::Database;
use super::secrets::Secrets;

/// Rows looked at in one step.
const STEP: u64 = 500;

/// A column of sealed values, some of which may be missing.
#[derive(Clone, Copy, Debug)]
pub struct SealedColumn {
    /// Its table.
    pub table: &'static str,
    /// The id by which the rows of that table are told apart.
    pub id: &'static str,
    /// The column itself.
    pub column: &'static str,
}

impl SealedColumn {
    /// Puts what `anew` makes of it in the place of each value that an earlier master secret sealed; returns how many
    /// those were. `anew` is given the id of a row and its value.
    pub async fn rewrap(
        self,
        db: &Database,
        secrets: &Secrets,
        anew: impl Fn(Uuid, &[u8]) -> anyhow::Result<Vec<u8>>,
    ) -> anyhow::Result<u64> {
        let (mut after, mut number) = (Uuid::nil(), 0);
        loop {
            let sealed = self.behind(db, after).await?;
            let Some((last, _)) = sealed.last() else { return Ok(number) };
            after = *last;
            let mut resealed = Vec::new();
            for (id, old) in sealed.into_iter().filter(|(_, old)| !secrets.is_current(old)) {
                let new = anew(id, &old)?;
                resealed.push((id, old, new));
            }
            number += self.replace(db, resealed).await?;
        }
    }

    /// Values of rows behind `after`, in the order of their ids.
    async fn behind(self, db: &Database, after: Uuid) -> Result<Vec<(Uuid, Vec<u8>)>, DbErr> {
        let Self { table, id, column } = self;
        let sql = format!(
            "SELECT {id}, {column} FROM {table} WHERE {id} > $1 AND {column} IS NOT NULL ORDER BY {id} LIMIT {STEP}"
        );
        let statement = Statement::from_sql_and_values(db.backend(), sql, [after.into()]);
        let rows = db.reader().query_all_raw(statement).await?;
        rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
    }

    /// Puts each new value in the place of the old one, unless it is another by now; returns how many it did.
    async fn replace(self, db: &Database, resealed: Vec<(Uuid, Vec<u8>, Vec<u8>)>) -> Result<u64, DbErr> {
        let Self { table, id, column } = self;
        let sql = format!("UPDATE {table} SET {column} = $3 WHERE {id} = $1 AND {column} = $2");
        let written = db.write::<u64, DbErr, _>(move |tx| {
            async move {
                let mut replaced = 0;
                for (id, old, new) in resealed {
                    replaced += tx.run(&sql, [id.into(), old.into(), new.into()]).await?;
                }
                Ok(replaced)
            }
            .boxed()
        });
        written.await
    }
}
