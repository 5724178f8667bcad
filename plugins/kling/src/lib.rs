//! Kling AI: clips from words and pictures, by the API of June 2026, and speaking pictures
//! by the routes before it.
//!
//! Facts about the vendor come from its developer documentation (<https://kling.ai/document-api>).

use genvid_sdk::prelude::*;

mod api;
mod billing;
mod create;
mod errors;
mod events;
mod model;
mod speaking;
mod status;

/// The provider.
#[derive(Clone, Copy, Debug)]
pub struct Kling;

impl Video for Kling {
    fn submit(request: &video::Request, context: &Context) -> Result<Submission> {
        create::submit(request, context)
    }
}

// There is no `cancel`: Kling documents no way to stop a task.
impl Tasks for Kling {
    fn poll(tasks: &[tasks::Task]) -> Vec<Result<Status>> {
        status::many(tasks)
    }

    fn find(lost: &tasks::Lost) -> Result<Option<String>> {
        status::find(lost)
    }
}

impl Catalog for Kling {
    fn list(kind: catalog::Kind, _: Option<&str>, _: &Context) -> Result<catalog::Page> {
        Ok(model::catalog(kind))
    }
}

impl Account for Kling {
    fn check(context: &Context) -> Result<account::Info> {
        api::account(context)
    }
}

impl Webhook for Kling {
    fn parse(delivery: &webhook::Delivery) -> Result<Vec<webhook::Hint>> {
        events::parse(delivery)
    }
}

genvid_sdk::export!(Kling: account, catalog, tasks, video, webhook);
