//! Mail on its way: written down with what causes it, once for each cause; taken when due;
//! settled after each attempt; and what the vendor tells afterwards.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::{
    Database, Error,
    database::Scope,
    dialect::{Dialect, millis},
    outbox,
    query::{Connection, Row as Raw, query},
    rows::{self, JOB},
    values::{Json, to_json},
};
use crate::{
    dispatch::Attempt,
    ids::{JobId, MailId, UserId},
    jobs::model::{Event, EventType, Failure, FailureCode, Job},
    mail::{
        Address, Content, Kept, Kind, Language, Letter, NewMail, Reason, Recipient, Row, Spent,
        Status, Told, Verdict,
    },
    time::{self, Timestamp},
};

/// Columns of a mail.
const MAIL: &str = "id, owner_id, key, kind, address, language, data, status, reason, vendor_id, \
    tries, lease_epoch, created_at";
/// Columns of a mail that was kept.
const KEPT: &str = "mail_id, sender, address, subject, text, html, headers, at";

fn row(raw: &Raw) -> Result<Row, Error> {
    let kind = rows::word("kind of a mail", raw.try_get("kind")?, Kind::parse)?;
    let data: Json = raw.try_get("data")?;
    let data: serde_json::Value = data.read("mail")?;
    let content = match data.is_null() {
        true => None,
        false => Some(serde_json::from_value(data).map_err(|error| Error::decode("mail", error))?),
    };
    let tries: i64 = raw.try_get("tries")?;
    Ok(Row {
        id: MailId::from_uuid(rows::uuid(raw, "id")?),
        owner: UserId::from_uuid(rows::uuid(raw, "owner_id")?),
        key: raw.try_get("key")?,
        kind,
        address: raw.try_get("address")?,
        language: rows::word("language", raw.try_get("language")?, Language::parse)?,
        content,
        status: rows::word("status of a mail", raw.try_get("status")?, Status::parse)?,
        reason: (raw.try_get::<Option<&str>>("reason")?).and_then(Reason::parse),
        vendor: raw.try_get("vendor_id")?,
        tries: u32::try_from(tries).unwrap_or(u32::MAX),
        epoch: raw.try_get("lease_epoch")?,
        created_at: rows::time(raw, "created_at")?,
    })
}

fn kept(raw: &Raw) -> Result<Kept, Error> {
    Ok(Kept {
        id: MailId::from_uuid(rows::uuid(raw, "mail_id")?),
        from: raw.try_get("sender")?,
        to: raw.try_get("address")?,
        subject: raw.try_get("subject")?,
        text: raw.try_get("text")?,
        html: raw.try_get("html")?,
        headers: raw.try_get::<Json>("headers")?.read("headers of a mail")?,
        at: rows::time(raw, "at")?,
    })
}

/// Where a user's own mail goes.
pub(super) async fn note_contact(
    connection: &mut Connection,
    owner: UserId,
    address: &str,
    language: Language,
) -> Result<(), Error> {
    query(
        "INSERT INTO mail_contacts (owner_id, address, language) VALUES ($1, $2, $3) \
         ON CONFLICT (owner_id) DO NOTHING",
    )
    .bind(owner.uuid())
    .bind(address)
    .bind(language.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Where a job's end is told, in the job's language.
pub(super) async fn note_job(
    connection: &mut Connection,
    job: &Job,
    address: &Address,
) -> Result<(), Error> {
    query("INSERT INTO job_mails (job_id, owner_id, address, language) VALUES ($1, $2, $3, $4)")
        .bind(job.id.uuid())
        .bind(job.owner.uuid())
        .bind(address.as_str())
        .bind(Language::of(job.input.language()).as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes a mail down, in the transaction of its cause; false when there is one of this cause
/// already, or its owner has no address.
pub(super) async fn insert(connection: &mut Connection, new: &NewMail) -> Result<bool, Error> {
    let (address, language) = match &new.to {
        Recipient::Address(address, language) => (address.as_str().to_owned(), *language),
        Recipient::Owner => match contact(connection, new.owner).await? {
            Some(found) => found,
            None => return Ok(false),
        },
    };
    let now = connection.dialect().now;
    let added = query(AssertSqlSafe(format!(
        "INSERT INTO mails (id, owner_id, key, kind, job_id, address, language, data, status, \
         due_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'PENDING', {now}, $9) \
         ON CONFLICT (key) DO NOTHING"
    )))
    .bind(MailId::generate().uuid())
    .bind(new.owner.uuid())
    .bind(&new.key)
    .bind(new.content.kind().as_str())
    .bind(new.content.job().map(JobId::uuid))
    .bind(address)
    .bind(language.as_str())
    .bind(to_json(&new.content)?)
    .bind(time::now())
    .execute(connection)
    .await?
    .rows_affected();
    Ok(added > 0)
}

async fn contact(
    connection: &mut Connection,
    owner: UserId,
) -> Result<Option<(String, Language)>, Error> {
    query("SELECT address, language FROM mail_contacts WHERE owner_id = $1 AND address <> ''")
        .bind(owner.uuid())
        .fetch_optional(connection)
        .await?
        .map(|raw| {
            let language = rows::word("language", raw.try_get("language")?, Language::parse)?;
            Ok((raw.try_get("address")?, language))
        })
        .transpose()
}

/// Tells of jobs' ends where their owners asked for it. Comes after their credits are settled,
/// so that it can say what they cost.
pub(super) async fn announce(connection: &mut Connection, events: &[Event]) -> Result<(), Error> {
    for event in events {
        if !matches!(
            event.body.event,
            EventType::JobSucceeded | EventType::JobFailed
        ) {
            continue;
        }
        let wanted = query("SELECT address, language FROM job_mails WHERE job_id = $1")
            .bind(event.job.uuid())
            .fetch_optional(&mut *connection)
            .await?;
        let Some(wanted) = wanted else { continue };
        let address: &str = wanted.try_get("address")?;
        let Some(address) = Address::parse(address) else {
            continue;
        };
        let language = rows::word("language", wanted.try_get("language")?, Language::parse)?;
        let content = outcome(connection, event).await?;
        let new = NewMail {
            owner: event.owner,
            key: format!("job/{}/{}", event.job, event.seq),
            to: Recipient::Address(address, language),
            content,
        };
        insert(connection, &new).await?;
    }
    Ok(())
}

async fn outcome(connection: &mut Connection, event: &Event) -> Result<Content, Error> {
    let found = query(AssertSqlSafe(format!(
        "SELECT {JOB} FROM jobs WHERE id = $1"
    )))
    .bind(event.job.uuid())
    .fetch_one(&mut *connection)
    .await?;
    let job = rows::job(&found)?;
    let spent = spent(connection, event.job).await?;
    if event.body.event == EventType::JobFailed {
        let unknown = || Failure::new(FailureCode::Internal, "");
        let failure = job.error.unwrap_or_else(unknown);
        return Ok(Content::Failed {
            job: job.id,
            what: job.kind,
            seq: event.seq,
            code: failure.code,
            retryable: failure.retryable,
            spent,
        });
    }
    let files = query("SELECT role FROM media WHERE job_id = $1 ORDER BY role")
        .bind(event.job.uuid())
        .fetch_all(connection)
        .await?
        .iter()
        .map(|raw| Ok(raw.try_get("role")?))
        .collect::<Result<_, Error>>()?;
    Ok(Content::Completed {
        job: job.id,
        what: job.kind,
        files,
        spent,
    })
}

async fn spent(connection: &mut Connection, job: JobId) -> Result<Spent, Error> {
    let hold = query("SELECT amount, captured, released FROM credit_holds WHERE job_id = $1")
        .bind(job.uuid())
        .fetch_optional(connection)
        .await?;
    let Some(hold) = hold else {
        // A job from before there were credits.
        return Ok(Spent {
            charged: 0,
            returned: 0,
            open: 0,
        });
    };
    let charged: i64 = hold.try_get("captured")?;
    let returned: i64 = hold.try_get("released")?;
    Ok(Spent {
        charged,
        returned,
        open: hold.try_get::<i64>("amount")? - charged - returned,
    })
}

/// Tells a user once that fewer credits are left than `threshold`. Comes after what took them,
/// in its transaction, which has locked the user's credits.
pub(super) async fn watch_credits(
    connection: &mut Connection,
    owner: UserId,
    threshold: i64,
) -> Result<(), Error> {
    if threshold <= 0 {
        return Ok(());
    }
    let crossed = query(
        "UPDATE mail_contacts SET low_below = $2 WHERE owner_id = $1 AND low_below IS NULL \
         AND (SELECT balance FROM credit_accounts WHERE credit_accounts.owner_id = $1 \
         AND kind = 'available') < $2 \
         RETURNING (SELECT balance FROM credit_accounts WHERE credit_accounts.owner_id = $1 \
         AND kind = 'available') AS balance",
    )
    .bind(owner.uuid())
    .bind(threshold)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(crossed) = crossed else {
        return Ok(());
    };
    let new = NewMail {
        owner,
        // Whoever crosses it again has got more in between, which takes a while.
        key: format!("credits/{owner}/{}", MailId::generate()),
        to: Recipient::Owner,
        content: Content::LowCredits {
            available: crossed.try_get("balance")?,
            threshold,
        },
    };
    insert(connection, &new).await?;
    Ok(())
}

/// A user has got credits: when there are enough again, the next time that they are few is told.
/// Credits that a job gives back do not count, or each job would tell it anew.
pub(super) async fn refill(connection: &mut Connection, owner: UserId) -> Result<(), Error> {
    query(
        "UPDATE mail_contacts SET low_below = NULL WHERE owner_id = $1 \
         AND low_below <= (SELECT balance FROM credit_accounts \
         WHERE credit_accounts.owner_id = $1 AND kind = 'available')",
    )
    .bind(owner.uuid())
    .execute(connection)
    .await?;
    Ok(())
}

impl Database {
    /// Writes a mail down by itself; false when there is one of this cause already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn write_mail(&self, new: impl Into<NewMail>) -> Result<bool, Error> {
        let new = new.into();
        self.write(Scope::User(new.owner), move |connection| {
            Box::pin(async move { insert(connection, &new).await })
        })
        .await
    }

    /// Whether a claim may find something.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_due_mails(&self) -> Result<bool, Error> {
        let mut connection = self.read(Scope::Worker).await?;
        let now = connection.dialect().now;
        let found = query(AssertSqlSafe(format!(
            "SELECT id FROM mails WHERE due_at <= {now} \
             AND (lease_until IS NULL OR lease_until <= {now}) LIMIT 1"
        )))
        .fetch_optional(&mut connection)
        .await?;
        Ok(found.is_some())
    }

    /// Takes mails that are due, oldest first, for `lease`: at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_mails(&self, lease: Duration, limit: u32) -> Result<Vec<Row>, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now,
                    millisecond,
                    lock_free,
                    ..
                } = connection.dialect();
                query(AssertSqlSafe(format!(
                    "WITH chosen AS MATERIALIZED (SELECT id FROM mails WHERE due_at <= {now} \
                     AND (lease_until IS NULL OR lease_until <= {now}) \
                     ORDER BY due_at LIMIT $2 {lock_free}) \
                     UPDATE mails SET lease_until = {now} + $1 * {millisecond}, \
                     lease_epoch = lease_epoch + 1, tries = tries + 1 \
                     WHERE id IN (SELECT id FROM chosen) RETURNING {MAIL}"
                )))
                .bind(millis(lease))
                .bind(limit)
                .fetch_all(connection)
                .await?
                .iter()
                .map(row)
                .collect()
            })
        })
        .await
    }

    /// Writes down what came of an attempt. Of a mail that somebody else has taken since, or that
    /// the vendor has told about, only the attempt is kept.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_mail(
        &self,
        taken: Row,
        attempt: Option<Attempt>,
        verdict: Verdict,
    ) -> Result<(), Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                if let Some(attempt) = attempt {
                    let sql = "INSERT INTO mail_attempts (id, mail_id, owner_id, at, \
                         duration_ms, status, error, response) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
                    let (mail, owner) = (taken.id.uuid(), taken.owner);
                    outbox::insert_attempt(connection, sql, mail, owner, &attempt).await?;
                }
                settle(connection, &taken, verdict).await
            })
        })
        .await
    }

    /// Why an address gets no mail; `optional`: of the kind that its reader may do without.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn suppression_of(
        &self,
        address: String,
        optional: bool,
    ) -> Result<Option<Reason>, Error> {
        let found = query(
            "SELECT reason FROM mail_suppressions WHERE address = $1 \
             AND (reason <> 'UNSUBSCRIBED' OR $2) ORDER BY reason LIMIT 1",
        )
        .bind(address)
        .bind(optional)
        .fetch_optional(&mut self.read(Scope::Worker).await?)
        .await?;
        found
            .map(|raw| rows::word("suppression", raw.try_get("reason")?, Reason::parse))
            .transpose()
    }

    /// No more mail to an address, in small letters.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn suppress(&self, address: String, reason: Reason) -> Result<(), Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move { suppress(connection, &address, reason).await })
        })
        .await
    }

    /// How many mails of a user that could be done without have left within a day.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mails_today(&self, owner: UserId) -> Result<i64, Error> {
        let mut connection = self.read(Scope::Worker).await?;
        let Dialect {
            now, millisecond, ..
        } = connection.dialect();
        let found = query(AssertSqlSafe(format!(
            "SELECT COUNT(*) AS there FROM mails WHERE owner_id = $1 \
             AND created_at > {now} - 86400000 * {millisecond} \
             AND kind IN ('COMPLETED', 'FAILED', 'LOW_CREDITS') \
             AND status NOT IN ('PENDING', 'DROPPED', 'SUPPRESSED')"
        )))
        .bind(owner.uuid())
        .fetch_one(&mut connection)
        .await?;
        Ok(found.try_get("there")?)
    }

    /// A mail, whoever's it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_mail(&self, id: MailId) -> Result<Option<Row>, Error> {
        query(AssertSqlSafe(format!(
            "SELECT {MAIL} FROM mails WHERE id = $1"
        )))
        .bind(id.uuid())
        .fetch_optional(&mut self.read(Scope::Worker).await?)
        .await?
        .as_ref()
        .map(row)
        .transpose()
    }

    /// The newest mails of a user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mails_of(&self, owner: UserId, first: u32) -> Result<Vec<Row>, Error> {
        query(AssertSqlSafe(format!(
            "SELECT {MAIL} FROM mails WHERE owner_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2"
        )))
        .bind(owner.uuid())
        .bind(first)
        .fetch_all(&mut self.read(Scope::User(owner)).await?)
        .await?
        .iter()
        .map(row)
        .collect()
    }

    /// Number of the last event of a type in a job's log.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_event(&self, job: JobId, event: EventType) -> Result<Option<i64>, Error> {
        let found = query("SELECT MAX(seq) AS last FROM events WHERE job_id = $1 AND type = $2")
            .bind(job.uuid())
            .bind(event.as_str())
            .fetch_one(&mut self.read(self.scope()?).await?)
            .await?;
        Ok(found.try_get("last")?)
    }

    /// Writes down what the vendor told of a mail, once, and what follows from it: told in any
    /// order, the last in a mail's life stays. False when it was told before, or of no mail here.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_mail_event(&self, told: Told) -> Result<bool, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move { note_event(connection, &told).await })
        })
        .await
    }

    /// Keeps a letter that is not sent, once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_mail(&self, letter: Letter, at: Timestamp) -> Result<(), Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let headers: std::collections::BTreeMap<_, _> =
                    letter.headers.iter().cloned().collect();
                query(
                    "INSERT INTO mailbox (mail_id, owner_id, sender, address, subject, text, \
                     html, headers, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
                     ON CONFLICT (mail_id) DO NOTHING",
                )
                .bind(letter.id.uuid())
                .bind(letter.owner.uuid())
                .bind(letter.from.as_str())
                .bind(letter.to.as_str())
                .bind(&letter.subject)
                .bind(&letter.text)
                .bind(&letter.html)
                .bind(to_json(&headers)?)
                .bind(at)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// The newest letters that were kept.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mailbox(&self, first: u32) -> Result<Vec<Kept>, Error> {
        query(AssertSqlSafe(format!(
            "SELECT {KEPT} FROM mailbox ORDER BY mail_id DESC LIMIT $1"
        )))
        .bind(first)
        .fetch_all(&mut self.read(Scope::Worker).await?)
        .await?
        .iter()
        .map(kept)
        .collect()
    }

    /// A letter that was kept.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn in_mailbox(&self, id: MailId) -> Result<Option<Kept>, Error> {
        query(AssertSqlSafe(format!(
            "SELECT {KEPT} FROM mailbox WHERE mail_id = $1"
        )))
        .bind(id.uuid())
        .fetch_optional(&mut self.read(Scope::Worker).await?)
        .await?
        .as_ref()
        .map(kept)
        .transpose()
    }
}

/// Moves a mail on, while this node has it.
async fn settle(connection: &mut Connection, taken: &Row, verdict: Verdict) -> Result<(), Error> {
    let Dialect {
        now, millisecond, ..
    } = connection.dialect();
    let (status, reason, vendor, again) = match verdict {
        Verdict::Sent(vendor) => (Status::Sent, None, vendor, None),
        Verdict::Again(wait) => (Status::Pending, None, None, Some(millis(wait))),
        Verdict::Ended(status, reason) => (status, Some(reason), None, None),
    };
    // Links that open accounts are forgotten once they are no more needed.
    let forget = taken.kind.is_secret() && again.is_none();
    // What the vendor told meanwhile stays: its events may overtake its answer.
    query(AssertSqlSafe(format!(
        "UPDATE mails SET lease_until = NULL, vendor_id = COALESCE($5, vendor_id), \
         status = CASE WHEN status = 'PENDING' THEN $3 ELSE status END, \
         reason = CASE WHEN status = 'PENDING' THEN $4 ELSE reason END, \
         due_at = CASE WHEN status = 'PENDING' THEN {now} + $6 * {millisecond} END, \
         completed_at = CASE WHEN $3 = 'PENDING' THEN completed_at ELSE {now} END, \
         data = CASE WHEN $7 THEN $8 ELSE data END \
         WHERE id = $1 AND lease_epoch = $2"
    )))
    .bind(taken.id.uuid())
    .bind(taken.epoch)
    .bind(status.as_str())
    .bind(reason.map(Reason::as_str))
    .bind(vendor)
    .bind(again)
    .bind(forget)
    .bind(to_json(&serde_json::Value::Null)?)
    .execute(connection)
    .await?;
    Ok(())
}

async fn suppress(connection: &mut Connection, address: &str, reason: Reason) -> Result<(), Error> {
    query(
        "INSERT INTO mail_suppressions (address, reason, at) VALUES ($1, $2, $3) \
         ON CONFLICT (address, reason) DO NOTHING",
    )
    .bind(address)
    .bind(reason.as_str())
    .bind(time::now())
    .execute(connection)
    .await?;
    Ok(())
}

async fn note_event(connection: &mut Connection, told: &Told) -> Result<bool, Error> {
    let lock = connection.dialect().lock;
    let found = query(AssertSqlSafe(format!(
        "SELECT {MAIL} FROM mails WHERE id = $1 {lock}"
    )))
    .bind(told.mail.uuid())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(found) = found else {
        return Ok(false);
    };
    let added = query(
        "INSERT INTO mail_events (id, type, mail_id, at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(&told.id)
    .bind(&told.event)
    .bind(told.mail.uuid())
    .bind(time::now())
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if added == 0 {
        return Ok(false);
    }
    let mail = row(&found)?;
    if let Some(reason) = told.suppress {
        suppress(connection, &mail.address.to_ascii_lowercase(), reason).await?;
    }
    let now = connection.dialect().now;
    let later = told.status.rank() > mail.status.rank();
    // Whoever tells of it has it: nothing is sent again.
    query(AssertSqlSafe(format!(
        "UPDATE mails SET status = CASE WHEN $2 THEN $3 ELSE status END, due_at = NULL, \
         vendor_id = COALESCE(vendor_id, $4), reason = CASE WHEN $2 THEN $5 ELSE reason END, \
         completed_at = COALESCE(completed_at, {now}), \
         data = CASE WHEN $6 THEN $7 ELSE data END WHERE id = $1"
    )))
    .bind(told.mail.uuid())
    .bind(later)
    .bind(told.status.as_str())
    .bind(told.vendor.as_deref())
    .bind(told.suppress.map(Reason::as_str))
    .bind(mail.kind.is_secret())
    .bind(to_json(&serde_json::Value::Null)?)
    .execute(connection)
    .await?;
    Ok(true)
}
