//! Many short jobs at a time, and a SIGKILL in the middle of them: nothing is lost, nothing is
//! bought twice.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::support::{
    client::Client,
    until,
    world::{Setup, World},
};

/// Jobs of the burst.
const JOBS: usize = 192;
/// Clients that ask for them.
const CLIENTS: usize = 64;
/// Looks that find a task unfinished.
const LOOKS: u32 = 5;
/// How long the server seems to have been dead.
const DEAD: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Desk {
    /// Each task's looks that are left.
    tasks: Vec<u32>,
    /// Which task was begun with a key.
    keys: HashMap<String, usize>,
    /// Requests to begin something, whatever their key.
    begun: usize,
    done: usize,
}

/// A vendor that is asked for its tasks every few milliseconds.
#[derive(Clone, Default)]
struct Vendor(Arc<Mutex<Desk>>);

impl Vendor {
    fn desk<T>(&self, look: impl FnOnce(&mut Desk) -> T) -> T {
        look(&mut self.0.lock().expect("the desk"))
    }

    async fn serve(&self) -> String {
        let router = Router::new()
            .route("/v1/work", post(begin))
            .route("/v1/looks", post(look))
            .route("/v1/find/{key}", get(find))
            .with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }
}

async fn begin(State(vendor): State<Vendor>, headers: HeaderMap) -> Json<Value> {
    let key = headers["idempotency-key"].to_str().expect("a key");
    vendor.desk(|desk| {
        desk.begun += 1;
        let new = desk.tasks.len();
        // No replay: each request is a task, as with vendors that know no such keys.
        desk.tasks.push(LOOKS);
        desk.keys.insert(key.to_owned(), new);
        Json(json!({"id": new.to_string()}))
    })
}

async fn look(State(vendor): State<Vendor>, Json(question): Json<Value>) -> Json<Value> {
    let ids = question["ids"].as_array().expect("identifiers");
    vendor.desk(|desk| {
        let seen = ids.iter().map(|id| {
            let id: usize = id.as_str().and_then(|id| id.parse().ok()).expect("a task");
            if desk.tasks[id] > 0 {
                desk.tasks[id] -= 1;
                return json!({"every_ms": 10});
            }
            desk.done += 1;
            let text = json!({"hook": "It is done.", "scenes": [], "call_to_action": "Look."});
            json!({"text": text.to_string()})
        });
        Json(seen.collect())
    })
}

async fn find(
    State(vendor): State<Vendor>,
    Path(key): Path<String>,
) -> Result<Json<Value>, StatusCode> {
    let found = vendor.desk(|desk| desk.keys.get(&key).copied());
    let id = found.ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(json!({"id": id.to_string()})))
}

async fn with_vendor(vendor: &Vendor) -> World {
    let world = Setup::default().with_guest().start_vendors().await;
    let url = vendor.serve().await;
    let mut settings = std::fs::read_to_string(&world.launch.config).expect("the settings");
    settings.push_str(&format!(
        "[providers.test-guest]\nconcurrency = 1000\nsettle_after_seconds = 1\n\
         secrets = {{ VENDOR_API_KEY = \"guests-own-secret-0123456789\", \
         VENDOR_ISSUER = \"guest\" }}\n\
         reroute = {{ \"api.vendor.example\" = \"{url}\" }}\n"
    ));
    std::fs::write(&world.launch.config, settings).expect("room for the settings");
    world.with_server().await
}

async fn ask(client: Client, number: usize) -> Option<String> {
    let wish = json!({
        "brief": format!("Work {number}."), "language": "en", "provider": "test-guest",
        "reuse": false, "idempotencyKey": format!("burst-{number}"),
        "options": {"do": "work", "looks": LOOKS, "every_ms": 10, "bytes": 1},
    });
    client.try_start("GenerateScript", wish).await
}

/// Asks for all of them; those that nobody answered are to be asked for again.
async fn ask_for_all(client: &Client) -> Vec<Option<String>> {
    let asks = (0..JOBS).map(|number| ask(client.clone(), number));
    futures::StreamExt::collect(futures::StreamExt::buffered(
        futures::stream::iter(asks),
        CLIENTS,
    ))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_in_the_middle_of_a_burst_loses_and_doubles_nothing() {
    let vendor = Vendor::default();
    let mut world = with_vendor(&vendor).await;
    let client = world.client();
    let burst = tokio::spawn(async move { ask_for_all(&client).await });
    until("a third of them is done", || async {
        vendor.desk(|desk| desk.done > JOBS / 3).then_some(())
    })
    .await;
    world.kill();
    let answered = burst.await.expect("clients outlive a server");
    world.database().age_open_attempts(DEAD).await;
    world.start_again().await;
    // Whoever got no answer asks again with the same key, and so does everybody else.
    let jobs = ask_for_all(&world.client()).await;
    for (before, now) in answered.iter().zip(&jobs) {
        assert!(now.is_some(), "a server that runs answers");
        assert!(
            before.is_none() || before == now,
            "{before:?} became {now:?}"
        );
    }
    let client = world.client();
    for job in jobs.iter().flatten() {
        client.ended(job, "SUCCEEDED").await;
    }
    let (begun, keys) = vendor.desk(|desk| (desk.begun, desk.keys.len()));
    assert_eq!(begun, keys, "a call was repeated with the same reference");
    assert_eq!(begun, JOBS, "every job is bought once");
    world.audit().await;
}
