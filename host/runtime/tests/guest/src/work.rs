//! A vendor whose tasks take time and end: `POST /v1/work` begins one, `POST /v1/looks` tells of
//! many, `GET /v1/find/REFERENCE` of the one that was begun with that `Idempotency-Key`.

use genvid_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// How the identifiers of such tasks begin.
const PREFIX: &str = "work-";

/// What the vendor is to do.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Work {
    /// Looks that find it unfinished.
    looks: u32,
    /// What the vendor answers to be asked again after, in milliseconds.
    every_ms: u32,
    /// Length of the text that comes of it, in bytes.
    bytes: usize,
    /// Whether each look is told something new.
    #[serde(default)]
    tell: bool,
}

/// A film that is there already.
#[derive(Debug, Deserialize)]
pub(crate) struct Film {
    /// Its address.
    pub(crate) film: Option<String>,
}

/// Answers with a film.
pub(crate) fn hand_out(film: String) -> Submission {
    Submission::Done(Done::new(vec![Output::url(Role::Main, film, "video/mp4")]))
}

#[derive(Debug, Deserialize)]
struct Begun {
    id: String,
}

#[derive(Debug, Serialize)]
struct Question<'a> {
    ids: Vec<&'a str>,
}

/// What the vendor says of a task.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Seen {
    Done {
        text: String,
    },
    Working {
        every_ms: u32,
        fraction: Option<f32>,
        message: Option<String>,
    },
}

impl Work {
    pub(crate) fn submit(&self, context: &Context) -> Result<Submission> {
        let begun: Begun = http::post("https://api.vendor.example/v1/work")
            .header("Idempotency-Key", &context.client_ref)
            .json(self)?
            .send()?
            .accepted_json()?;
        Ok(Submission::Accepted(format!("{PREFIX}{}", begun.id)))
    }
}

/// Whether this is a task of that vendor.
pub(crate) fn is_one(task: &str) -> bool {
    task.starts_with(PREFIX)
}

/// The task that was begun with this reference, if there is one.
pub(crate) fn find(context: &Context) -> Result<Option<String>> {
    let reference = &context.client_ref;
    let answer = http::get(format!("https://api.vendor.example/v1/find/{reference}")).send()?;
    if answer.status == 404 {
        return Ok(None);
    }
    let begun: Begun = answer.json()?;
    Ok(Some(format!("{PREFIX}{}", begun.id)))
}

/// Asks for all of them at once.
pub(crate) fn look(tasks: &[tasks::Task]) -> Vec<Result<Status>> {
    match ask(tasks) {
        Ok(all) if all.len() == tasks.len() => all.into_iter().map(status).map(Ok).collect(),
        Ok(_) => (tasks.iter())
            .map(|_| Err(Error::unexpected("the vendor lost count")))
            .collect(),
        Err(error) => tasks.iter().map(|_| Err(error.clone())).collect(),
    }
}

fn ask(tasks: &[tasks::Task]) -> Result<Vec<Seen>> {
    let ids = (tasks.iter())
        .map(|task| task.id.trim_start_matches(PREFIX))
        .collect();
    http::post("https://api.vendor.example/v1/looks")
        .json(&Question { ids })?
        .send()?
        .json()
}

fn status(seen: Seen) -> Status {
    match seen {
        Seen::Done { text } => Status::Done(Done::new(vec![Output::text(
            Role::Main,
            text,
            "application/json",
        )])),
        Seen::Working {
            every_ms,
            fraction,
            message,
        } => Status::Running(Progress {
            fraction,
            message,
            poll_after_ms: Some(every_ms),
        }),
    }
}
