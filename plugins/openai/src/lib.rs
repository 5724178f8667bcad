//! OpenAI: scripts through chat completions, and plain voices as a fallback.
//!
//! The vendor answers a brief while the caller listens: there is no task to wait for. Tasks
//! exist here only for a script whose answer was lost and which was found again among the
//! stored completions; their ids are the vendor's, `chatcmpl-…`.
//!
//! Facts about the vendor and their sources are in this plugin's README.

mod answer;
mod choices;
mod errors;
mod request;
mod schema;
mod speech;
mod stored;
mod stream;
mod usage;

use genvid_sdk::http::Stream;
use genvid_sdk::prelude::*;

use crate::request::Settings;

/// The provider; see the crate's documentation.
#[derive(Debug)]
pub struct OpenAi;

genvid_sdk::export!(OpenAi: account, catalog, script, tasks, voice);

impl Script for OpenAi {
    fn submit(request: &script::Request, context: &Context) -> Result<Submission> {
        let settings: Settings = context.parse_settings()?;
        let chat = request::chat(request, context, &settings)?;
        let call = settings
            .call(http::post(settings.url("/chat/completions")), context)
            .json(&chat.body)?;
        let events = match call.events().map_err(errors::lost_answer)? {
            Stream::Events(events) => events,
            Stream::Refused(refused) => return Err(errors::of_submit(&refused)),
        };
        let answer = stream::read(events)?;
        Ok(Submission::Done(answer.done(&chat.form, &settings)?))
    }
}

impl Voice for OpenAi {
    fn submit(request: &voice::Request, context: &Context) -> Result<Submission> {
        speech::submit(request, context)
    }
}

impl Tasks for OpenAi {
    fn poll_one(task: &tasks::Task) -> Result<Status> {
        stored::poll(task)
    }

    fn cancel(_: &tasks::Task) -> Result<()> {
        Err(Error::unsupported(
            "OpenAI writes while the caller waits: there is nothing to stop afterwards",
        ))
    }

    fn find(lost: &tasks::Lost) -> Result<Option<String>> {
        stored::find(lost)
    }
}

impl Catalog for OpenAi {
    fn list(kind: catalog::Kind, cursor: Option<&str>, context: &Context) -> Result<catalog::Page> {
        match kind {
            catalog::Kind::Model => choices::models(cursor, context),
            catalog::Kind::Voice => Ok(choices::voices()),
            catalog::Kind::Avatar => Ok(catalog::Page {
                items: Vec::new(),
                next: None,
            }),
        }
    }
}

impl Account for OpenAi {
    fn check(context: &Context) -> Result<account::Info> {
        choices::account(context)
    }
}
