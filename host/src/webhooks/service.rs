//! What users do with their webhooks. Every method is scoped to the caller.

use std::{collections::HashMap, sync::Arc};

use serde_json::json;
use url::Url;

use super::{Attempt, Delivery, Endpoint, Kind, Message, Secret, SecretError, Secrets, Settings};
use crate::{
    adapters::sql::{self, Database},
    ids::{DeliveryId, EndpointId, MessageId, UserId},
    input::{Problems, check_receiver},
    jobs::store::Page,
    time,
    vault::Vault,
};

const MAX_DESCRIPTION: usize = 200;

/// Why a wish could not be granted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields that cannot be taken.
    #[error("the input is not valid")]
    Invalid(Problems),
    /// There is no such thing for this caller.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sql::Error),
    /// A secret cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// An endpoint to add.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Where it is.
    pub url: Option<Url>,
    /// What it hears; nothing: when a job comes to rest.
    pub events: Option<Vec<Kind>>,
    /// For people.
    pub description: Option<String>,
}

/// What changes at an endpoint. What is left out stays.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Where it is.
    pub url: Option<Url>,
    /// What it hears.
    pub events: Option<Vec<Kind>>,
    /// For people.
    pub description: Option<String>,
    /// Is it sent anything?
    pub enabled: Option<bool>,
}

/// What users do with their webhooks.
#[derive(Clone)]
pub struct Service {
    database: Database,
    secrets: Secrets,
    settings: Arc<Settings>,
}

fn events(wished: Vec<Kind>, problems: &mut Problems) -> Vec<Kind> {
    let mut events = wished;
    events.sort_unstable();
    events.dedup();
    if events.is_empty() {
        problems.add("eventTypes", "must name one at least");
    }
    events
}

impl Service {
    /// Over a database, whose secrets are sealed by `vault`.
    #[must_use]
    pub fn new(database: Database, vault: Vault, settings: Arc<Settings>) -> Self {
        Self {
            secrets: Secrets::new(database.clone(), vault),
            database,
            settings,
        }
    }

    /// Adds an endpoint; its secret is shown only now.
    ///
    /// # Errors
    /// `Invalid` names every field; `Conflict` when there are too many.
    pub async fn create(&self, owner: UserId, draft: Draft) -> Result<(Endpoint, Secret), Error> {
        let mut problems = Problems::default();
        let mut new = Endpoint::new(owner, None, Kind::AT_REST.to_vec(), time::now());
        match draft.url {
            Some(url) => {
                check_receiver("url", &url, self.settings.lenient, &mut problems);
                new.url = Some(url.into());
            }
            None => problems.add("url", "must be an absolute address"),
        }
        if let Some(wished) = draft.events {
            new.events = events(wished, &mut problems);
        }
        let description = draft.description.unwrap_or_default();
        new.description = problems.text("description", &description, 0, MAX_DESCRIPTION);
        problems.into_result().map_err(Error::Invalid)?;
        let (secret, sealed) = self.secrets.make(new.id)?;
        new.secret = sealed;
        let most = self.settings.most_endpoints;
        if !self.database.insert_endpoint(new.clone(), most).await? {
            return Err(Error::Conflict(format!(
                "There are {most} endpoints already, which is the most; delete one first."
            )));
        }
        Ok((new, secret))
    }

    /// Changes an endpoint.
    ///
    /// # Errors
    /// `Invalid` names every field; `NotFound`; `Conflict` for the endpoint of jobs.
    pub async fn update(
        &self,
        owner: UserId,
        id: EndpointId,
        change: Change,
    ) -> Result<Endpoint, Error> {
        let mut row = self.own(owner, id).await?;
        let mut problems = Problems::default();
        if let Some(url) = change.url {
            check_receiver("url", &url, self.settings.lenient, &mut problems);
            row.url = Some(url.into());
        }
        if let Some(wished) = change.events {
            row.events = events(wished, &mut problems);
        }
        if let Some(text) = change.description {
            row.description = problems.text("description", &text, 0, MAX_DESCRIPTION);
        }
        problems.into_result().map_err(Error::Invalid)?;
        let changed = self.database.change_endpoint(row, change.enabled).await?;
        changed.ok_or(Error::NotFound("endpoint"))
    }

    /// Deletes an endpoint. What it was sent stays to be read by nobody.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for the endpoint of jobs.
    pub async fn delete(&self, owner: UserId, id: EndpointId) -> Result<(), Error> {
        self.own(owner, id).await?;
        if self.database.delete_endpoint(owner, id).await? {
            Ok(())
        } else {
            Err(Error::NotFound("endpoint"))
        }
    }

    /// Gives an endpoint a new secret; the old one signs too for a day.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn rotate(&self, owner: UserId, id: EndpointId) -> Result<(Endpoint, Secret), Error> {
        let (secret, sealed) = self.secrets.make(id)?;
        let rotated = self.database.rotate_secret(owner, id, sealed).await?;
        let rotated = rotated.ok_or(Error::NotFound("endpoint"))?;
        Ok((rotated, secret))
    }

    /// The caller's endpoint of jobs' own webhooks, with its secret; both are made when they are
    /// missing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of_jobs(&self, owner: UserId) -> Result<(Endpoint, Secret), Error> {
        let new = Endpoint::of_jobs(owner, time::now());
        let endpoint = self.database.ensure_job_endpoint(new).await?;
        let secret = self.secrets.of(&endpoint).await?;
        Ok((endpoint, secret))
    }

    /// Sends a message that says nothing, to try an endpoint.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when nothing is sent to it.
    pub async fn test(&self, owner: UserId, id: EndpointId) -> Result<Delivery, Error> {
        self.own(owner, id).await?;
        let message = Message {
            id: MessageId::generate(),
            kind: Kind::Test,
            job: None,
            data: json!({"endpointId": id}),
            at: time::now(),
        };
        let sent = self.database.send_message(owner, id, message).await?;
        sent.ok_or_else(|| Error::Conflict("The endpoint is disabled; enable it first.".to_owned()))
    }

    /// Begins a delivery anew.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is under way or its endpoint is disabled.
    pub async fn redeliver(&self, owner: UserId, id: DeliveryId) -> Result<Delivery, Error> {
        let missing = || Error::NotFound("delivery");
        let found = self.database.find_delivery(owner, id).await?;
        found.ok_or_else(missing)?;
        if !self.database.redeliver(owner, id).await? {
            return Err(Error::Conflict(
                "The delivery is being made just now, or its endpoint is deleted or disabled."
                    .to_owned(),
            ));
        }
        let found = self.database.find_delivery(owner, id).await?;
        found.ok_or_else(missing)
    }

    /// An endpoint of the caller's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(&self, owner: UserId, id: EndpointId) -> Result<Option<Endpoint>, Error> {
        Ok(self.database.find_endpoint(owner, id).await?)
    }

    /// The caller's endpoints, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(
        &self,
        owner: UserId,
        after: Option<EndpointId>,
        first: u32,
    ) -> Result<Page<Endpoint>, Error> {
        Ok(self.database.list_endpoints(owner, after, first).await?)
    }

    /// Deliveries to an endpoint of the caller's, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deliveries(
        &self,
        owner: UserId,
        id: EndpointId,
        after: Option<DeliveryId>,
        first: u32,
    ) -> Result<Page<Delivery>, Error> {
        let page = self.database.list_deliveries(owner, id, after, first);
        Ok(page.await?)
    }

    /// The latest attempts of deliveries of the caller's, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn attempts(
        &self,
        owner: UserId,
        deliveries: &[DeliveryId],
    ) -> Result<HashMap<DeliveryId, Vec<Attempt>>, Error> {
        let mut found: HashMap<DeliveryId, Vec<Attempt>> = HashMap::new();
        for (id, attempt) in self.database.attempts_at(owner, deliveries).await? {
            found.entry(id).or_default().push(attempt);
        }
        Ok(found)
    }

    /// An endpoint that its owner has made.
    async fn own(&self, owner: UserId, id: EndpointId) -> Result<Endpoint, Error> {
        let found = self.find(owner, id).await?;
        let found = found.ok_or(Error::NotFound("endpoint"))?;
        if found.url.is_none() {
            return Err(Error::Conflict(
                "This endpoint belongs to the jobs that name an address; only its secret changes."
                    .to_owned(),
            ));
        }
        Ok(found)
    }
}
