//! A plugin that can be called: a component with an operator's grant.

use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use tokio::sync::Semaphore;

use crate::call::{Call, ContextArgs, Lost, Outcome};
use crate::component::{Component, Exports};
use crate::contract::generated::exports::genvid::provider as exported;
use crate::contract::types::{Context, Error, Status, Submission};
use crate::contract::{account, catalog, script, tasks, video, voice, webhook};
use crate::egress::{Egress, Fetched};
use crate::error::{FetchError, GrantError, WebhookRefused};
use crate::grant::{self, Grant};
use crate::manifest::Manifest;
use crate::output::Check;

/// A plugin that can be called. Clones are the same plugin.
#[derive(Clone)]
pub struct Plugin {
    granted: Arc<Granted>,
}

/// A component and what it was granted.
pub(crate) struct Granted {
    component: Component,
    settings: String,
    egress: Egress,
    webhook_secret: Option<secrecy::SecretString>,
    /// A part of all places, so that one plugin cannot take them all.
    permits: Semaphore,
}

impl Granted {
    pub(crate) fn new(component: Component, grant: Grant) -> Result<Self, GrantError> {
        let checked = grant::check(component.manifest(), grant).map_err(GrantError)?;
        let manifest = component.manifest();
        let webhook_secret = manifest
            .webhook
            .as_ref()
            .and_then(|webhook| webhook.verify.secret())
            .and_then(|name| checked.secrets.get(name).cloned());
        let shared = &component.loaded().shared;
        let egress = Egress::new(
            shared.client.clone(),
            manifest,
            &checked.secrets,
            checked.reroute,
            shared.max_saved_bytes,
        );
        Ok(Self::assemble(
            component,
            checked.settings,
            egress,
            webhook_secret,
        ))
    }

    /// Without any grant, for looking at a component.
    pub(crate) fn probe(component: Component) -> Self {
        let egress = Egress::closed(component.loaded().shared.client.clone());
        Self::assemble(component, "{}".to_owned(), egress, None)
    }

    fn assemble(
        component: Component,
        settings: String,
        egress: Egress,
        webhook_secret: Option<secrecy::SecretString>,
    ) -> Self {
        let all = component.loaded().shared.max_instances;
        let permits = Semaphore::new((all - all / 4).max(1) as usize);
        Self {
            component,
            settings,
            egress,
            webhook_secret,
            permits,
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.component.manifest().id
    }

    pub(crate) fn component(&self) -> &Component {
        &self.component
    }

    pub(crate) fn permits(&self) -> &Semaphore {
        &self.permits
    }

    pub(crate) fn egress(&self) -> &Egress {
        &self.egress
    }
}

impl Plugin {
    pub(crate) fn new(granted: Granted) -> Self {
        Self {
            granted: Arc::new(granted),
        }
    }

    pub(crate) fn granted(&self) -> &Arc<Granted> {
        &self.granted
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        self.granted.component.manifest()
    }

    /// SHA-256 of the component, in hex.
    pub fn digest(&self) -> &str {
        self.granted.component.digest()
    }

    /// What the component exports.
    pub fn exports(&self) -> Exports {
        self.granted.component.exports()
    }

    /// Asks the vendor for a film.
    pub async fn submit_video(
        &self,
        call: Call,
        request: video::Request,
        context: ContextArgs,
    ) -> Outcome<Submission> {
        let index = self.functions().video_submit;
        let parameters = self.context(context).map(|context| (request, context));
        self.fallible("video.submit", call, index, parameters).await
    }

    /// Asks the vendor to speak.
    pub async fn submit_voice(
        &self,
        call: Call,
        request: voice::Request,
        context: ContextArgs,
    ) -> Outcome<Submission> {
        let index = self.functions().voice_submit;
        let parameters = self.context(context).map(|context| (request, context));
        self.fallible("voice.submit", call, index, parameters).await
    }

    /// Asks the vendor to write.
    pub async fn submit_script(
        &self,
        call: Call,
        request: script::Request,
        context: ContextArgs,
    ) -> Outcome<Submission> {
        let index = self.functions().script_submit;
        let parameters = self.context(context).map(|context| (request, context));
        self.fallible("script.submit", call, index, parameters)
            .await
    }

    /// Asks how far tasks are; at most as many as the manifest's `tasks.batch`. The answers
    /// stand in the order of the tasks.
    pub async fn poll(
        &self,
        call: Call,
        tasks: Vec<(String, ContextArgs)>,
    ) -> Outcome<Vec<Result<Status, Error>>> {
        let count = tasks.len();
        let index = self.functions().tasks_poll;
        let tasks: Result<Vec<tasks::Task>, String> = tasks
            .into_iter()
            .map(|(id, context)| self.task(id, context))
            .collect();
        let outcome: Outcome<Vec<Result<Status, Error>>> = self
            .invoke("tasks.poll", call, index, tasks.map(|tasks| (tasks,)))
            .await;
        let result = outcome.result.and_then(|mut answers| {
            if answers.len() != count {
                let message = format!("{} answers for {count} tasks", answers.len());
                return Err(self.bad_output("tasks.poll", message));
            }
            for answer in &mut answers {
                match answer {
                    Ok(status) => status.check(),
                    Err(error) => error.check(),
                }
                .map_err(|why| self.bad_output("tasks.poll", why))?;
            }
            Ok(answers)
        });
        Outcome {
            result,
            trace: outcome.trace,
        }
    }

    /// Asks the vendor to stop a task.
    pub async fn cancel(&self, call: Call, id: String, context: ContextArgs) -> Outcome<()> {
        let index = self.functions().tasks_cancel;
        let parameters = self.task(id, context).map(|task| (task,));
        self.fallible("tasks.cancel", call, index, parameters).await
    }

    /// Looks for the task of an attempt whose outcome is unknown. Nothing means that the
    /// vendor, having answered, knows no such task.
    pub async fn find(&self, call: Call, lost: Lost) -> Outcome<Option<String>> {
        let index = self.functions().tasks_find;
        let parameters = self.context(lost.context).map(|context| {
            (exported::tasks::Lost {
                context,
                kind: lost.kind,
                request: lost.request,
                submitted_at_ms: lost.submitted_at_ms,
            },)
        });
        self.fallible("tasks.find", call, index, parameters).await
    }

    /// One page of what the vendor offers.
    pub async fn list(
        &self,
        call: Call,
        kind: catalog::Kind,
        cursor: Option<String>,
    ) -> Outcome<catalog::Page> {
        let index = self.functions().catalog_list;
        let parameters = self
            .context(own_context("catalog"))
            .map(|own| (kind, cursor, own));
        self.fallible("catalog.list", call, index, parameters).await
    }

    /// Are the credentials good?
    pub async fn check(&self, call: Call) -> Outcome<account::Info> {
        let index = self.functions().account_check;
        let parameters = self.context(own_context("check")).map(|own| (own,));
        self.fallible("account.check", call, index, parameters)
            .await
    }

    /// Verifies a delivery by the recipe of the manifest. `now_ms` is milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// Why the delivery must be dropped.
    pub fn verify_webhook(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now_ms: u64,
    ) -> Result<(), WebhookRefused> {
        let webhook = self
            .manifest()
            .webhook
            .as_ref()
            .ok_or(WebhookRefused::Unsupported)?;
        let secret = self.granted.webhook_secret.as_ref();
        crate::webhook_recipes::verify(&webhook.verify, secret, headers, body, now_ms)
    }

    /// Asks which tasks a delivery is about. Verify it first.
    pub async fn parse_webhook(
        &self,
        call: Call,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Outcome<Vec<webhook::Hint>> {
        let delivery = webhook::Delivery {
            headers: crate::egress::headers::to_guest(headers),
            body: body.to_vec(),
        };
        let index = self.functions().webhook_parse;
        self.fallible("webhook.parse", call, index, Ok((delivery,)))
            .await
    }

    /// Fetches a result that a plugin named, under the manifest's `network.media`: https,
    /// no credentials, a public address, and the same again for each redirect. At most
    /// `max_bytes` come; the body ends with an error when there are more.
    ///
    /// # Errors
    ///
    /// Why there is nothing to read.
    pub async fn fetch_media(&self, url: &str, max_bytes: u64) -> Result<Fetched, FetchError> {
        self.granted.egress.fetch(url, max_bytes).await
    }

    pub(crate) fn functions(&self) -> &crate::functions::Functions {
        &self.granted.component.loaded().functions
    }

    fn context(&self, context: ContextArgs) -> Result<Context, String> {
        let fine = (1..=64).contains(&context.client_ref.len())
            && context
                .client_ref
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if !fine {
            return Err("the client-ref does not fit [A-Za-z0-9_-]{1,64}".to_owned());
        }
        Ok(Context {
            client_ref: context.client_ref,
            callback_url: context.callback_url,
            settings: self.granted.settings.clone(),
        })
    }

    fn task(&self, id: String, context: ContextArgs) -> Result<tasks::Task, String> {
        Ok(tasks::Task {
            id,
            context: self.context(context)?,
        })
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.granted.component.fmt(formatter)
    }
}

/// The context of calls that belong to no attempt.
fn own_context(client_ref: &str) -> ContextArgs {
    ContextArgs {
        client_ref: client_ref.to_owned(),
        callback_url: None,
    }
}
