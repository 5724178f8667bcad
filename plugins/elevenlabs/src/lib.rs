//! ElevenLabs: voices with word timings.
//!
//! The vendor answers a text with its sound in the same breath: there is no task to wait
//! for. Tasks exist here only for an attempt whose answer was lost and which was found
//! again in the vendor's history; their ids are `history:<history item id>`.
//!
//! Facts about the vendor and their sources are in this plugin's README.

mod choices;
mod errors;
mod history;
mod request;
mod response;
mod timing;

use genvid_sdk::http::{Kept, Part, Saved};
use genvid_sdk::prelude::*;

use crate::request::{Options, Settings};

/// The provider; see the crate's documentation.
#[derive(Debug)]
pub struct ElevenLabs;

genvid_sdk::export!(ElevenLabs: account, catalog, tasks, voice);

impl Voice for ElevenLabs {
    fn submit(request: &voice::Request, context: &Context) -> Result<Submission> {
        let settings: Settings = context.parse_settings()?;
        let options: Options = request.parse_options()?;
        let call = request::speech(request, &options, &settings)?;
        let part = if request.timing {
            Part::JsonBase64("/audio_base64".to_owned())
        } else {
            Part::Whole
        };
        let kept = match call.save(&part).map_err(errors::lost_answer)? {
            Saved::Kept(kept) => kept,
            Saved::Refused(refused) => return Err(errors::of_submit(&refused)),
        };
        if !is_sound(&kept) {
            return Err(Error::outcome_unknown(format!(
                "the vendor answered {} bytes of {} instead of sound",
                kept.size, kept.mime
            )));
        }
        Ok(Submission::Done(spoken(kept, request, &options, &settings)))
    }
}

/// A page of text with a 200 is as good as no answer. What was base64 inside JSON has no
/// media type of its own.
fn is_sound(kept: &Kept) -> bool {
    let is_text = kept.mime.starts_with("text/") || kept.mime.contains("json");
    kept.size > 0 && (kept.rest.is_some() || !is_text)
}

/// The result of a submission that the vendor answered in full.
fn spoken(kept: Kept, request: &voice::Request, options: &Options, settings: &Settings) -> Done {
    let timing = kept.rest.as_deref().and_then(timing::of_answer);
    let cost = response::character_cost(&kept.headers);
    let main = Output {
        role: Role::Main,
        media: Media::Asset(kept.asset),
        mime: request::MIME.to_owned(),
        duration_ms: None,
        metadata: Some(response::metadata(
            request::model(request),
            &request.voice,
            options.output_format(),
            cost,
            &kept.headers,
        )),
    };
    Done {
        outputs: std::iter::once(main).chain(timing).collect(),
        cost_micro_usd: cost.and_then(|credits| settings.cost_micro_usd(credits)),
    }
}

impl Tasks for ElevenLabs {
    fn poll_one(task: &tasks::Task) -> Result<Status> {
        history::poll(task)
    }

    fn cancel(_: &tasks::Task) -> Result<()> {
        Err(Error::unsupported(
            "ElevenLabs speaks while the caller waits: there is nothing to stop afterwards",
        ))
    }

    fn find(lost: &tasks::Lost) -> Result<Option<String>> {
        history::find(lost)
    }
}

impl Catalog for ElevenLabs {
    fn list(kind: catalog::Kind, cursor: Option<&str>, context: &Context) -> Result<catalog::Page> {
        let settings: Settings = context.parse_settings()?;
        match kind {
            catalog::Kind::Voice => choices::voices(cursor, &settings),
            catalog::Kind::Model => choices::models(&settings),
            catalog::Kind::Avatar => Ok(catalog::Page {
                items: Vec::new(),
                next: None,
            }),
        }
    }
}

impl Account for ElevenLabs {
    fn check(context: &Context) -> Result<account::Info> {
        let settings: Settings = context.parse_settings()?;
        let answer = http::get(settings.url("/v1/user/subscription")).send()?;
        if answer.is_success() {
            let subscription: response::Subscription = answer.json()?;
            return Ok(subscription.info());
        }
        let error = errors::of_question(&answer);
        // A key may be limited to text to speech. It is a good key all the same, and the
        // list of models tells.
        if error.vendor_code.as_deref() != Some("missing_permissions") {
            return Err(error);
        }
        let models = http::get(settings.url("/v1/models")).send()?;
        if !models.is_success() {
            return Err(errors::of_question(&models));
        }
        Ok(account::Info {
            label: "ElevenLabs, with a key that may not read the subscription".to_owned(),
            remaining: None,
        })
    }
}
