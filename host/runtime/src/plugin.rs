//! A plugin that can be called: a component with an operator's grant.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use tokio::sync::Semaphore;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Lift, Lower};
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::call::{Call, ContextArgs, Failure, Lost, Outcome, SandboxError, SandboxErrorKind};
use crate::component::{Component, Exports};
use crate::contract::generated::exports::genvid::provider as exported;
use crate::contract::types::{Context, Error, Status, Submission};
use crate::contract::{account, catalog, script, tasks, video, voice, webhook};
use crate::egress::{CallEgress, Egress, Fetched};
use crate::engine::Live;
use crate::error::{FetchError, GrantError, LoadError, WebhookRefused};
use crate::grant::{self, Grant};
use crate::manifest::{Manifest, Problem};
use crate::meter::Meter;
use crate::output::Check;
use crate::state::{CallState, Limits, OverBudget, OverLimit};

/// Computing time of one call. Calls wait for vendors and compute little.
const CPU_BUDGET: Duration = Duration::from_secs(2);

/// Most bytes that one host call, or the answer of the plugin, may carry out of the guest.
const TRANSFER: usize = 16 << 20;

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

    fn functions(&self) -> &crate::functions::Functions {
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

    fn sandbox(
        &self,
        kind: SandboxErrorKind,
        function: &'static str,
        mut message: String,
    ) -> Failure {
        crate::text::cut_chars(&mut message, 2_000);
        let manifest = self.manifest();
        Failure::Sandbox(SandboxError {
            kind,
            plugin: manifest.id.clone(),
            version: manifest.version.clone(),
            function,
            message,
        })
    }

    fn bad_output(&self, function: &'static str, message: String) -> Failure {
        self.sandbox(SandboxErrorKind::BadOutput, function, message)
    }

    /// Calls a function whose answer is a `result` with the contract's error.
    async fn fallible<P, T>(
        &self,
        function: &'static str,
        call: Call,
        index: Option<ComponentExportIndex>,
        parameters: Result<P, String>,
    ) -> Outcome<T>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        T: Check + Lift + Send + Sync + 'static,
        Result<T, Error>: Lift,
        (Result<T, Error>,): ComponentNamedList + Lift,
    {
        let outcome: Outcome<Result<T, Error>> =
            self.invoke(function, call, index, parameters).await;
        let result = outcome.result.and_then(|answer| match answer {
            Ok(mut value) => match value.check() {
                Ok(()) => Ok(value),
                Err(why) => Err(self.bad_output(function, why)),
            },
            Err(mut error) => match error.check() {
                Ok(()) => Err(Failure::Plugin(error)),
                Err(why) => Err(self.bad_output(function, why)),
            },
        });
        Outcome {
            result,
            trace: outcome.trace,
        }
    }

    /// Runs one function on a fresh instance.
    async fn invoke<P, R>(
        &self,
        function: &'static str,
        call: Call,
        index: Option<ComponentExportIndex>,
        parameters: Result<P, String>,
    ) -> Outcome<R>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: Lift + Send + Sync + 'static,
        (R,): ComponentNamedList + Lift,
    {
        use SandboxErrorKind::{BadInput, Busy, NotExported, Timeout};
        let never_ran = |kind, message: String| Outcome {
            result: Err(self.sandbox(kind, function, message)),
            trace: crate::call::Trace::default(),
        };
        let parameters = match parameters {
            Ok(parameters) => parameters,
            Err(why) => return never_ran(BadInput, why),
        };
        let Some(index) = index else {
            return never_ran(NotExported, "the component does not export it".to_owned());
        };
        let loaded = self.granted.component.loaded();
        let limit = Duration::from_millis(loaded.manifest.limits.call_timeout_ms.into());
        // Own places first, so that calls that wait for them hold none of the common ones.
        let places = async {
            let own = self.granted.permits.acquire().await?;
            Ok::<_, tokio::sync::AcquireError>((own, loaded.shared.permits.acquire().await?))
        };
        let _places = match tokio::time::timeout(limit, places).await {
            Ok(Ok(places)) => places,
            Ok(Err(_)) => return never_ran(Busy, "the runtime is closed".to_owned()),
            Err(_) => return never_ran(Busy, "no instance became free in time".to_owned()),
        };

        let started = Instant::now();
        let meter = Arc::new(Meter::new(started));
        let deadline = started + limit;
        let result = {
            let mut work =
                pin!(self.on_instance(function, call, &meter, deadline, &index, parameters));
            // The guard tells who drops this future halfway that something may be bought.
            let guard = CutOff {
                plugin: self,
                meter: &meter,
                function,
                armed: true,
            };
            let sliced = poll_fn(|context| {
                meter.slice();
                work.as_mut().poll(context)
            });
            let result = tokio::time::timeout_at(deadline.into(), sliced).await;
            guard.disarm();
            result
        };
        let result = match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.classify(function, &error)),
            Err(_) => {
                let message = format!("the call took longer than {} ms", limit.as_millis());
                Err(self.sandbox(Timeout, function, message))
            }
        };
        Outcome {
            result,
            trace: meter.trace(),
        }
    }

    async fn on_instance<P, R>(
        &self,
        function: &'static str,
        call: Call,
        meter: &Arc<Meter>,
        deadline: Instant,
        index: &ComponentExportIndex,
        parameters: P,
    ) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: Lift + Send + Sync + 'static,
        (R,): ComponentNamedList + Lift,
    {
        let mut store = self.store(function, call, meter, deadline);
        let instance = self
            .granted
            .component
            .loaded()
            .pre
            .instantiate_async(&mut store)
            .await?;
        meter.instantiated(meter.elapsed());
        let typed = instance.get_typed_func::<P, (R,)>(&mut store, index)?;
        let (answer,) = typed.call_async(&mut store, parameters).await?;
        Ok(answer)
    }

    fn store(
        &self,
        function: &'static str,
        call: Call,
        meter: &Arc<Meter>,
        deadline: Instant,
    ) -> Store<CallState> {
        let loaded = self.granted.component.loaded();
        let state = CallState {
            plugin: Arc::clone(&self.granted),
            call,
            meter: Arc::clone(meter),
            deadline,
            function,
            limits: Limits::new(loaded.manifest.limits.memory_mib),
            egress: CallEgress::default(),
            log_lines: 0,
            live_text: 0,
            _live: Live::new(&loaded.shared.live),
        };
        let mut store = Store::new(&loaded.shared.engine, state);
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(TRANSFER);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| {
            if context.data().meter.computed() > CPU_BUDGET {
                return Err(OverBudget(CPU_BUDGET.as_millis()).into());
            }
            Ok(UpdateDeadline::Yield(1))
        });
        store
    }

    fn classify(&self, function: &'static str, error: &wasmtime::Error) -> Failure {
        use SandboxErrorKind::{BadOutput, Busy, OutOfMemory, Timeout, Trap as Trapped};
        let kind = if error.is::<OverBudget>() {
            Timeout
        } else if error.is::<OverLimit>() {
            OutOfMemory
        } else if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            Busy
        } else if error.is::<Trap>() || error.is::<wasmtime::WasmBacktrace>() {
            Trapped
        } else {
            // What is left breaks the canonical ABI: text that is no UTF-8, lists that lie
            // outside of the memory, more bytes than may be carried out.
            BadOutput
        };
        self.sandbox(kind, function, format!("{error:#}"))
    }

    /// Makes an instance and looks at the types of all functions, calling none.
    pub(crate) async fn probe(&self) -> Result<(), LoadError> {
        type Answer<T> = (Result<T, Error>,);
        let started = Instant::now();
        let limit = Duration::from_secs(10);
        let meter = Arc::new(Meter::new(started));
        let call = Call {
            assets: Arc::new(crate::assets::NoAssets),
            text: None,
            label: "load".to_owned(),
        };
        let _place = self
            .granted
            .component
            .loaded()
            .shared
            .permits
            .acquire()
            .await;
        let work = async {
            let mut store = self.store("load", call, &meter, started + limit);
            let pre = &self.granted.component.loaded().pre;
            let instance = pre.instantiate_async(&mut store).await?;
            let functions = self.functions();
            macro_rules! look {
                ($($index:ident: $parameters:ty => $answer:ty;)*) => {$(
                    if let Some(index) = &functions.$index {
                        instance
                            .get_typed_func::<$parameters, $answer>(&mut store, index)
                            .map_err(|error| error.context(stringify!($index)))?;
                    }
                )*};
            }
            look! {
                video_submit: (video::Request, Context) => Answer<Submission>;
                voice_submit: (voice::Request, Context) => Answer<Submission>;
                script_submit: (script::Request, Context) => Answer<Submission>;
                tasks_poll: (Vec<tasks::Task>,) => (Vec<Result<Status, Error>>,);
                tasks_cancel: (tasks::Task,) => Answer<()>;
                tasks_find: (exported::tasks::Lost,) => Answer<Option<String>>;
                catalog_list: (catalog::Kind, Option<String>, Context) => Answer<catalog::Page>;
                account_check: (Context,) => Answer<account::Info>;
                webhook_parse: (webhook::Delivery,) => Answer<Vec<webhook::Hint>>;
            }
            Ok::<(), wasmtime::Error>(())
        };
        let mut work = Box::pin(work);
        let sliced = poll_fn(|context| {
            meter.slice();
            work.as_mut().poll(context)
        });
        match tokio::time::timeout(limit, sliced).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.is::<OverLimit>() => {
                Err(LoadError::Manifest(vec![Problem::new(
                    "limits.memory_mib",
                    format!("is too little to start: {error}"),
                )]))
            }
            Ok(Err(error)) => Err(LoadError::Contract(format!("{error:#}"))),
            Err(_) => Err(LoadError::Contract(
                "it did not start within 10 s".to_owned(),
            )),
        }
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

/// Writes a line when a call is dropped by its caller after a request had begun to leave,
/// because then nobody gets the trace.
struct CutOff<'a> {
    plugin: &'a Plugin,
    meter: &'a Meter,
    function: &'static str,
    armed: bool,
}

impl CutOff<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for CutOff<'_> {
    fn drop(&mut self) {
        let trace = self.meter.trace();
        if self.armed && trace.sent {
            tracing::warn!(
                plugin = %self.plugin.granted.id(),
                function = self.function,
                unanswered = trace.unanswered,
                "a call was dropped after a request had been sent"
            );
        }
    }
}
