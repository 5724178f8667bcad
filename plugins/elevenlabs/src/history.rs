//! Finding an attempt again whose answer was lost, and fetching what it made.
//!
//! The vendor knows no idempotency key and takes no name for a request, but it keeps what it
//! spoke: the same text by the same voice and model, made within minutes of the submission,
//! is that submission, or one that cannot be told from it by ear.

use genvid_sdk::http::{Part, Saved};
use genvid_sdk::prelude::*;

use crate::errors;
use crate::request::{self, Options, Settings};
use crate::response::{HistoryItem, HistoryPage};

const PREFIX: &str = "history:";
/// How far the vendor's clock may be behind the host's, in seconds.
const SKEW_SECONDS: u64 = 30;
/// The contract's longest call: later items cannot come from this submission.
const LONGEST_CALL_SECONDS: u64 = 600;
/// Small, because an item repeats its text and its alignment.
const PAGE_SIZE: &str = "20";
/// Below the manifest's `requests_per_call`.
const PAGES: usize = 7;
/// A cautious guess of how long the vendor works on a text, since it states nothing: so long,
/// and so long for each character.
const BASE_MS: u64 = 30_000;
const MS_PER_CHARACTER: u64 = 20;

/// The history item of a lost submission, as a task id.
pub(crate) fn find(lost: &tasks::Lost) -> Result<Option<String>> {
    let Some(request) = lost.voice()? else {
        return Err(Error::unsupported(format!(
            "ElevenLabs makes voices, not `{}`",
            lost.kind
        )));
    };
    let settings: Settings = lost.context.parse_settings()?;
    let options: Options = request.parse_options()?;
    if let Some(item) = search(lost, &request, &options, &settings)? {
        return Ok(Some(format!("{PREFIX}{}", item.history_item_id)));
    }
    // An item appears when its sound is ready, so an early empty answer proves nothing.
    let patience_ms = BASE_MS + MS_PER_CHARACTER * request.text.chars().count() as u64;
    if genvid_sdk::now_ms() < lost.submitted_at_ms.saturating_add(patience_ms) {
        return Err(Error::unavailable(
            "the vendor may still be speaking this text; ask again later",
        ));
    }
    Ok(None)
}

fn search(
    lost: &tasks::Lost,
    request: &voice::Request,
    options: &Options,
    settings: &Settings,
) -> Result<Option<HistoryItem>> {
    let submitted = lost.submitted_at_ms / 1_000;
    let after = submitted.saturating_sub(SKEW_SECONDS);
    let before = submitted.saturating_add(LONGEST_CALL_SECONDS);
    let mut cursor: Option<String> = None;
    let mut found: Vec<HistoryItem> = Vec::new();
    let mut seen_all = false;
    for _ in 0..PAGES {
        let mut call = http::get(settings.url("/v1/history"))
            .query("page_size", PAGE_SIZE)
            .query("voice_id", &request.voice)
            .query("model_id", request::model(request))
            .query("source", "TTS")
            .query("date_after_unix", &after.to_string())
            .query("date_before_unix", &before.to_string());
        if let Some(cursor) = &cursor {
            call = call.query("start_after_history_item_id", cursor);
        }
        let answer = call.send()?;
        if !answer.is_success() {
            return Err(errors::of_question(&answer));
        }
        let page: HistoryPage = answer.json()?;
        // The filters of the query are repeated here: a vendor that ignores one would
        // otherwise hand over another sound.
        found.extend(page.history.into_iter().filter(|item| {
            (after..=before).contains(&item.date_unix) && is_of(item, request, options)
        }));
        cursor = page.has_more.then_some(page.last_history_item_id).flatten();
        if cursor.is_none() {
            seen_all = true;
            break;
        }
    }
    if found.is_empty() && !seen_all {
        // An answer of "nothing" would claim more than was seen.
        return Err(Error::unavailable(format!(
            "the history of these minutes has more than {PAGES} pages"
        )));
    }
    Ok(found
        .into_iter()
        .min_by_key(|item| item.date_unix.abs_diff(submitted)))
}

fn is_of(item: &HistoryItem, request: &voice::Request, options: &Options) -> bool {
    let same = |known: &Option<String>, wanted: &str| known.as_deref().is_none_or(|k| k == wanted);
    item.text.as_deref().map(str::trim) == Some(request.text.trim())
        && item.voice_id.as_deref() == Some(request.voice.as_str())
        && same(&item.model_id, request::model(request))
        && same(&item.source, "TTS")
        && same(&item.output_format, options.output_format())
        && item.state.as_deref() != Some("deleted")
}

/// One found item: its state and, when it is ready, its sound.
pub(crate) fn poll(task: &tasks::Task) -> Result<Status> {
    let settings: Settings = task.context.parse_settings()?;
    let id = task
        .id
        .strip_prefix(PREFIX)
        .ok_or_else(|| Error::not_found(format!("`{}` is no task of ElevenLabs", task.id)))?;
    let url = settings.url(&format!("/v1/history/{}", http::segment(id)?));
    let answer = http::get(&url).send()?;
    if !answer.is_success() {
        return Err(errors::of_question(&answer));
    }
    let item: HistoryItem = answer.json()?;
    match item.state.as_deref() {
        None | Some("created") => {}
        Some("deleted") => {
            return Ok(Status::Failed(Error::not_found(
                "the sound was deleted from the vendor's history",
            )));
        }
        Some(other) => return Ok(Status::running(other)),
    }
    match http::get(format!("{url}/audio")).save(&Part::Whole)? {
        Saved::Kept(kept) if kept.size == 0 => Err(Error::unexpected(
            "the vendor's history holds an empty sound",
        )),
        Saved::Kept(kept) => Ok(Status::Done(done(&item, kept.asset, &settings))),
        Saved::Refused(refused) => Err(errors::of_question(&refused)),
    }
}

fn done(item: &HistoryItem, asset: String, settings: &Settings) -> Done {
    let credits = item.credits();
    let main = Output {
        role: Role::Main,
        media: Media::Asset(asset),
        mime: item
            .content_type
            .clone()
            .unwrap_or_else(|| request::MIME.to_owned()),
        duration_ms: None,
        metadata: Some(
            json!({
                "model": item.model_id,
                "voice": item.voice_id,
                "output_format": item.output_format,
                "credits": credits,
                "request_id": item.request_id,
                "history_item_id": item.history_item_id,
            })
            .to_string(),
        ),
    };
    let timing = item.alignments.as_ref().and_then(|known| known.output());
    Done {
        outputs: std::iter::once(main).chain(timing).collect(),
        cost_micro_usd: credits.and_then(|credits| settings.cost_micro_usd(credits)),
    }
}
