//! How far videos are, and where they are when they are done.

use std::collections::HashMap;

use genvid_sdk::prelude::*;
use serde::Deserialize;

use crate::api::{self, BASE};
use crate::{create, errors};

/// The most ids in one question to `GET /v3/videos/statuses`.
const STATUSES: usize = 100;
/// Pages of the search before it gives up; a client-ref is in one title only.
const PAGES: usize = 5;

/// A video, from `GET /v3/videos/{id}` and from the list.
#[derive(Deserialize)]
struct Video {
    id: String,
    #[serde(default)]
    status: String,
    title: Option<String>,
    video_url: Option<String>,
    captioned_video_url: Option<String>,
    subtitle_url: Option<String>,
    thumbnail_url: Option<String>,
    video_page_url: Option<String>,
    duration: Option<f64>,
    failure_code: Option<String>,
    failure_message: Option<String>,
}

/// From `GET /v3/videos/statuses`, which tells neither URLs nor failure codes.
#[derive(Deserialize)]
struct Entry {
    video_id: Option<String>,
    #[serde(default)]
    status: String,
}

/// `GET /v3/videos/{id}`.
pub(crate) fn one(id: &str) -> Result<Status> {
    let url = format!("{BASE}/v3/videos/{}", http::segment(id)?);
    Ok(status(api::ask::<Video>(http::get(url))?.data))
}

/// The statuses of all in one question, then each video that has ended.
pub(crate) fn many(tasks: &[tasks::Task]) -> Vec<Result<Status>> {
    if let [task] = tasks {
        return vec![one(&task.id)];
    }
    let mut answers = Vec::with_capacity(tasks.len());
    for chunk in tasks.chunks(STATUSES) {
        match words(chunk) {
            Ok(words) => answers.extend(chunk.iter().map(|task| match words.get(&task.id) {
                Some(word) => from_word(&task.id, word),
                None => one(&task.id),
            })),
            Err(error) => answers.extend(chunk.iter().map(|_| Err(error.clone()))),
        }
    }
    answers
}

fn words(tasks: &[tasks::Task]) -> Result<HashMap<String, String>> {
    let ids: Vec<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
    let call = http::get(format!("{BASE}/v3/videos/statuses")).query("video_ids", &ids.join(","));
    let entries: Vec<Entry> = api::ask(call)?.data;
    Ok(entries
        .into_iter()
        .filter_map(|entry| Some((entry.video_id?, entry.status)))
        .collect())
}

fn from_word(id: &str, word: &str) -> Result<Status> {
    match word {
        "completed" | "failed" => one(id),
        "not_found" => {
            Err(Error::not_found(format!("HeyGen knows no video {id}")).with_code("not_found"))
        }
        word => Ok(in_progress(word)),
    }
}

/// Words that are not known mean that the work goes on.
fn in_progress(word: &str) -> Status {
    match word {
        "waiting" | "pending" | "queued" => Status::Queued(Progress {
            message: Some(word.to_owned()),
            ..Progress::unknown()
        }),
        word => Status::running(word),
    }
}

fn status(video: Video) -> Status {
    match video.status.as_str() {
        "completed" => match done(video) {
            Some(done) => Status::Done(done),
            // The URL can come a moment later than the word.
            None => Status::running("completed, without a URL so far"),
        },
        "failed" => Status::Failed(errors::failure(video.failure_code, video.failure_message)),
        word => in_progress(word),
    }
}

fn done(video: Video) -> Option<Done> {
    let filled = |url: Option<String>| url.filter(|url| !url.is_empty());
    // Captions that were burned in stand in a film of their own.
    let captioned = filled(video.captioned_video_url);
    let plain = filled(video.video_url)?;
    let has_captions = captioned.is_some();
    let mut main = Output::url(
        Role::Main,
        captioned.unwrap_or_else(|| plain.clone()),
        "video/mp4",
    )
    .lasting(video.duration);
    main.metadata =
        Some(json!({ "video_id": video.id, "video_page_url": video.video_page_url }).to_string());
    let mut outputs = vec![main];
    if has_captions {
        outputs.push(Output::url(Role::Other, plain, "video/mp4").lasting(video.duration));
    }
    if let Some(url) = filled(video.thumbnail_url) {
        outputs.push(Output::url(Role::Poster, url, "image/jpeg"));
    }
    if let Some(url) = filled(video.subtitle_url) {
        outputs.push(Output::url(Role::Subtitles, url, "application/x-subrip"));
    }
    Some(Done::new(outputs))
}

/// `GET /v3/videos?title=` finds substrings, so the title is compared here.
pub(crate) fn find(client_ref: &str) -> Result<Option<String>> {
    let title = create::title(client_ref);
    let mut token: Option<String> = None;
    for _ in 0..PAGES {
        let mut call = http::get(format!("{BASE}/v3/videos"))
            .query("title", &title)
            .query("limit", "100");
        if let Some(token) = &token {
            call = call.query("token", token);
        }
        let page = api::ask::<Vec<Video>>(call)?;
        token = page.next();
        let found = page
            .data
            .into_iter()
            .find(|video| video.title.as_deref() == Some(&title));
        if let Some(video) = found {
            return Ok(Some(video.id));
        }
        if token.is_none() {
            return Ok(None);
        }
    }
    Err(Error::unexpected(format!(
        "HeyGen's list for `{title}` does not end"
    )))
}
