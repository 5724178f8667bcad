//! Clients that send jobs and follow them while servers die under their hands.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{
    client::{Client, document},
    live::{Live, Said},
};

/// How long a crowd may take for everything.
const PATIENCE: Duration = Duration::from_secs(480);
/// After so long without an event a watcher looks in at another door.
const SILENCE: Duration = Duration::from_secs(20);

/// The doors of a cluster; any of them may be shut at any time.
#[derive(Clone)]
pub(crate) struct Doors {
    clients: Arc<Vec<(String, Client)>>,
    token: String,
}

/// What a client wants: the mutation and its input.
pub(crate) type Wish = (&'static str, Value);

impl Doors {
    pub(crate) fn new(urls: Vec<String>, token: &str) -> Self {
        let clients = urls
            .into_iter()
            .map(|url| {
                let client = Client::new(&url, Some(token));
                (url, client)
            })
            .collect();
        Self {
            clients: Arc::new(clients),
            token: token.to_owned(),
        }
    }

    fn any(&self, random: &mut StdRng) -> &(String, Client) {
        &self.clients[random.random_range(0..self.clients.len())]
    }

    /// Sends a wish until somebody has taken it: the key makes the repetition harmless. The
    /// job's id.
    pub(crate) async fn insist(&self, (name, input): Wish, seed: u64) -> String {
        let mut random = StdRng::seed_from_u64(seed);
        let began = Instant::now();
        let mut last = String::new();
        while began.elapsed() < PATIENCE {
            let (_, client) = self.any(&mut random);
            let sent = client
                .try_send(document(name), &json!({"input": input}))
                .await;
            match sent {
                Ok(answer) => {
                    let result = answer["data"].as_object().and_then(|d| d.values().next());
                    if let Some(id) = result.and_then(|result| result["job"]["id"].as_str()) {
                        return id.to_owned();
                    }
                    last = answer.to_string();
                }
                Err(error) => last = error.to_string(),
            }
            let wait = random.random_range(50..300);
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        panic!("nobody took it: {last}");
    }

    /// Follows a job to its end over sockets that break, and that it breaks itself, each time
    /// at any door; every event as it was told.
    pub(crate) async fn follow(&self, job: &str, seed: u64) -> Vec<Value> {
        let mut random = StdRng::seed_from_u64(seed);
        let began = Instant::now();
        let mut seen: Vec<Value> = Vec::new();
        loop {
            assert!(
                began.elapsed() < PATIENCE,
                "{job} is followed in vain; seen so far: {seen:#?}"
            );
            let (url, _) = self.any(&mut random);
            let Some(mut live) = Live::try_connect(url, Some(&self.token)).await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let last = seen.last().map_or(0, number);
            live.follow(job, last).await;
            let leaves_after = random.random_range(1..12);
            for _ in 0..leaves_after {
                let Ok(said) = tokio::time::timeout(SILENCE, live.next()).await else {
                    break;
                };
                match said {
                    Said::Event(event) => {
                        // It waits for its owner, and this one does not decide.
                        let parked = event["type"] == "JOB_UNCONFIRMED";
                        seen.push(event);
                        if parked {
                            return seen;
                        }
                    }
                    Said::Complete => return seen,
                    // A door that is shut, or one whose database is away.
                    Said::Cut | Said::Refused(_) => break,
                }
            }
        }
    }

    /// Waits until a job is over, one way or another; its status.
    pub(crate) async fn over(&self, job: &str, seed: u64) -> String {
        const STATUS: &str = "query($id: ID!) { job(id: $id) { status } }";
        let mut random = StdRng::seed_from_u64(seed);
        let began = Instant::now();
        loop {
            let (_, client) = self.any(&mut random);
            let answer = client.try_send(STATUS, &json!({"id": job})).await;
            let status = answer
                .ok()
                .and_then(|answer| Some(answer["data"]["job"]["status"].as_str()?.to_owned()));
            match status.as_deref() {
                Some("SUCCEEDED" | "FAILED" | "CANCELED" | "UNCONFIRMED") => {
                    return status.unwrap_or_default();
                }
                _ if began.elapsed() > PATIENCE => {
                    panic!("{job} does not end: {:#}", client.job(job).await)
                }
                _ => {}
            }
            // Hundreds look at a time.
            let wait = random.random_range(500..1_500);
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    }
}

/// Number of an event.
pub(crate) fn number(event: &Value) -> i64 {
    event["seq"].as_i64().expect("a number")
}

/// So many wishes of all kinds, mostly those that cost little work. No two texts are the
/// same: ElevenLabs takes no name for a call.
pub(crate) fn wishes(count: usize, films: usize, project: &str) -> Vec<Wish> {
    (0..count)
        .map(|index| {
            let key = format!("crowd-{index}");
            if index < films {
                let provider = ["heygen", "kling"][index % 2];
                let words = format!("Cold water, all day. Bottle {index}.");
                return (
                    "GenerateVideo",
                    json!({
                        "projectId": project, "script": words, "language": "en",
                        "aspect": "PORTRAIT", "subtitles": "NONE", "provider": provider,
                        "idempotencyKey": key,
                    }),
                );
            }
            // Each voice costs three runs of ffmpeg, whose turns come last on a busy machine.
            if index % 10 == 0 {
                let text = format!("A sentence that nobody else says, number {index}.");
                return (
                    "GenerateVoice",
                    json!({"text": text, "language": "en", "idempotencyKey": key}),
                );
            }
            let brief = format!("A steel bottle that keeps water cold, number {index}.");
            (
                "GenerateScript",
                json!({
                    "brief": brief, "language": "en", "maxSeconds": 8, "idempotencyKey": key,
                }),
            )
        })
        .collect()
}
