//! Takes mails that are due to the vendor, or to the mailbox.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{
    Address, Content, Door, FRESH, Letter, Links, Mail, Reason, Row, Seal, Setback, Settings,
    Status, Verdict, words,
};
use crate::{
    adapters::sql::{self, Database},
    dispatch::{self, Attempt, Outbox, after_failure},
    jobs::store::MediaRole,
    time,
};

/// Shortest wait for settings to be put right.
const REPAIR: Duration = Duration::from_secs(600);

/// Takes mails to their vendor. Cheap to clone.
#[derive(Clone)]
pub struct Postman {
    /// The truth, for the worker.
    pub database: Database,
    /// The way out; nothing: what is due is dropped.
    pub mail: Option<Arc<dyn Mail>>,
    /// Signs links.
    pub seal: Seal,
    /// Public address of this server.
    pub base: Arc<str>,
    /// The numbers.
    pub settings: Arc<Settings>,
    /// When the next one may leave.
    pub turn: Arc<Mutex<Option<Instant>>>,
}

impl Postman {
    /// A letter, the same whenever it is written; nothing when its content is forgotten or its
    /// address is none.
    #[must_use]
    pub fn letter(&self, row: &Row) -> Option<Letter> {
        let content = row.content.as_ref()?;
        let to = Address::parse(&row.address)?;
        let links = self.links(row, content);
        let all = words(content, row.language, &self.settings.brand, &links);
        let mut headers = vec![("Auto-Submitted", "auto-generated".to_owned())];
        if let Some(link) = links.unsubscribe {
            headers.push(("List-Unsubscribe", format!("<{link}>")));
            headers.push((
                "List-Unsubscribe-Post",
                "List-Unsubscribe=One-Click".to_owned(),
            ));
        }
        Some(Letter {
            id: row.id,
            owner: row.owner,
            key: row.id.to_string(),
            kind: row.kind,
            from: self.settings.from.clone(),
            reply_to: self.settings.reply_to.clone(),
            to,
            subject: all.subject,
            text: all.text,
            html: all.html,
            headers,
        })
    }

    fn links(&self, row: &Row, content: &Content) -> Links {
        let door = |door| {
            let path = (self.seal).path(door, row.id, row.created_at, self.settings.link_life);
            Some(format!("{}{path}", self.base))
        };
        let page = |path: &str| {
            let app = self.settings.app_url.as_deref()?;
            Some(format!("{}/{path}", app.trim_end_matches('/')))
        };
        let mut links = Links {
            unsubscribe: row
                .kind
                .is_optional()
                .then(|| door(Door::Unsubscribe))
                .flatten(),
            ..Links::default()
        };
        match content {
            Content::Completed { job, files, .. } => {
                let has = |role: MediaRole| files.iter().any(|file| file == role.as_str());
                let film = has(MediaRole::Video) || has(MediaRole::Voice);
                let direct = film.then(|| door(Door::Open)).flatten();
                links.open = page(&format!("jobs/{job}")).or(direct);
                links.picture = has(MediaRole::Thumbnail)
                    .then(|| door(Door::Picture))
                    .flatten();
            }
            Content::Failed { job, retryable, .. } => {
                links.open = page(&format!("jobs/{job}"));
                links.retry = retryable.then(|| door(Door::Retry)).flatten();
            }
            Content::LowCredits { .. } => links.billing = page("billing"),
            Content::EndpointDisabled { .. } => links.webhooks = page("webhooks"),
            Content::Receipt { .. }
            | Content::Verify { .. }
            | Content::Reset { .. }
            | Content::Known { .. }
            | Content::Security { .. } => {}
        }
        links
    }

    /// Why a mail is not even tried.
    async fn obstacle(&self, row: &Row) -> Result<Option<(Status, Reason)>, sql::Error> {
        if self.mail.is_none() {
            return Ok(Some((Status::Dropped, Reason::Off)));
        }
        if time::now().since(row.created_at) >= FRESH {
            return Ok(Some((Status::Dropped, Reason::Late)));
        }
        let optional = row.kind.is_optional();
        let address = row.address.to_ascii_lowercase();
        if let Some(reason) = self.database.suppression_of(address, optional).await? {
            return Ok(Some((Status::Suppressed, reason)));
        }
        if optional && self.database.mails_today(row.owner).await? >= i64::from(self.settings.daily)
        {
            return Ok(Some((Status::Dropped, Reason::Limit)));
        }
        Ok(None)
    }

    async fn send(&self, row: Row) -> Result<(), sql::Error> {
        if let Some((status, reason)) = self.obstacle(&row).await? {
            tracing::debug!(mail = %row.id, ?status, ?reason, "a mail is not sent");
            let verdict = Verdict::Ended(status, reason);
            return self.database.settle_mail(row, None, verdict).await;
        }
        let (Some(letter), Some(mail)) = (self.letter(&row), &self.mail) else {
            let verdict = Verdict::Ended(Status::Failed, Reason::Refused);
            return self.database.settle_mail(row, None, verdict).await;
        };
        self.wait_for_turn().await;
        let at = time::now();
        let began = Instant::now();
        let sent = tokio::time::timeout(self.settings.timeout, mail.send(&letter)).await;
        let answer = sent.unwrap_or_else(|_| Err(late()));
        let verdict = self.judge(&row, &answer);
        let (status, error) = match &answer {
            Ok(_) => (Some(200), None),
            Err(error) => (error.status, Some(error.words.clone())),
        };
        let attempt = Attempt {
            at,
            duration_ms: dispatch::millis(began.elapsed()),
            status,
            error,
            response: answer.ok().flatten().unwrap_or_default(),
        };
        self.database.settle_mail(row, Some(attempt), verdict).await
    }

    /// So many in a second, of this node.
    async fn wait_for_turn(&self) {
        let gap = Duration::from_secs(1) / self.settings.per_second.max(1);
        let mut turn = self.turn.lock().await;
        let now = Instant::now();
        let mine = turn.map_or(now, |next| next.max(now));
        *turn = Some(mine + gap);
        drop(turn);
        tokio::time::sleep(mine.duration_since(now)).await;
    }

    fn judge(&self, row: &Row, answer: &Result<Option<String>, super::SendError>) -> Verdict {
        let error = match answer {
            Ok(vendor) => return Verdict::Sent(vendor.clone()),
            Err(error) => error,
        };
        let asked = match error.setback {
            Setback::AlreadyTaken => return Verdict::Sent(None),
            Setback::Refused => {
                tracing::warn!(mail = %row.id, kind = row.kind.as_str(), %error, "a mail is refused");
                return Verdict::Ended(Status::Failed, Reason::Refused);
            }
            Setback::Misconfigured => {
                tracing::error!(
                    %error,
                    "the mail vendor refuses this installation: look at mail.from and the key"
                );
                Some(REPAIR)
            }
            Setback::Later(asked) => asked,
        };
        let waits = &self.settings.retries;
        match after_failure(waits, row.tries, asked, rand::random()) {
            Some(wait) if time::now().after(wait) < row.created_at.after(FRESH) => {
                Verdict::Again(wait)
            }
            _ => {
                tracing::warn!(mail = %row.id, kind = row.kind.as_str(), "a mail is given up");
                Verdict::Ended(Status::Dropped, Reason::Late)
            }
        }
    }
}

fn late() -> super::SendError {
    super::SendError {
        setback: Setback::Later(None),
        status: None,
        words: "no answer in time".to_owned(),
    }
}

#[async_trait]
impl Outbox for Postman {
    type Taken = Row;

    const NAME: &'static str = "mail";
    /// Nobody waits for a mail by the half second.
    const EVERY: Duration = Duration::from_secs(1);

    fn concurrency(&self) -> usize {
        self.settings.concurrency
    }

    async fn claim(&self, free: u32) -> Result<Vec<Row>, sql::Error> {
        // Mostly there is nothing, and a look costs less than a transaction.
        if !self.database.has_due_mails().await? {
            return Ok(Vec::new());
        }
        // Those that wait for their turn wait within the lease.
        let turns = Duration::from_secs(self.settings.concurrency as u64);
        let lease = self.settings.timeout + turns + dispatch::SLACK;
        self.database.claim_mails(lease, free).await
    }

    async fn attempt(&self, row: Row) -> Result<(), sql::Error> {
        self.send(row).await
    }
}
