//! Whose rights statements run with. Row-level security holds for a role that is neither a
//! superuser nor exempt nor the owner of the tables, so statements run as one of those:
//! `genvid_app`, unless the settings say otherwise.

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

/// Tables without rows of tenants. Every other one has row-level security.
const SHARED: &str = "'installation', '_sqlx_migrations'";

/// What the server refuses, in words for the operator.
type Verdict = Result<(), String>;

/// Whether the connecting user may run statements as `role` and read what was migrated.
pub(super) async fn is_usable(
    connection: &mut PgConnection,
    role: &str,
) -> Result<bool, sqlx::Error> {
    let row = sqlx::query(
        "SELECT (SELECT rolname FROM pg_roles WHERE rolname = COALESCE(NULLIF($1, ''), current_user)) AS role, \
         to_regclass('_sqlx_migrations') IS NOT NULL AND to_regclass('installation') IS NOT NULL AS migrated",
    )
    .bind(role)
    .fetch_one(&mut *connection)
    .await?;
    let found: Option<String> = row.try_get("role")?;
    let (Some(role), true) = (found, row.try_get("migrated")?) else {
        return Ok(false);
    };
    sqlx::query_scalar(
        "SELECT pg_has_role(current_user, $1, 'MEMBER') \
         AND has_table_privilege($1, 'installation', 'INSERT') \
         AND has_table_privilege(current_user, '_sqlx_migrations', 'SELECT')",
    )
    .bind(role)
    .fetch_one(connection)
    .await
}

/// Makes the role when it is missing, lets the connecting user take it, and gives it what
/// statements need and no more. Run by the owner of the tables.
pub(super) async fn grant(
    connection: &mut PgConnection,
    role: &str,
    user: &str,
) -> Result<Verdict, sqlx::Error> {
    let owner: String = sqlx::query_scalar("SELECT current_user::text")
        .fetch_one(&mut *connection)
        .await?;
    let role = if role.is_empty() { user } else { role };
    let quoted = quote(role);
    if !exists(connection, role).await? {
        let made = run(connection, format!("CREATE ROLE {quoted} NOLOGIN")).await;
        // Another database of the same server may have made it just now.
        if !exists(connection, role).await? {
            return match made {
                Err(error) => refused(error, &owner, &format!("CREATE ROLE {quoted} NOLOGIN;")),
                Ok(()) => Ok(Err(format!("the role {role} was made and is not there"))),
            };
        }
    }
    for member in [owner.as_str(), user] {
        if exists(connection, member).await? && !is_member(connection, member, role).await? {
            let statement = format!("GRANT {quoted} TO {}", quote(member));
            if let Err(error) = run(connection, statement.clone()).await {
                return refused(error, &owner, &format!("{statement};"));
            }
        }
    }
    let schema: String = sqlx::query_scalar("SELECT current_schema()::text")
        .fetch_one(&mut *connection)
        .await?;
    let schema = quote(&schema);
    for statement in [
        format!("GRANT USAGE ON SCHEMA {schema} TO {quoted}"),
        format!("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {schema} TO {quoted}"),
        // What is only ever added cannot be changed by mistake. Nothing is ever deleted.
        format!("REVOKE UPDATE ON events, media, callbacks, installation FROM {quoted}"),
        format!("REVOKE INSERT, UPDATE ON _sqlx_migrations FROM {quoted}"),
        // Whoever connects looks whether the tables are up to date.
        format!("GRANT SELECT ON _sqlx_migrations TO {}", quote(user)),
    ] {
        run(connection, statement).await?;
    }
    Ok(Ok(()))
}

/// Whether row-level security holds for the role that this connection has.
pub(super) async fn check(connection: &mut PgConnection) -> Result<Verdict, sqlx::Error> {
    let row = sqlx::query(
        "SELECT current_user::text AS role, rolsuper, rolbypassrls, \
         EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = current_schema()::regnamespace \
         AND relkind = 'r' AND pg_has_role(current_user, relowner, 'USAGE')) AS owns \
         FROM pg_roles WHERE rolname = current_user",
    )
    .fetch_one(&mut *connection)
    .await?;
    let role: String = row.try_get("role")?;
    for (column, why) in [
        ("rolsuper", "is a superuser"),
        ("rolbypassrls", "has BYPASSRLS"),
        ("owns", "owns the tables"),
    ] {
        if row.try_get(column)? {
            return Ok(Err(format!(
                "statements would run as {role}, which {why}: row-level security would not hold. \
                 Set database.role to a role without rights of its own (the default makes one), \
                 or database.url to a plain user and database.owner_url to the owner"
            )));
        }
    }
    let open: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT relname::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace \
         AND relkind = 'r' AND relname NOT IN ({SHARED}) \
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

async fn exists(connection: &mut PgConnection, role: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)")
        .bind(role)
        .fetch_one(connection)
        .await
}

async fn is_member(
    connection: &mut PgConnection,
    member: &str,
    role: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_has_role($1, $2, 'MEMBER')")
        .bind(member)
        .bind(role)
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
            "{owner} may not do this ({answer}); let an administrator run: {statement}"
        ))),
        other => Err(other),
    }
}

/// A name as an identifier.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
