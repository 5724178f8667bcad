//! One statement for both databases: what is bound, how it is run, what comes back.

use sqlx::{
    ColumnIndex, Decode, PgConnection, Postgres, Row as _, Sqlite, SqliteConnection, Transaction,
    Type, postgres::PgRow, sqlite::SqliteRow,
};
use sqlx::{SqlSafeStr, SqlStr};

use super::{
    dialect::{Dialect, POSTGRES, SQLITE},
    readers::Reader,
    values::{Bind, Value},
};

/// A connection that a piece of work has for itself.
pub(super) enum Connection {
    /// The one that writes to the embedded database, within the writer's transaction.
    Writer(SqliteConnection),
    /// One that reads from the embedded database.
    Reader(Reader),
    /// A transaction of the server. Dropped without a commit, it is rolled back.
    Postgres(Transaction<'static, Postgres>),
}

/// A connection as the libraries know it.
enum Raw<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Connection {
    /// The words that differ.
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Writer(_) | Self::Reader(_) => SQLITE,
            Self::Postgres(_) => POSTGRES,
        }
    }

    /// The connection for one statement; `done` is said when that went through.
    fn raw(&mut self) -> Result<Raw<'_>, sqlx::Error> {
        Ok(match self {
            Self::Writer(connection) => Raw::Sqlite(connection),
            Self::Reader(reader) => Raw::Sqlite(reader.begin().ok_or(sqlx::Error::PoolClosed)?),
            Self::Postgres(transaction) => Raw::Postgres(transaction),
        })
    }

    fn done(&mut self) {
        if let Self::Reader(reader) = self {
            reader.is_whole();
        }
    }
}

/// A statement and its values.
#[must_use = "a statement does nothing until it is run"]
pub(super) struct Query {
    sql: SqlStr,
    values: Vec<Value>,
}

/// A statement; its placeholders are `$1`, `$2`, … in both databases.
pub(super) fn query(sql: impl SqlSafeStr) -> Query {
    Query {
        sql: sql.into_sql_str(),
        values: Vec::new(),
    }
}

/// What a statement did.
pub(super) struct Done(u64);

impl Done {
    /// Rows that were written.
    pub(super) fn rows_affected(&self) -> u64 {
        self.0
    }
}

/// Runs a statement by a method of the library, whichever database it is.
macro_rules! run {
    ($query:ident . $method:ident($connection:ident), $done:pat => $sqlite:expr, $postgres:expr) => {
        match $connection.raw()? {
            Raw::Sqlite(raw) => {
                let $done = $query.for_sqlite().$method(raw).await?;
                $connection.done();
                Ok($sqlite)
            }
            Raw::Postgres(raw) => {
                let $done = $query.for_postgres().$method(raw).await?;
                Ok($postgres)
            }
        }
    };
}

impl Query {
    /// Binds the next placeholder.
    pub(super) fn bind(mut self, value: impl Bind) -> Self {
        self.values.push(value.value());
        self
    }

    /// Binds the next placeholders.
    pub(super) fn bind_all(mut self, values: Vec<Value>) -> Self {
        self.values.extend(values);
        self
    }

    /// Runs it.
    pub(super) async fn execute(self, connection: &mut Connection) -> Result<Done, sqlx::Error> {
        run!(self.execute(connection), done => Done(done.rows_affected()), Done(done.rows_affected()))
    }

    /// Its one row.
    pub(super) async fn fetch_one(self, connection: &mut Connection) -> Result<Row, sqlx::Error> {
        run!(self.fetch_one(connection), row => Row::Sqlite(row), Row::Postgres(row))
    }

    /// Its row, if there is one.
    pub(super) async fn fetch_optional(
        self,
        connection: &mut Connection,
    ) -> Result<Option<Row>, sqlx::Error> {
        run!(self.fetch_optional(connection), row => row.map(Row::Sqlite), row.map(Row::Postgres))
    }

    /// Its rows.
    pub(super) async fn fetch_all(
        self,
        connection: &mut Connection,
    ) -> Result<Vec<Row>, sqlx::Error> {
        run!(
            self.fetch_all(connection),
            rows => rows.into_iter().map(Row::Sqlite).collect(),
            rows.into_iter().map(Row::Postgres).collect()
        )
    }

    fn for_sqlite(self) -> sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments> {
        let query = sqlx::query(self.sql);
        self.values
            .into_iter()
            .fold(query, |query, value| value.into_sqlite(query))
    }

    fn for_postgres(self) -> sqlx::query::Query<'static, Postgres, sqlx::postgres::PgArguments> {
        let query = sqlx::query(self.sql);
        self.values
            .into_iter()
            .fold(query, |query, value| value.into_postgres(query))
    }
}

/// A row of either database.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The value of a column.
    pub(super) fn try_get<'r, T>(&'r self, column: &str) -> Result<T, sqlx::Error>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
        for<'n> &'n str: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}
