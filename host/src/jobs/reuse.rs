//! When two steps ask for the same thing.

use genvid_runtime::{Manifest, types::Media, video};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::requests::{Materials, PaidRequest};
use crate::ids::{ProjectId, UserId};

/// Part of every key: whoever changes what goes into one changes it too.
const FORM: &str = "1";

/// SHA-256 of what a step asks for: on whose behalf and for which project, of which provider
/// and model, and the whole request as the plugin gets it. Files stand there by their content,
/// not by the name that they have within a job; uploads by their id, as they never change; links
/// by their address. `None`: it refers to something that nobody knows here.
#[must_use]
pub fn key(
    owner: UserId,
    project: Option<ProjectId>,
    manifest: &Manifest,
    request: &PaidRequest,
    materials: &Materials<'_>,
) -> Option<Vec<u8>> {
    let usual = usual_model(manifest, request);
    let mut request = request.clone();
    let (model, options) = match &mut request {
        PaidRequest::Script(own) => (&mut own.model, &mut own.options),
        PaidRequest::Voice(own) => (&mut own.model, &mut own.options),
        PaidRequest::Video(own) => (&mut own.model, &mut own.options),
    };
    // Who chooses the usual one asks for the same as who says nothing.
    if model.is_none() {
        *model = usual;
    }
    if let Ok(parsed) = serde_json::from_str::<Value>(options) {
        *options = sorted(&parsed);
    }
    if let PaidRequest::Video(film) = &mut request
        && let video::Speech::Audio(Media::Asset(name)) = &film.speech
    {
        let track = materials
            .voice
            .filter(|track| track.key.rsplit('/').next() == Some(name))?;
        film.speech = video::Speech::Audio(Media::Asset(format!("sha256:{}", track.sha256)));
    }
    let request = serde_json::to_value(&request).ok()?;
    let mut hash = Sha256::new();
    for part in [
        FORM,
        &owner.to_string(),
        &project
            .map(|project| project.to_string())
            .unwrap_or_default(),
        &manifest.id,
        &sorted(&request),
    ] {
        // With its length, so that no two lists of parts read alike.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Some(hash.finalize().to_vec())
}

fn usual_model(manifest: &Manifest, request: &PaidRequest) -> Option<String> {
    let models = match request {
        PaidRequest::Script(_) => manifest.script.as_ref().map(|own| &own.models),
        PaidRequest::Voice(_) => manifest.voice.as_ref().map(|own| &own.models),
        PaidRequest::Video(_) => manifest.video.as_ref().map(|own| &own.models),
    };
    let usual = models?.iter().find(|model| model.default)?;
    Some(usual.id.clone())
}

/// JSON in which the members of objects stand in the order of their names: databases and plugins
/// do not keep the order in which they were written.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            let members: Vec<_> = members
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), sorted(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(sorted).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_members_does_not_matter() {
        let read = |text| sorted(&serde_json::from_str::<Value>(text).expect("JSON"));
        let one = read(r#"{"b":[{"y":1,"x":null}],"a":"\""}"#);
        assert_eq!(one, read(r#"{"a":"\"","b":[{"x":null,"y":1}]}"#));
        assert_eq!(one, r#"{"a":"\"","b":[{"x":null,"y":1}]}"#);
        assert_ne!(read("[1,2]"), read("[2,1]"));
    }
}
