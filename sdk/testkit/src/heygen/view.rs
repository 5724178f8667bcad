//! Reading, listing and deleting videos, and their files.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{HeyGen, Video, data, invalid};
use crate::{
    call::Call,
    gate::Face,
    media::{expired, file},
    refusal::{Answer, Class, Refusal},
    run::Phase,
};

/// The vendor's word for where a video is.
fn status(video: &Video) -> &str {
    let word = video.run.twists.status_word.as_deref();
    match video.run.phase() {
        Phase::Queued => word.unwrap_or("pending"),
        Phase::Running => word.unwrap_or("processing"),
        Phase::Done => "completed",
        Phase::Failed => "failed",
    }
}

/// Failure code and message, when the task fails.
pub(super) fn failure(video: &Video) -> Option<(String, String)> {
    let (code, message) = video.run.twists.failure.clone()?;
    Some((
        code.unwrap_or_else(|| "rendering_failed".into()),
        message.unwrap_or_else(|| "The video could not be rendered".into()),
    ))
}

impl HeyGen {
    /// Links to the files of a finished video.
    fn file_links(&self, video: &Video) -> Value {
        let ttl = self.desk.profile().media_ttl;
        let link = |name: String| self.links.link(&format!("/media/{name}"), ttl);
        let id = &video.id;
        let extension = video.film.extension();
        json!({
            "video_url": link(format!("{id}.{extension}")),
            "captioned_video_url":
                video.captioned.as_ref().map(|_| link(format!("{id}_captioned.{extension}"))),
            "subtitle_url": video.subtitles.then(|| link(format!("{id}.srt"))),
            "thumbnail_url": link(format!("{id}.jpg")),
            "gif_url": link(format!("{id}.gif")),
        })
    }

    /// The video as `GET /v3/videos/{video_id}` shows it.
    pub(super) fn detail(&self, video: &Video) -> Value {
        let phase = video.run.phase();
        let mut detail = json!({
            "id": video.id,
            "status": status(video),
            "title": video.title,
            "created_at": video.run.started_ms / 1_000,
            "completed_at": null,
            "video_url": null,
            "captioned_video_url": null,
            "subtitle_url": null,
            "thumbnail_url": null,
            "gif_url": null,
            "duration": null,
            "folder_id": null,
            "output_language": null,
            "failure_code": null,
            "failure_message": null,
            "video_page_url": format!("https://app.heygen.com/videos/{}", video.id),
        });
        match phase {
            Phase::Done => {
                detail["completed_at"] = json!(video.run.ended_ms() / 1_000);
                detail["duration"] = json!(rounded(video.film.seconds));
                if video.run.link_is_there()
                    && let Value::Object(links) = self.file_links(video)
                {
                    for (name, link) in links {
                        detail[name] = link;
                    }
                }
            }
            Phase::Failed => {
                // Failed jobs are not charged (developers.heygen.com, pricing).
                self.desk.refund(&video.id);
                if let Some((code, message)) = failure(video) {
                    detail["failure_code"] = json!(code);
                    detail["failure_message"] = json!(message);
                }
            }
            Phase::Queued | Phase::Running => {}
        }
        detail
    }
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1_000.0).round() / 1_000.0
}

fn no_video() -> Refusal {
    Refusal::new(404, "video_not_found", "Video not found")
}

pub(super) async fn one(State(heygen): State<Arc<HeyGen>>, Path(id): Path<String>) -> Answer {
    let video = heygen.video(&id).ok_or_else(no_video)?;
    Ok(data(&heygen.detail(&video)))
}

pub(super) async fn delete(State(heygen): State<Arc<HeyGen>>, Path(id): Path<String>) -> Answer {
    heygen.video(&id).ok_or_else(no_video)?;
    heygen.store().deleted.insert(id.clone());
    Ok(data(&json!({"id": id, "deleted": true})))
}

/// `GET /v3/videos?title=&limit=&token=`, newest first.
pub(super) async fn list(
    State(heygen): State<Arc<HeyGen>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let query = call.query();
    let title = query.get("title").cloned().unwrap_or_default();
    let matching: Vec<Arc<Video>> = {
        let store = heygen.store();
        store
            .videos
            .iter()
            .rev()
            .filter(|video| !store.deleted.contains(&video.id))
            .filter(|video| {
                title.is_empty()
                    || video
                        .title
                        .as_deref()
                        .is_some_and(|name| name.to_lowercase().contains(&title.to_lowercase()))
            })
            .cloned()
            .collect()
    };
    page(&call, &matching, 10, 100, |video| heygen.detail(video))
}

/// One page of a list: `limit` and `token` in, `has_more` and `next_token` out.
pub(super) fn page<T>(
    call: &Call,
    all: &[T],
    default: usize,
    most: usize,
    show: impl Fn(&T) -> Value,
) -> Answer {
    let query = call.query();
    let limit = match query.get("limit") {
        None => default,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=most).contains(limit))
            .ok_or_else(|| invalid("limit", format!("limit must be 1 to {most}")))?,
    };
    let start = match query.get("token").filter(|token| !token.is_empty()) {
        None => 0,
        Some(token) => token
            .strip_prefix("page_")
            .and_then(|number| number.parse::<usize>().ok())
            .ok_or_else(|| invalid("token", "Invalid token"))?,
    };
    let end = start.saturating_add(limit).min(all.len());
    let items: Vec<Value> = all
        .get(start..end)
        .unwrap_or_default()
        .iter()
        .map(show)
        .collect();
    let has_more = end < all.len();
    let next = has_more.then(|| format!("page_{end}"));
    Ok(Json(json!({"data": items, "has_more": has_more, "next_token": next})).into_response())
}

/// `GET /v3/videos/statuses?video_ids=a,b`: words only, those of the batch view.
pub(super) async fn statuses(
    State(heygen): State<Arc<HeyGen>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let query = call.query();
    let ids: Vec<&str> = query
        .get("video_ids")
        .map(|ids| {
            ids.split(',')
                .map(str::trim)
                .filter(|id| !id.is_empty())
                .collect()
        })
        .unwrap_or_default();
    if ids.is_empty() || ids.len() > 100 {
        return Err(invalid("video_ids", "video_ids takes 1 to 100 ids"));
    }
    let statuses: Vec<Value> = ids
        .into_iter()
        .map(|id| {
            let video = heygen.video(id);
            let word = match video.as_deref().map(status) {
                None => "not_found",
                Some("pending") => "queued",
                Some(word) => word,
            };
            json!({
                "video_id": id, "status": word, "batch_id": null, "item_index": null,
                "error": null,
            })
        })
        .collect();
    Ok(Json(json!({"data": statuses, "has_more": false, "next_token": null})).into_response())
}

/// The files of a finished video.
pub(super) async fn media(
    State(heygen): State<Arc<HeyGen>>,
    Path(name): Path<String>,
    Extension(call): Extension<Call>,
) -> Response {
    if !heygen.links.works(&format!("/media/{name}"), &call) {
        return expired();
    }
    let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, ""));
    let (id, captioned) = match stem.strip_suffix("_captioned") {
        Some(id) => (id, true),
        None => (stem, false),
    };
    let Some(video) = heygen.video(id) else {
        return expired();
    };
    let studio = &heygen.desk.studio;
    let film = match &video.captioned {
        Some(film) if captioned => film,
        _ => &video.film,
    };
    let made = match extension {
        "srt" => {
            let srt = video.timeline.as_ref().map(|timeline| timeline.srt());
            let head = [("content-type", "application/x-subrip")];
            return (head, srt.unwrap_or_default()).into_response();
        }
        "jpg" => studio.poster(film).await.map(|path| (path, "image/jpeg")),
        "gif" => studio.animation(film).await.map(|path| (path, "image/gif")),
        _ => studio.film(film).await.map(|path| (path, film.mime())),
    };
    match made {
        Ok((path, mime)) => file(&path, mime, &call.headers).await,
        Err(error) => {
            heygen.desk.trouble("a film was not made", &error);
            heygen.refusal(Class::InternalError).into_response()
        }
    }
}
