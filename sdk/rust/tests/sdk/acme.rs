//! Clips by Acme, API v1.

use genvid_sdk::prelude::*;
use serde::Deserialize;

const BASE: &str = "https://api.acme.example/v1";

/// The vendor's codes. The code decides, the HTTP status only when the code is unknown.
const ERRORS: ErrorTable = ErrorTable(&[
    ("bad_prompt", Class::Invalid),
    ("nsfw", Class::Rejected),
    ("bad_key", Class::Unauthorized),
    ("no_credits", Class::Quota),
    ("too_fast", Class::RateLimited),
    ("busy", Class::NoSlot),
]);

pub(crate) struct Acme;

#[derive(Deserialize)]
struct Clip {
    id: String,
    state: String,
    url: Option<String>,
    seconds: Option<f64>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    code: Option<String>,
    #[serde(default)]
    text: String,
}

impl From<Refusal> for VendorError {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code,
            message: refusal.text,
            field: None,
        }
    }
}

fn refusal(response: &http::Response) -> VendorError {
    response
        .json::<Refusal>()
        .map(VendorError::from)
        .unwrap_or_default()
}

/// Questions: what goes wrong here has cost nothing.
fn ask<T: serde::de::DeserializeOwned>(call: http::Call) -> Result<T> {
    let response = call.send()?;
    if !response.is_success() {
        return Err(ERRORS.refusal(&response, refusal(&response)));
    }
    response.json()
}

impl Video for Acme {
    fn submit(request: &video::Request, context: &Context) -> Result<Submission> {
        let Some(prompt) = &request.prompt else {
            return Err(Error::invalid("prompt", "Acme paints from words"));
        };
        let body = json!({
            "prompt": prompt,
            "ratio": match request.aspect {
                video::Aspect::Portrait => "9:16",
                video::Aspect::Square => "1:1",
                video::Aspect::Landscape => "16:9",
            },
            // The host puts the picture into the body; its bytes never come here.
            "picture": match request.images.first() {
                Some(Media::Url(url)) => Some(url.clone()),
                Some(Media::Asset(asset)) => Some(http::data_url(asset)),
                _ => None,
            },
            "reference": context.client_ref,
            "callback": context.callback_url,
        });
        let response = http::post(format!("{BASE}/clips"))
            .json_with_assets(&body)?
            .send()?;
        if !response.is_success() {
            return Err(ERRORS.submit_refusal(&response, refusal(&response)));
        }
        // A 2xx answer that cannot be read is `outcome-unknown`, never "not accepted".
        let clip: Clip = response.accepted_json()?;
        Ok(Submission::Accepted(clip.id))
    }
}

impl Tasks for Acme {
    fn poll_one(task: &tasks::Task) -> Result<Status> {
        let url = format!("{BASE}/clips/{}", http::segment(&task.id)?);
        let clip: Clip = ask(http::get(url))?;
        Ok(match (clip.state.as_str(), clip.url) {
            ("queued", _) => Status::queued(),
            ("finished", Some(url)) => {
                let film = Output::url(Role::Main, url, "video/mp4").lasting(clip.seconds);
                Status::Done(Done::new(vec![film]))
            }
            ("broken", _) => {
                let reason = clip.error.map(VendorError::from).unwrap_or_default();
                Status::Failed(ERRORS.failure(reason))
            }
            // Words that Acme invents later mean that the work goes on.
            (word, _) => Status::running(word),
        })
    }

    fn find(lost: &tasks::Lost) -> Result<Option<String>> {
        let call = http::get(format!("{BASE}/clips")).query("reference", &lost.context.client_ref);
        let clips: Vec<Clip> = ask(call)?;
        Ok(clips.into_iter().next().map(|clip| clip.id))
    }
}

impl Account for Acme {
    fn check(_context: &Context) -> Result<account::Info> {
        let me: Value = ask(http::get(format!("{BASE}/me")))?;
        Ok(account::Info {
            label: me["email"].as_str().unwrap_or("Acme account").to_owned(),
            remaining: Some(json!({ "credits": me["credits"] }).to_string()),
        })
    }
}

genvid_sdk::export!(Acme: account, tasks, video);
