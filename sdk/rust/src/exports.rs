//! From the contract's exports to the traits, and the macro that names them.

use crate::bindings;
use crate::{
    Context, Error, Status, Submission, account, catalog, script, tasks, video, voice, webhook,
};

impl<T: crate::Video> bindings::video::exports::genvid::provider::video::Guest for T {
    fn submit(request: video::Request, context: Context) -> Result<Submission, Error> {
        <T as crate::Video>::submit(&request, &context)
    }
}

impl<T: crate::Voice> bindings::voice::exports::genvid::provider::voice::Guest for T {
    fn submit(request: voice::Request, context: Context) -> Result<Submission, Error> {
        <T as crate::Voice>::submit(&request, &context)
    }
}

impl<T: crate::Script> bindings::script::exports::genvid::provider::script::Guest for T {
    fn submit(request: script::Request, context: Context) -> Result<Submission, Error> {
        <T as crate::Script>::submit(&request, &context)
    }
}

impl<T: crate::Tasks> bindings::tasks::exports::genvid::provider::tasks::Guest for T {
    fn poll(tasks: Vec<tasks::Task>) -> Vec<Result<Status, Error>> {
        <T as crate::Tasks>::poll(&tasks)
    }
    fn cancel(task: tasks::Task) -> Result<(), Error> {
        <T as crate::Tasks>::cancel(&task)
    }
    fn find(lost: tasks::Lost) -> Result<Option<String>, Error> {
        <T as crate::Tasks>::find(&lost)
    }
}

impl<T: crate::Catalog> bindings::catalog::exports::genvid::provider::catalog::Guest for T {
    fn list(
        kind: catalog::Kind,
        cursor: Option<String>,
        context: Context,
    ) -> Result<catalog::Page, Error> {
        <T as crate::Catalog>::list(kind, cursor.as_deref(), &context)
    }
}

impl<T: crate::Account> bindings::account::exports::genvid::provider::account::Guest for T {
    fn check(context: Context) -> Result<account::Info, Error> {
        <T as crate::Account>::check(&context)
    }
}

impl<T: crate::Webhook> bindings::webhook::exports::genvid::provider::webhook::Guest for T {
    fn parse(delivery: webhook::Delivery) -> Result<Vec<webhook::Hint>, Error> {
        <T as crate::Webhook>::parse(&delivery)
    }
}

/// Names what the component exports: `genvid_sdk::export!(Acme: account, tasks, video);`.
///
/// Each name must have its trait implemented, on every target. The interfaces named here,
/// and no others, become exports of the component, and these are how the host finds out
/// what the plugin can do.
#[macro_export]
macro_rules! export {
    ($provider:ident: $($interface:ident),+ $(,)?) => {
        $( $crate::__export_interface!($provider $interface); )+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_interface {
    ($provider:ident account) => {
        $crate::__export_interface!(@ $provider account Account);
    };
    ($provider:ident catalog) => {
        $crate::__export_interface!(@ $provider catalog Catalog);
    };
    ($provider:ident script) => {
        $crate::__export_interface!(@ $provider script Script);
    };
    ($provider:ident tasks) => {
        $crate::__export_interface!(@ $provider tasks Tasks);
    };
    ($provider:ident video) => {
        $crate::__export_interface!(@ $provider video Video);
    };
    ($provider:ident voice) => {
        $crate::__export_interface!(@ $provider voice Voice);
    };
    ($provider:ident webhook) => {
        $crate::__export_interface!(@ $provider webhook Webhook);
    };
    (@ $provider:ident $module:ident $trait:ident) => {
        const _: () = {
            const fn implements<T: $crate::$trait>() {}
            implements::<$provider>();
        };
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            $crate::bindings::$module::export!($provider with_types_in $crate::bindings::$module);
        };
    };
    ($provider:ident $other:ident) => {
        compile_error!(concat!(
            "no interface of the contract is called `", stringify!($other),
            "`: account, catalog, script, tasks, video, voice, webhook"
        ));
    };
}
