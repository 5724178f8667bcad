//! One trait for each interface of the contract.
//!
//! The functions take no `self`: every call runs on a fresh instance, so there is nothing
//! that a value could remember.

use crate::{
    Context, Error, Result, Status, Submission, account, catalog, script, tasks, video, voice,
    webhook,
};

/// Makes films.
pub trait Video {
    /// Hands one film to the vendor. See the contract for when each error kind fits; an
    /// answer that was 2xx but unreadable is `outcome-unknown`.
    fn submit(request: &video::Request, context: &Context) -> Result<Submission>;
}

/// Speaks text.
pub trait Voice {
    /// Hands one text to the vendor.
    fn submit(request: &voice::Request, context: &Context) -> Result<Submission>;
}

/// Writes scripts.
pub trait Script {
    /// Hands one brief to the vendor.
    fn submit(request: &script::Request, context: &Context) -> Result<Submission>;
}

/// Work that goes on at the vendor.
pub trait Tasks {
    /// Asks for one task. Vendors without a batch query need only this.
    fn poll_one(task: &tasks::Task) -> Result<Status> {
        Err(Error::unsupported(format!(
            "this plugin does not poll task {}",
            task.id
        )))
    }

    /// Asks for many tasks; the answers stand in the order of the tasks. By default one
    /// [`Tasks::poll_one`] each, so keep the manifest's `tasks.batch` within
    /// `limits.requests_per_call`.
    fn poll(tasks: &[tasks::Task]) -> Vec<Result<Status>> {
        tasks.iter().map(Self::poll_one).collect()
    }

    /// Asks the vendor to stop. By default: it cannot.
    fn cancel(task: &tasks::Task) -> Result<()> {
        Err(Error::unsupported(format!(
            "the vendor offers no way to stop task {}",
            task.id
        )))
    }

    /// Looks for the task of an attempt whose outcome is unknown.
    ///
    /// The default is an error and not `Ok(None)`: nothing means that the vendor was asked
    /// and knows no such task, upon which the host may submit, and pay, again.
    fn find(lost: &tasks::Lost) -> Result<Option<String>> {
        Err(Error::unsupported(format!(
            "this vendor cannot be searched for {}",
            lost.context.client_ref
        )))
    }
}

/// What the vendor offers to choose from.
pub trait Catalog {
    /// One page of at most 200 items.
    fn list(kind: catalog::Kind, cursor: Option<&str>, context: &Context) -> Result<catalog::Page>;
}

/// The operator's account at the vendor.
pub trait Account {
    /// Are the credentials good? Must be free of charge at the vendor.
    fn check(context: &Context) -> Result<account::Info>;
}

/// What the vendor posts to the callback URL.
pub trait Webhook {
    /// Which tasks to look at now. The host has verified the signature already and confirms
    /// every hint by polling.
    fn parse(delivery: &webhook::Delivery) -> Result<Vec<webhook::Hint>>;
}
