//! HeyGen, API v3: films in which an avatar or a photo speaks.
//!
//! Facts about the vendor come from <https://developers.heygen.com> (v3 reference and the
//! specification published there) and from the vendor's own command line client.

use genvid_sdk::prelude::*;

mod api;
mod catalog_pages;
mod create;
mod errors;
mod events;
mod status;

/// The provider.
#[derive(Clone, Copy, Debug)]
pub struct HeyGen;

impl Video for HeyGen {
    fn submit(request: &video::Request, context: &Context) -> Result<Submission> {
        create::submit(request, context)
    }
}

// There is no `cancel`: HeyGen documents no way to stop a video. DELETE exists, but whether
// it stops the work and the bill is not known.
impl Tasks for HeyGen {
    fn poll_one(task: &tasks::Task) -> Result<Status> {
        status::one(&task.id)
    }

    fn poll(tasks: &[tasks::Task]) -> Vec<Result<Status>> {
        status::many(tasks)
    }

    fn find(lost: &tasks::Lost) -> Result<Option<String>> {
        status::find(&lost.context.client_ref)
    }
}

impl Catalog for HeyGen {
    fn list(kind: catalog::Kind, cursor: Option<&str>, context: &Context) -> Result<catalog::Page> {
        catalog_pages::list(kind, cursor, context)
    }
}

impl Account for HeyGen {
    fn check(_context: &Context) -> Result<account::Info> {
        api::account()
    }
}

impl Webhook for HeyGen {
    fn parse(delivery: &webhook::Delivery) -> Result<Vec<webhook::Hint>> {
        events::parse(delivery)
    }
}

genvid_sdk::export!(HeyGen: account, catalog, tasks, video, webhook);
