//! What receivers read.

use serde_json::{Map, Value, json};

use super::{Kind, Message};
use crate::jobs::model::{Failure, Job};

/// Largest body in bytes.
const MOST_BYTES: usize = 20_000;
/// Longest text of an error, in characters.
const MOST_WORDS: usize = 1_000;

/// Links to files by what they are, for example `video`.
pub type Links = Vec<(&'static str, String)>;

/// The public facts of a job, at the event number `seq`.
#[must_use]
pub fn facts(job: &Job, seq: i64) -> Value {
    json!({
        "jobId": job.id,
        "kind": job.kind,
        "status": job.status,
        "projectId": job.project,
        "seq": seq,
        "error": job.error.as_ref().map(failure),
        "createdAt": job.created_at.to_string(),
        "completedAt": job.completed_at.map(|at| at.to_string()),
    })
}

fn failure(failure: &Failure) -> Value {
    json!({
        "code": failure.code,
        "message": failure.message.chars().take(MOST_WORDS).collect::<String>(),
        "retryable": failure.retryable,
    })
}

/// The body of an attempt. `links` end after a time, so each attempt has fresh ones; the rest
/// stays the same.
#[must_use]
pub fn body(message: &Message, links: Links) -> Vec<u8> {
    let mut data = message.data.clone();
    if message.kind == Kind::JobSucceeded
        && let Some(data) = data.as_object_mut()
    {
        let links: Map<String, Value> = links
            .into_iter()
            .map(|(name, link)| (name.to_owned(), link.into()))
            .collect();
        data.insert("links".to_owned(), links.into());
    }
    let bytes = whole(message, &data);
    if bytes.len() <= MOST_BYTES {
        return bytes;
    }
    // Links to a store may be long; who needs them asks the API with the job's id.
    if let Some(data) = data.as_object_mut() {
        data.remove("links");
    }
    whole(message, &data)
}

fn whole(message: &Message, data: &Value) -> Vec<u8> {
    json!({
        "type": message.kind.as_str(),
        "timestamp": message.at.to_string(),
        "data": data,
    })
    .to_string()
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{JobId, MessageId, UserId},
        jobs::{
            input::{JobInput, VoiceInput},
            model::{FailureCode, JobKind, JobStatus},
        },
        time::Timestamp,
    };

    fn job() -> Job {
        let input = JobInput::Voice(VoiceInput {
            text: "Hello".to_owned(),
            language: "en".to_owned(),
            provider: None,
            exclude: Vec::new(),
            only: None,
            voice: None,
            options: Value::Null,
            reuse: true,
        });
        Job {
            id: JobId::generate(),
            owner: UserId::generate(),
            project: None,
            kind: JobKind::Voice,
            status: JobStatus::Failed,
            input,
            error: Some(Failure::new(FailureCode::MediaFailed, "x".repeat(100_000))),
            cancel_requested: false,
            last_seq: 9,
            deadline: Timestamp::from_millis(0),
            created_at: Timestamp::from_millis(1_795_359_845_678),
            completed_at: None,
        }
    }

    #[test]
    fn a_body_has_a_bound_and_no_words_of_the_owner() {
        let job = job();
        let message = Message {
            id: MessageId::generate(),
            kind: Kind::JobSucceeded,
            job: Some(job.id),
            data: facts(&job, 9),
            at: job.created_at,
        };
        let links = |length| vec![("video", "x".repeat(length))];
        let read = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).expect("JSON");
        let told = read(body(&message, links(100)));
        assert_eq!(told["type"], "job.succeeded");
        assert_eq!(told["timestamp"], "2026-11-22T15:04:05.678Z");
        assert_eq!(told["data"]["jobId"], job.id.to_string());
        assert_eq!(told["data"]["links"]["video"], "x".repeat(100));
        assert_eq!(told["data"]["error"]["code"], "MEDIA_FAILED");
        assert!(!told.to_string().contains("Hello"), "{told}");
        let large = body(&message, links(MOST_BYTES));
        assert!(large.len() <= MOST_BYTES);
        assert!(read(large)["data"].get("links").is_none());
    }
}
