//! Files that callers upload.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Multipart, Path, State},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{Asset, HeyGen, data, invalid};
use crate::{
    call::Call,
    gate::Face,
    media::{expired, file},
    refusal::{Answer, Class, Refusal},
};

/// Largest asset: 32 MB.
const ASSET_LIMIT: usize = 32 * 1024 * 1024;

/// The media type that the first bytes prove.
fn sniff(bytes: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    Some(match bytes {
        _ if starts(b"\x89PNG") => "image/png",
        _ if starts(&[0xff, 0xd8, 0xff]) => "image/jpeg",
        _ if bytes.get(4..8) == Some(b"ftyp") => "video/mp4",
        _ if starts(&[0x1a, 0x45, 0xdf, 0xa3]) => "video/webm",
        _ if starts(b"RIFF") && bytes.get(8..12) == Some(b"WAVE") => "audio/wav",
        _ if starts(b"ID3") => "audio/mpeg",
        [0xff, second, ..] if second & 0xe0 == 0xe0 => "audio/mpeg",
        _ if starts(b"%PDF") => "application/pdf",
        _ => return None,
    })
}

pub(super) async fn upload(State(heygen): State<Arc<HeyGen>>, mut form: Multipart) -> Answer {
    let wrong = |_| invalid("file", "The form cannot be read");
    while let Some(field) = form.next_field().await.map_err(wrong)? {
        if field.name() != Some("file") {
            continue;
        }
        let name = field.file_name().unwrap_or("file").to_owned();
        let bytes = field.bytes().await.map_err(wrong)?;
        if bytes.len() > ASSET_LIMIT {
            return Err(Refusal::new(
                400,
                "payload_too_large",
                "The file is too large",
            ));
        }
        let mime = sniff(&bytes).ok_or_else(|| invalid("file", "Unsupported file type"))?;
        let extension = mime.rsplit_once('/').map_or("bin", |(_, kind)| kind);
        let kept = heygen.desk.studio.keep(&bytes, extension).await;
        let path = kept.map_err(|error| {
            heygen.desk.trouble("an asset was not kept", &error);
            heygen.refusal(Class::InternalError)
        })?;
        let id = format!("ast_{}", heygen.desk.token(20));
        let asset = Asset {
            path,
            mime: mime.to_owned(),
            size: bytes.len(),
            name,
        };
        let shown = show(&heygen, &id, &asset);
        heygen.store().assets.insert(id, asset);
        return Ok(data(&shown));
    }
    Err(invalid("file", "The form has no part named file"))
}

fn show(heygen: &HeyGen, id: &str, asset: &Asset) -> Value {
    let ttl = heygen.desk.profile().media_ttl;
    json!({
        "asset_id": id,
        "url": heygen.links.link(&format!("/media/asset/{id}"), ttl),
        "mime_type": asset.mime,
        "size_bytes": asset.size,
        "filename": asset.name,
    })
}

fn no_asset() -> Refusal {
    Refusal::new(404, "asset_not_found", "Asset not found")
}

pub(super) async fn one(State(heygen): State<Arc<HeyGen>>, Path(id): Path<String>) -> Answer {
    let store = heygen.store();
    let asset = store.assets.get(&id).ok_or_else(no_asset)?;
    Ok(data(&show(&heygen, &id, asset)))
}

pub(super) async fn delete(State(heygen): State<Arc<HeyGen>>, Path(id): Path<String>) -> Answer {
    heygen.store().assets.remove(&id).ok_or_else(no_asset)?;
    Ok(data(&json!({"id": id, "deleted": true})))
}

pub(super) async fn media(
    State(heygen): State<Arc<HeyGen>>,
    Path(id): Path<String>,
    Extension(call): Extension<Call>,
) -> Response {
    if !heygen.links.works(&format!("/media/asset/{id}"), &call) {
        return expired();
    }
    let found = {
        let store = heygen.store();
        store
            .assets
            .get(&id)
            .map(|asset| (asset.path.clone(), asset.mime.clone()))
    };
    match found {
        Some((path, mime)) => file(&path, &mime, &call.headers).await,
        None => no_asset().into_response(),
    }
}
