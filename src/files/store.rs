//! The rows of files, and whom else they belong to.

use std::sync::LazyLock;

use sea_orm::entity::prelude::*;
use sea_orm::{DbBackend, FromQueryResult, QueryResult, Statement, Value};

use crate::platform::db::{Span, Tx, columns, counted, scalar, scalars, signed};
use crate::platform::hexadecimal;

/// Table `files`.
pub mod file {
    use sea_orm::entity::prelude::*;

    /// A file. Moments are milliseconds since the Unix epoch.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "files")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        /// Who uploaded it: whose limits and whose names.
        pub created_by: Uuid,
        /// Whose picture it is.
        pub picture_of: Option<Uuid>,
        pub name: String,
        pub media_type: String,
        pub description: Option<String>,
        pub size: i64,
        pub sha256: Vec<u8>,
        /// The name of its bytes.
        pub blob: Uuid,
        pub created_at: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A file as one particular viewer meets it, with what decides whether they may.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Seen {
    /// The row.
    #[sea_orm(nested)]
    pub file: file::Model,
    /// The owner's roles.
    pub owner_roles: i32,
    /// Whether the owner's account may be used.
    pub owner_is_active: bool,
    /// When the owner's account was deleted.
    pub owner_deleted_at: Option<i64>,
    /// Whether the file is linked to the viewer.
    pub is_linked: bool,
}

/// Whose files are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everybody's.
    All,
    /// Those of people who are neither admin nor moderator nor deleted.
    OfOrdinaryPeople,
    /// These, and the viewer's.
    OfOrdinaryPeopleAndOwn,
    /// The viewer's: uploaded by them or linked to them.
    Own,
    /// Nobody's.
    None,
}

/// `$1` is the viewer.
static SEEN: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {}, u.roles AS owner_roles, u.is_active AS owner_is_active, u.deleted_at AS owner_deleted_at, \
         EXISTS (SELECT 1 FROM file_links l WHERE l.file_id = f.id AND l.user_id = $1) AS is_linked \
         FROM files f JOIN users u ON u.id = f.created_by",
        columns::<file::Entity>("f")
    )
});

impl Scope {
    fn condition(self) -> &'static str {
        // As a union, since PostgreSQL uses no index for an alternative that is a query.
        const OWN: &str = "f.id IN (SELECT id FROM files WHERE created_by = $1 \
             UNION SELECT file_id FROM file_links WHERE user_id = $1)";
        const WITH_OWN: &str = "((u.roles & 3) = 0 AND u.deleted_at IS NULL OR f.created_by = $1 \
             OR f.id IN (SELECT file_id FROM file_links WHERE user_id = $1))";
        match self {
            // The viewer has to be named somewhere.
            Self::All => "($1 = $1)",
            Self::OfOrdinaryPeople => "($1 = $1 AND (u.roles & 3) = 0 AND u.deleted_at IS NULL)",
            Self::OfOrdinaryPeopleAndOwn => WITH_OWN,
            Self::Own => OWN,
            Self::None => "($1 <> $1)",
        }
    }
}

/// The file of this number as `viewer` meets it.
pub async fn seen_by(db: &impl ConnectionTrait, viewer: Uuid, id: i64) -> Result<Option<Seen>, DbErr> {
    let sql = format!("{} WHERE f.id = $2", *SEEN);
    let row = db.query_one_raw(statement(db, sql, [viewer.into(), id.into()])).await?;
    row.map(|row| Seen::from_query_result(&row, "")).transpose()
}

/// The files of these numbers as `viewer` meets them, in no particular order.
pub async fn seen_by_ids(db: &impl ConnectionTrait, viewer: Uuid, ids: &[i64]) -> Result<Vec<Seen>, DbErr> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let places: Vec<String> = (2..=ids.len() + 1).map(|place| format!("${place}")).collect();
    let sql = format!("{} WHERE f.id IN ({})", *SEEN, places.join(", "));
    let values = std::iter::once(viewer.into()).chain(ids.iter().map(|id| Value::from(*id)));
    rows(&db.query_all_raw(statement(db, sql, values)).await?)
}

/// A part of the list, by the numbers of the files.
pub async fn list(
    db: &impl ConnectionTrait,
    viewer: Uuid,
    scope: Scope,
    span: &Span<i64>,
) -> Result<Vec<Seen>, DbErr> {
    let (order, behind) = span.order.sql();
    let sql = format!(
        "{} WHERE {} AND f.id {behind} $2 ORDER BY f.id {order} LIMIT $3 OFFSET $4",
        *SEEN,
        scope.condition()
    );
    let values: [Value; 4] =
        [viewer.into(), span.begin().into(), signed(span.limit).into(), signed(span.offset).into()];
    rows(&db.query_all_raw(statement(db, sql, values)).await?)
}

/// How many files there are in all.
pub async fn count(db: &impl ConnectionTrait, viewer: Uuid, scope: Scope) -> Result<u64, DbErr> {
    let files = match scope {
        Scope::OfOrdinaryPeople | Scope::OfOrdinaryPeopleAndOwn => {
            "files f JOIN users u ON u.id = f.created_by"
        }
        Scope::All | Scope::Own | Scope::None => "files f",
    };
    let sql = format!("SELECT COUNT(*) FROM {files} WHERE {}", scope.condition());
    counted(db, sql, [viewer.into()]).await
}

/// A user's files, uploaded by them or linked to them, and their picture; oldest first.
pub async fn of_user(db: &impl ConnectionTrait, user: Uuid) -> Result<Vec<file::Model>, DbErr> {
    let sql = format!(
        "SELECT {} FROM files WHERE id IN ({}) ORDER BY id",
        columns::<file::Entity>("files"),
        ids_of_user("$1")
    );
    models(&db.query_all_raw(statement(db, sql, [user.into()])).await?)
}

/// The numbers of a user's files; a union for the reason that [`Scope::condition`] has.
fn ids_of_user(user: &str) -> String {
    format!(
        "SELECT id FROM files WHERE created_by = {user} UNION SELECT id FROM files WHERE picture_of = {user} \
         UNION SELECT file_id FROM file_links WHERE user_id = {user}"
    )
}

/// The same as a column of JSON about a user, to be read with others; [`from_column`] understands it. Three lists, of
/// which none has a file of another: a union would be a table of its own to SQLite, made and thrown away each time.
pub fn column_of_user(backend: DbBackend, user: &str) -> String {
    let lists = [
        format!("files AS f WHERE f.created_by = {user}"),
        format!("files AS f WHERE f.picture_of = {user} AND f.created_by <> {user}"),
        format!(
            "file_links AS l JOIN files AS f ON f.id = l.file_id \
             WHERE l.user_id = {user} AND f.created_by <> {user} AND f.picture_of IS DISTINCT FROM {user}"
        ),
    ];
    column(backend, &lists)
}

/// Such a column of a user's picture alone; [`picture_from_column`] understands it.
pub fn column_of_picture(backend: DbBackend, user: &str) -> String {
    column(backend, &[format!("files AS f WHERE f.picture_of = {user}")])
}

/// A list of lists: of all files `f` that each of these says.
fn column(backend: DbBackend, lists: &[String]) -> String {
    let (array, all, id, bytes, list, text) = match backend {
        DbBackend::Sqlite => ("json_array", "json_group_array", "hex(f.", "hex(f.sha256)", "json", ""),
        _ => ("json_build_array", "json_agg", "(f.", "encode(f.sha256, 'hex')", "", "::text"),
    };
    let lists: Vec<String> = lists
        .iter()
        .map(|those| {
            format!(
                "{list}((SELECT {all}({array}(f.id, {id}created_by), {id}picture_of), f.name, f.media_type, f.description, \
                 f.size, {bytes}, {id}blob), f.created_at)) FROM {those}))"
            )
        })
        .collect();
    format!("{array}({}){text}", lists.join(", "))
}

type Row = (i64, Uuid, Option<String>, String, String, Option<String>, i64, String, Uuid, i64);

/// The files of such a column, the oldest first.
pub fn from_column(column: Option<&str>) -> Result<Vec<file::Model>, DbErr> {
    let Some(column) = column else { return Ok(Vec::new()) };
    // Of no rows PostgreSQL makes nothing.
    let lists: Vec<Option<Vec<Row>>> =
        serde_json::from_str(column).map_err(|error| DbErr::Json(error.to_string()))?;
    let rows = lists.into_iter().flatten().flatten();
    let mut files = rows.map(model).collect::<Result<Vec<_>, _>>()?;
    files.sort_unstable_by_key(|file| file.id);
    Ok(files)
}

/// The picture of such a column.
pub fn picture_from_column(column: Option<&str>) -> Result<Option<file::Model>, DbErr> {
    Ok(from_column(column)?.pop())
}

fn model(row: Row) -> Result<file::Model, DbErr> {
    let (id, created_by, picture_of, name, media_type, description, size, sha256, blob, created_at) = row;
    let damaged = |column: &str| DbErr::Type(format!("files.{column} of file {id} can't be read"));
    // SQLite writes no id as an empty text.
    let picture_of = picture_of.filter(|user| !user.is_empty());
    let picture_of = picture_of.map(|user| Uuid::try_parse(&user).map_err(|_| damaged("picture_of")));
    let sha256 = hexadecimal::read(&sha256).ok_or_else(|| damaged("sha256"))?;
    Ok(file::Model {
        id,
        created_by,
        picture_of: picture_of.transpose()?,
        name,
        media_type,
        description,
        size,
        sha256: sha256.to_vec(),
        blob,
        created_at,
    })
}

/// The pictures of these users.
pub async fn pictures_of(db: &impl ConnectionTrait, users: &[Uuid]) -> Result<Vec<file::Model>, DbErr> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let places: Vec<String> = (1..=users.len()).map(|place| format!("${place}")).collect();
    let sql = format!(
        "SELECT {} FROM files WHERE picture_of IN ({})",
        columns::<file::Entity>("files"),
        places.join(", ")
    );
    let values = users.iter().map(|user| Value::from(*user));
    models(&db.query_all_raw(statement(db, sql, values)).await?)
}

/// How many files a user has uploaded, and how many bytes those are; pictures are not counted.
pub async fn kept_by(tx: &Tx, owner: Uuid) -> Result<(u64, u64), DbErr> {
    let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM files \
               WHERE created_by = $1 AND picture_of IS NULL";
    let row = tx.query_one_raw(statement(tx, sql, [owner.into()])).await?;
    let (files, bytes): (i64, i64) = match row {
        Some(row) => (row.try_get_by_index(0)?, row.try_get_by_index(1)?),
        None => (0, 0),
    };
    Ok((files.unsigned_abs(), bytes.unsigned_abs()))
}

/// How many files there are, pictures among them, and their bytes together. Reads every row.
pub async fn kept(db: &impl ConnectionTrait) -> Result<(u64, u64), DbErr> {
    let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM files";
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    let (files, bytes): (i64, i64) = match row {
        Some(row) => (row.try_get_by_index(0)?, row.try_get_by_index(1)?),
        None => (0, 0),
    };
    Ok((files.unsigned_abs(), bytes.unsigned_abs()))
}

/// Adds a file, but for its number, and links it; a taken name is the unique index's to refuse.
pub async fn insert(tx: &Tx, mut row: file::Model, linked: &[Uuid]) -> Result<file::Model, DbErr> {
    let sql = "INSERT INTO files (created_by, picture_of, name, media_type, description, size, sha256, blob, \
               created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id";
    let new = row.clone();
    let values: [Value; 9] = [
        new.created_by.into(),
        new.picture_of.into(),
        new.name.into(),
        new.media_type.into(),
        new.description.into(),
        new.size.into(),
        new.sha256.into(),
        new.blob.into(),
        new.created_at.into(),
    ];
    let inserted = tx.query_one_raw(statement(tx, sql, values)).await?;
    let inserted = inserted.ok_or(DbErr::RecordNotInserted)?;
    row.id = inserted.try_get("", "id")?;
    for user in linked {
        let link = "INSERT INTO file_links (user_id, file_id) VALUES ($1, $2)";
        tx.execute_raw(statement(tx, link, [Value::from(*user), row.id.into()])).await?;
    }
    Ok(row)
}

/// The file of this number, inside a transaction.
pub async fn by_id(tx: &Tx, id: i64) -> Result<Option<file::Model>, DbErr> {
    file::Entity::find_by_id(id).one(tx).await
}

/// Which of these bytes have a row.
pub async fn with_blobs(db: &impl ConnectionTrait, blobs: &[Uuid]) -> Result<Vec<Uuid>, DbErr> {
    if blobs.is_empty() {
        return Ok(Vec::new());
    }
    let places: Vec<String> = (1..=blobs.len()).map(|place| format!("${place}")).collect();
    let sql = format!("SELECT blob FROM files WHERE blob IN ({})", places.join(", "));
    let values = blobs.iter().map(|blob| Value::from(*blob));
    let rows = db.query_all_raw(statement(db, sql, values)).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// The bytes of this owner's file of this name, if this is their digest.
pub async fn known(
    db: &impl ConnectionTrait,
    owner: Uuid,
    name: &str,
    sha256: Vec<u8>,
) -> Result<Option<Uuid>, DbErr> {
    let sql =
        "SELECT blob FROM files WHERE created_by = $1 AND name = $2 AND sha256 = $3 ORDER BY id LIMIT 1";
    scalar(db, sql, [owner.into(), name.into(), sha256.into()]).await
}

/// The names of the bytes that go when this user goes; a picture that they gave somebody else stays.
pub async fn blobs_of(db: &impl ConnectionTrait, user: Uuid) -> Result<Vec<Uuid>, DbErr> {
    let sql = "SELECT blob FROM files WHERE created_by = $1 AND picture_of IS NULL OR picture_of = $1";
    scalars(db, sql, [user.into()]).await
}

/// Changes name and description.
pub async fn update(tx: &Tx, id: i64, name: &str, description: Option<&str>) -> Result<(), DbErr> {
    let sql = "UPDATE files SET name = $2, description = $3 WHERE id = $1";
    let values: [Value; 3] = [id.into(), name.into(), description.map(str::to_owned).into()];
    tx.execute_raw(statement(tx, sql, values)).await.map(|_| ())
}

/// Whom a file is linked to.
pub async fn linked_to(tx: &Tx, id: i64) -> Result<Vec<Uuid>, DbErr> {
    let sql = "SELECT user_id FROM file_links WHERE file_id = $1 ORDER BY user_id";
    scalars(tx, sql, [id.into()]).await
}

/// Forgets a file, whoever comes first. Its bytes are another matter.
pub async fn delete(tx: &Tx, id: i64) -> Result<bool, DbErr> {
    let sql = "DELETE FROM files WHERE id = $1";
    Ok(tx.execute_raw(statement(tx, sql, [id.into()])).await?.rows_affected() > 0)
}

/// The picture of a user.
pub async fn picture_of(db: &impl ConnectionTrait, user: Uuid) -> Result<Option<file::Model>, DbErr> {
    file::Entity::find().filter(file::Column::PictureOf.eq(user)).one(db).await
}

/// The name of the storage that goes with this database; made now if there is none yet.
pub async fn storage_id(tx: &Tx, fresh: Uuid) -> Result<Uuid, DbErr> {
    let sql = "INSERT INTO file_storage (id) SELECT $1 WHERE NOT EXISTS (SELECT 1 FROM file_storage)";
    tx.execute_raw(statement(tx, sql, [fresh.into()])).await?;
    let id = scalar(tx, "SELECT id FROM file_storage ORDER BY id LIMIT 1", []).await?;
    Ok(id.unwrap_or(fresh))
}

fn rows(found: &[QueryResult]) -> Result<Vec<Seen>, DbErr> {
    found.iter().map(|row| Seen::from_query_result(row, "")).collect()
}

fn models(found: &[QueryResult]) -> Result<Vec<file::Model>, DbErr> {
    found.iter().map(|row| file::Model::from_query_result(row, "")).collect()
}

fn statement(
    db: &impl ConnectionTrait,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> Statement {
    Statement::from_sql_and_values(db.get_database_backend(), sql, values)
}

#[cfg(test)]
mod tests {
    use super::from_column;

    #[test]
    fn what_cannot_be_read_in_a_row_is_an_error() {
        let id = "0193d1f0-0000-7000-8000-000000000001";
        let row = |number: i64, picture_of: &str, sha256: &str| {
            format!(
                r#"[{number}, "{id}", {picture_of}, "a.txt", "text/plain", null, 1, "{sha256}", "{id}", 0]"#
            )
        };
        let column = |picture_of: &str, sha256: &str| format!("[[{}], null, []]", row(1, picture_of, sha256));
        let good = "ab".repeat(32);
        assert_eq!(from_column(Some(&column(r#""""#, &good))).unwrap()[0].picture_of, None);
        assert_eq!(from_column(Some(&column("null", &good))).unwrap()[0].sha256, [0xab; 32]);
        let all = format!(
            "[[{}], [{}], [{}]]",
            row(3, "null", &good),
            row(1, "null", &good),
            row(2, "null", &good)
        );
        let numbers: Vec<i64> = from_column(Some(&all)).unwrap().iter().map(|file| file.id).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert!(from_column(Some(&column("null", &good[2..]))).is_err());
        assert!(from_column(Some(&column(r#""ann""#, &good))).is_err());
    }
}
