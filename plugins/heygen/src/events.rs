//! What HeyGen posts: `avatar_video.success` and `avatar_video.fail`.

use genvid_sdk::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Event {
    event_type: String,
    #[serde(default)]
    event_data: Data,
}

#[derive(Default, Deserialize)]
struct Data {
    video_id: Option<String>,
    callback_id: Option<String>,
}

/// Both outcomes are hints alike: polling tells which. Events of other families, such as
/// translations, are none of this plugin's and hint at nothing.
pub(crate) fn parse(delivery: &webhook::Delivery) -> Result<Vec<webhook::Hint>> {
    let event: Event = serde_json::from_slice(&delivery.body)
        .map_err(|error| Error::invalid("body", format!("not an event of HeyGen's: {error}")))?;
    if !matches!(
        event.event_type.as_str(),
        "avatar_video.success" | "avatar_video.fail"
    ) {
        return Ok(Vec::new());
    }
    let Data {
        video_id,
        callback_id,
    } = event.event_data;
    if video_id.is_none() && callback_id.is_none() {
        return Err(Error::invalid("body", "the event names no video"));
    }
    Ok(vec![webhook::Hint {
        task_id: video_id,
        client_ref: callback_id,
        event_id: http::find_header(&delivery.headers, "heygen-event-id").map(str::to_owned),
    }])
}
