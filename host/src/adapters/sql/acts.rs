//! What administrators did.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Database, Error,
    database::Scope,
    query::{Connection, Row, query},
    rows,
    values::{Json, to_json},
};
use crate::{
    accounts::acts::{Act, ActKind, Counts},
    ids::ActId,
    jobs::store::Page,
    time,
};

/// Writes an act down, in its transaction.
pub(super) async fn note(
    connection: &mut Connection,
    actor: &str,
    kind: ActKind,
    subject: &str,
    details: Value,
) -> Result<(), Error> {
    query(
        "INSERT INTO admin_acts (id, at, actor, act, subject, details) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(ActId::generate().uuid())
    .bind(time::now())
    .bind(actor)
    .bind(kind.as_str())
    .bind(subject)
    .bind(to_json(&details)?)
    .execute(connection)
    .await?;
    Ok(())
}

fn act(row: &Row) -> Result<Act, Error> {
    Ok(Act {
        id: ActId::from_uuid(rows::uuid(row, "id")?),
        at: rows::time(row, "at")?,
        actor: row.try_get("actor")?,
        kind: rows::word("act", row.try_get("act")?, ActKind::parse)?,
        subject: row.try_get("subject")?,
        details: row.try_get::<Json>("details")?.read("details of an act")?,
    })
}

impl Database {
    /// Writes down that secrets got another seal, which takes more than one transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_reseal(&self, counts: Counts, by: String) -> Result<(), Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                let details = json!({
                    "signingKeys": counts.signing_keys,
                    "webhookEndpoints": counts.webhook_endpoints,
                    "providerSecrets": counts.provider_secrets,
                });
                note(connection, &by, ActKind::Reseal, "encryption.key", details).await
            })
        })
        .await
    }

    /// What administrators did, newest first, behind (before) one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_acts(&self, after: Option<ActId>, first: u32) -> Result<Page<Act>, Error> {
        let found = query(
            "SELECT id, at, actor, act, subject, details FROM admin_acts WHERE id < $1 \
             ORDER BY id DESC LIMIT $2",
        )
        .bind(after.map_or(Uuid::max(), ActId::uuid))
        .bind(i64::from(first) + 1)
        .fetch_all(&mut self.read(Scope::Identity).await?)
        .await?;
        let items = found.iter().map(act).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(items, first))
    }
}
