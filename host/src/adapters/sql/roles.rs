//! As whom statements run. Row-level security holds for a role that is neither a superuser
//! nor exempt nor the owner of the tables, so statements run as one of two such roles: one
//! for users, one for the worker. Whoever connects is a member of both and takes one of them
//! for each transaction.

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

/// Tables without rows of tenants. Every other one has row-level security.
const SHARED: &str = "'installation', '_sqlx_migrations'";
/// Tables that both roles read, and that only the owner of the tables writes.
const INSTALLED: &str = "plugin_versions, provider_settings, plugin_revision";
/// Tables whose rows are added and never changed.
const ADDED: &str = "events, media, callbacks, installation, job_webhooks, webhook_messages, \
    webhook_attempts, credit_transfers, credit_entries, quotes, job_mails, mail_attempts, \
    mail_suppressions, mail_events, mailbox, payment_customers, batches, batch_quotes, \
    batch_retries, admin_acts";
/// Tables that are not the worker's business.
const IDENTITY: &str = "'users', 'access_tokens', 'api_keys', 'projects', 'sessions', \
    'refresh_tokens', 'account_links', 'signing_keys', 'identities', 'provider_secrets'";

/// What the server refuses, in words for the operator.
type Verdict = Result<(), String>;

/// The roles that statements run as.
#[derive(Debug, Clone)]
pub(super) struct Roles {
    /// For users: sees the rows of the user that a transaction names.
    pub(super) users: String,
    /// For the worker: sees all jobs.
    pub(super) worker: String,
}

impl Roles {
    /// Whether the connecting user may take both roles, and they have their rights.
    pub(super) async fn are_ready(
        &self,
        connection: &mut PgConnection,
    ) -> Result<bool, sqlx::Error> {
        // In steps: the server may look at the parts of one condition in any order, and what
        // is missing would be an error.
        let there: bool = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM pg_roles WHERE rolname IN ($1, $2)) = 2 \
             AND to_regclass('_sqlx_migrations') IS NOT NULL \
             AND to_regclass('installation') IS NOT NULL",
        )
        .bind(&self.users)
        .bind(&self.worker)
        .fetch_one(&mut *connection)
        .await?;
        if !there {
            return Ok(false);
        }
        for role in [&self.users, &self.worker] {
            let user = current_user(connection).await?;
            if !may_take(connection, &user, role).await? {
                return Ok(false);
            }
        }
        sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT has_table_privilege($1, 'installation', 'INSERT') \
             AND has_table_privilege($2, 'jobs', 'UPDATE') \
             AND has_table_privilege(current_user, '_sqlx_migrations', 'SELECT') \
             AND NOT EXISTS (SELECT 1 FROM ({}) AS missing)",
            self.tables_without_policy()
        )))
        .bind(&self.users)
        .bind(&self.worker)
        .fetch_one(connection)
        .await
    }

    /// The worker's tables that do not let the worker in.
    fn tables_without_policy(&self) -> String {
        format!(
            "SELECT relname::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace \
             AND relkind = 'r' AND relname NOT IN ({SHARED}, {IDENTITY}) \
             AND NOT EXISTS (SELECT 1 FROM pg_policy WHERE polrelid = pg_class.oid \
             AND polname = 'worker' AND polroles = ARRAY[{}::regrole::oid])",
            literal(&quote(&self.worker))
        )
    }

    /// Makes the roles when they are missing, lets `user` take them, and gives them what
    /// statements need and no more. Run by the owner of the tables.
    pub(super) async fn grant(
        &self,
        connection: &mut PgConnection,
        user: &str,
    ) -> Result<Verdict, sqlx::Error> {
        let owner = current_user(connection).await?;
        for role in [&self.users, &self.worker] {
            let made = make(connection, role, &owner).await?;
            if made.is_err() {
                return Ok(made);
            }
        }
        // Before anything is given or taken away: a wrong name must not cost anybody his rights.
        let fit = self.check_roles(connection).await?;
        if fit.is_err() {
            return Ok(fit);
        }
        for role in [&self.users, &self.worker] {
            if may_take(connection, user, role).await? {
                continue;
            }
            let statement = membership(connection, user, role).await?;
            if let Err(error) = run(connection, statement.clone()).await
                // Roles belong to all databases of a server: another one that starts at the
                // same moment may have done it.
                && !may_take(connection, user, role).await?
            {
                return refused(error, &owner, &statement);
            }
        }
        self.give_rights(connection, user).await?;
        let closed: Vec<String> = sqlx::query_scalar(AssertSqlSafe(self.tables_without_policy()))
            .fetch_all(&mut *connection)
            .await?;
        let worker = quote(&self.worker);
        for table in closed {
            let table = quote(&table);
            run(
                connection,
                format!("DROP POLICY IF EXISTS worker ON {table}"),
            )
            .await?;
            run(
                connection,
                format!("CREATE POLICY worker ON {table} TO {worker} USING (TRUE)"),
            )
            .await?;
        }
        Ok(Ok(()))
    }

    async fn give_rights(
        &self,
        connection: &mut PgConnection,
        user: &str,
    ) -> Result<(), sqlx::Error> {
        let schema: String = sqlx::query_scalar("SELECT current_schema()::text")
            .fetch_one(&mut *connection)
            .await?;
        let schema = quote(&schema);
        let both = format!("{}, {}", quote(&self.users), quote(&self.worker));
        let worker = quote(&self.worker);
        for statement in [
            format!("GRANT USAGE ON SCHEMA {schema} TO {both}"),
            format!("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {schema} TO {both}"),
            // What is only ever added cannot be changed by mistake. Nothing is ever deleted.
            format!("REVOKE INSERT, UPDATE ON {INSTALLED} FROM {both}"),
            format!("REVOKE UPDATE ON {ADDED} FROM {both}"),
            format!(
                "REVOKE ALL ON users, access_tokens, api_keys, projects, sessions, refresh_tokens, \
                 account_links, signing_keys, identities, provider_secrets, installation FROM {worker}"
            ),
            format!(
                "REVOKE ALL ON callbacks, removals, chores, circuits, mail_attempts, \
                 mail_suppressions, mail_events, mailbox, payment_events, payment_rounds FROM {}",
                quote(&self.users)
            ),
            format!("REVOKE ALL ON _sqlx_migrations FROM {both}"),
            // Whoever connects looks whether the tables are up to date.
            format!("GRANT USAGE ON SCHEMA {schema} TO {}", quote(user)),
            format!("GRANT SELECT ON _sqlx_migrations TO {}", quote(user)),
        ] {
            run(connection, statement).await?;
        }
        Ok(())
    }

    /// Whether row-level security holds for both roles, and keeps them apart.
    pub(super) async fn check(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Verdict, sqlx::Error> {
        let fit = self.check_roles(connection).await?;
        if fit.is_err() {
            return Ok(fit);
        }
        check_tables(connection).await
    }

    async fn check_roles(&self, connection: &mut PgConnection) -> Result<Verdict, sqlx::Error> {
        for role in [&self.users, &self.worker] {
            let row = sqlx::query(
                "SELECT rolsuper, rolbypassrls, \
                 EXISTS (SELECT 1 FROM pg_class WHERE relkind = 'r' \
                 AND relnamespace = current_schema()::regnamespace \
                 AND pg_has_role(rolname, relowner, 'USAGE')) AS owns \
                 FROM pg_roles WHERE rolname = $1",
            )
            .bind(role)
            .fetch_one(&mut *connection)
            .await?;
            for (column, why) in [
                ("rolsuper", "is a superuser"),
                ("rolbypassrls", "has BYPASSRLS"),
                ("owns", "owns the tables"),
            ] {
                if row.try_get(column)? {
                    return Ok(Err(format!(
                        "statements would run as {role}, which {why}: row-level security would \
                         not hold. Set database.role and database.worker_role to roles without \
                         rights of their own; the defaults are made when they are missing"
                    )));
                }
            }
        }
        let apart: bool = sqlx::query_scalar("SELECT NOT pg_has_role($1, $2, 'USAGE')")
            .bind(&self.users)
            .bind(&self.worker)
            .fetch_one(&mut *connection)
            .await?;
        if !apart {
            return Ok(Err(format!(
                "the role {} has what {} has: row-level security would not hold",
                self.users, self.worker
            )));
        }
        Ok(Ok(()))
    }
}

/// Whether row-level security is on.
async fn check_tables(connection: &mut PgConnection) -> Result<Verdict, sqlx::Error> {
    let open: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT relname::text FROM pg_class WHERE relkind = 'r' \
             AND relnamespace = current_schema()::regnamespace AND relname NOT IN ({SHARED}) \
             AND NOT (relrowsecurity AND relforcerowsecurity) ORDER BY relname"
    )))
    .fetch_all(connection)
    .await?;
    if open.is_empty() {
        return Ok(Ok(()));
    }
    Ok(Err(format!(
        "row-level security is off on {}; give genvid a schema of its own, and turn it on: \
             ALTER TABLE … ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        open.join(", ")
    )))
}

/// Makes a role when it is missing.
async fn make(
    connection: &mut PgConnection,
    role: &str,
    owner: &str,
) -> Result<Verdict, sqlx::Error> {
    if exists(connection, role).await? {
        return Ok(Ok(()));
    }
    let statement = format!("CREATE ROLE {} NOLOGIN", quote(role));
    match run(connection, statement.clone()).await {
        Ok(()) => Ok(Ok(())),
        // Another database of the same server may have made it just now.
        Err(_) if exists(connection, role).await? => Ok(Ok(())),
        Err(error) => refused(error, owner, &statement),
    }
}

async fn exists(connection: &mut PgConnection, role: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)")
        .bind(role)
        .fetch_one(connection)
        .await
}

async fn current_user(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT current_user::text")
        .fetch_one(connection)
        .await
}

/// Whether `user` may set `role`. Since version 16 a member may or may not, before every
/// member could.
async fn may_take(
    connection: &mut PgConnection,
    user: &str,
    role: &str,
) -> Result<bool, sqlx::Error> {
    let right = if memberships_have_options(connection).await? {
        "SET"
    } else {
        "MEMBER"
    };
    sqlx::query_scalar("SELECT pg_has_role($1, $2, $3)")
        .bind(user)
        .bind(role)
        .bind(right)
        .fetch_one(connection)
        .await
}

/// The statement that lets `user` take `role`; where the server can tell the difference,
/// without having its rights all the time.
async fn membership(
    connection: &mut PgConnection,
    user: &str,
    role: &str,
) -> Result<String, sqlx::Error> {
    let options = if memberships_have_options(connection).await? {
        " WITH INHERIT FALSE, SET TRUE"
    } else {
        ""
    };
    Ok(format!("GRANT {} TO {}{options}", quote(role), quote(user)))
}

async fn memberships_have_options(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT current_setting('server_version_num')::int >= 160000")
        .fetch_one(connection)
        .await
}

async fn run(connection: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    sqlx::query(AssertSqlSafe(statement))
        .execute(connection)
        .await?;
    Ok(())
}

/// What the owner may not do, somebody else has to.
fn refused(error: sqlx::Error, owner: &str, statement: &str) -> Result<Verdict, sqlx::Error> {
    match error {
        sqlx::Error::Database(answer) => Ok(Err(format!(
            "{owner} may not do this ({answer}); let an administrator run: {statement};"
        ))),
        other => Err(other),
    }
}

/// A name as an identifier.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
