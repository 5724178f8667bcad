//! `POST /v3/videos`.

use std::{sync::Arc, time::Duration};

use axum::{Extension, extract::State, response::Response};
use serde_json::{Value, json};

use super::{CREATE, HeyGen, Replay, Video, data, invalid, plan::plan, webhooks};
use crate::{
    call::{Call, text},
    gate::Face,
    ledger::InvoiceCall,
    media::Film,
    refusal::{Answer, Class, Refusal},
    run::Run,
};

/// How long an idempotency key is remembered.
const REPLAY_FOR: Duration = Duration::from_secs(24 * 3_600);

pub(super) async fn create(
    State(heygen): State<Arc<HeyGen>>,
    Extension(call): Extension<Call>,
) -> Answer {
    let Some(key) = idempotency_key(&call)? else {
        let answer = accept(&heygen, &call, None).await?;
        return Ok(data(&answer));
    };
    if let Some(response) = replay(&heygen, &call, &key)? {
        return Ok(response);
    }
    let answer = accept(&heygen, &call, Some(&key)).await;
    let mut store = heygen.store();
    match answer {
        Ok(answer) => {
            let done = Replay::Done {
                at: std::time::Instant::now(),
                answer: answer.clone(),
            };
            store.replays.insert(key, done);
            Ok(data(&answer))
        }
        // Nothing was accepted, so the key is free again.
        Err(refusal) => {
            store.replays.remove(&key);
            Err(refusal)
        }
    }
}

/// The key, which must match `^[A-Za-z0-9_\-:.]{1,255}$`.
fn idempotency_key(call: &Call) -> Result<Option<String>, Refusal> {
    let Some(key) = call.headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = key.to_str().unwrap_or_default();
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.');
    if key.is_empty() || key.len() > 255 || !key.chars().all(good) {
        return Err(invalid("Idempotency-Key", "Invalid idempotency key"));
    }
    Ok(Some(key.to_owned()))
}

/// The first answer again, or the place for it.
fn replay(heygen: &HeyGen, call: &Call, key: &str) -> Result<Option<Response>, Refusal> {
    let mut store = heygen.store();
    match store.replays.get(key) {
        Some(Replay::InFlight) => return Err(heygen.refusal(Class::Conflict)),
        Some(Replay::Done { at, answer }) if at.elapsed() < REPLAY_FOR => {
            let mut replayed = InvoiceCall::refused(CREATE).client_ref(Some(key.to_owned()));
            replayed.task_id = text(answer, "video_id").map(str::to_owned);
            replayed.replayed = true;
            let answer = data(answer);
            drop(store);
            call.book(&heygen.desk, replayed);
            return Ok(Some(answer));
        }
        _ => {}
    }
    store.replays.insert(key.to_owned(), Replay::InFlight);
    Ok(None)
}

async fn accept(heygen: &Arc<HeyGen>, call: &Call, key: Option<&str>) -> Result<Value, Refusal> {
    let desk = &heygen.desk;
    let body = call
        .json()
        .ok_or_else(|| Refusal::new(400, "validation_error", "The body is not a JSON object"))?;
    let client_ref = key
        .or_else(|| text(&body, "callback_id"))
        .or_else(|| text(&body, "title"))
        .map(str::to_owned);
    let refused = |refusal: Refusal| {
        call.book(
            desk,
            InvoiceCall::refused(CREATE).client_ref(client_ref.clone()),
        );
        refusal
    };
    let plan = plan(heygen, &body).await.map_err(refused)?;
    let profile = desk.profile();
    tokio::time::sleep(profile.accept).await;

    let id = format!("vid_{}", desk.token(24));
    let film = if profile.distinct_films {
        plan.film
    } else {
        plan.film.shared()
    };
    let captioned = plan.burned.then(|| Film {
        burned_captions: profile.distinct_films,
        ..film.clone()
    });
    let (seconds, price) = (film.seconds, plan.micro_usd_per_second);
    let video = Arc::new(Video {
        id: id.clone(),
        title: text(&body, "title").map(str::to_owned),
        callback_url: text(&body, "callback_url").map(str::to_owned),
        callback_id: text(&body, "callback_id").map(str::to_owned),
        film,
        timeline: plan.timeline,
        subtitles: plan.subtitles,
        captioned,
        run: Run::start(&profile, call.twists.clone()),
    });
    {
        let mut store = heygen.store();
        store.open.retain(|video| video.run.is_open());
        let limit = desk.limit();
        if limit > 0 && store.open.len() >= limit {
            drop(store);
            return Err(refused(heygen.refusal(Class::NoSlot)));
        }
        let index = store.videos.len();
        store.by_id.insert(id.clone(), index);
        store.videos.push(video.clone());
        if video.run.is_open() {
            store.open.push(video.clone());
        }
    }
    let billed = InvoiceCall::billed(CREATE, &id, "video", seconds, cost(seconds, price));
    call.book(desk, billed.client_ref(client_ref));
    webhooks::schedule(heygen, &video);
    Ok(json!({
        "video_id": id,
        "status": "waiting",
        "output_format": video.film.extension(),
    }))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds times a price of a few cents"
)]
fn cost(seconds: f64, micro_usd_per_second: f64) -> u64 {
    (seconds * micro_usd_per_second).round() as u64
}
