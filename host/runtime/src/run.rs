//! One call on a fresh instance, and what may end it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Lift, Lower};
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::call::{Call, Failure, Outcome, SandboxError, SandboxErrorKind};
use crate::contract::generated::exports::genvid::provider as exported;
use crate::contract::types::{Context, Error, Status, Submission};
use crate::contract::{account, catalog, script, tasks, video, voice, webhook};
use crate::egress::CallEgress;
use crate::engine::Live;
use crate::error::LoadError;
use crate::manifest::Problem;
use crate::meter::Meter;
use crate::output::Check;
use crate::plugin::Plugin;
use crate::state::{CallState, Limits, OverBudget, OverLimit};

/// Computing time of one call. Calls wait for vendors and compute little.
const CPU_BUDGET: Duration = Duration::from_secs(2);

/// Most bytes that one host call, or the answer of the plugin, may carry out of the guest.
const TRANSFER: usize = 16 << 20;

impl Plugin {
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

    pub(crate) fn bad_output(&self, function: &'static str, message: String) -> Failure {
        self.sandbox(SandboxErrorKind::BadOutput, function, message)
    }

    /// Calls a function whose answer is a `result` with the contract's error.
    pub(crate) async fn fallible<P, T>(
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
    pub(crate) async fn invoke<P, R>(
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
        let loaded = self.granted().component().loaded();
        let limit = Duration::from_millis(loaded.manifest.limits.call_timeout_ms.into());
        // Own places first, so that calls that wait for them hold none of the common ones.
        let places = async {
            let own = self.granted().permits().acquire().await?;
            Ok::<_, tokio::sync::AcquireError>((own, loaded.shared.permits.acquire().await?))
        };
        let _places = match tokio::time::timeout(limit, places).await {
            Ok(Ok(places)) => places,
            Ok(Err(_)) => return never_ran(Busy, "the runtime is closed".to_owned()),
            Err(_) => return never_ran(Busy, "no instance became free in time".to_owned()),
        };

        let started = Instant::now();
        let meter = Arc::new(Meter::new(started, call.permission.clone()));
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
            .granted()
            .component()
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
        let loaded = self.granted().component().loaded();
        let state = CallState {
            plugin: Arc::clone(self.granted()),
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
        let meter = Arc::new(Meter::new(started, None));
        let call = Call {
            assets: Arc::new(crate::assets::NoAssets),
            text: None,
            permission: None,
            label: "load".to_owned(),
        };
        let _place = self
            .granted()
            .component()
            .loaded()
            .shared
            .permits
            .acquire()
            .await;
        let work = async {
            let mut store = self.store("load", call, &meter, started + limit);
            let pre = &self.granted().component().loaded().pre;
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
                plugin = %self.plugin.granted().id(),
                function = self.function,
                unanswered = trace.unanswered,
                "a call was dropped after a request had been sent"
            );
        }
    }
}
