//! A client of the public API, over HTTP.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{list, live::Live, text, until};

/// The documents that are shipped for clients.
const DOCUMENTS: [(&str, &str); 14] = [
    (
        "CancelJob",
        include_str!("../../../../graphql/operations/CancelJob.graphql"),
    ),
    (
        "CompleteUpload",
        include_str!("../../../../graphql/operations/CompleteUpload.graphql"),
    ),
    (
        "CreateUpload",
        include_str!("../../../../graphql/operations/CreateUpload.graphql"),
    ),
    (
        "DeleteProject",
        include_str!("../../../../graphql/operations/DeleteProject.graphql"),
    ),
    (
        "CreateProject",
        include_str!("../../../../graphql/operations/CreateProject.graphql"),
    ),
    (
        "GenerateScript",
        include_str!("../../../../graphql/operations/GenerateScript.graphql"),
    ),
    (
        "EditCaptions",
        include_str!("../../../../graphql/operations/EditCaptions.graphql"),
    ),
    (
        "GenerateVideo",
        include_str!("../../../../graphql/operations/GenerateVideo.graphql"),
    ),
    (
        "GenerateVoice",
        include_str!("../../../../graphql/operations/GenerateVoice.graphql"),
    ),
    (
        "Job",
        include_str!("../../../../graphql/operations/Job.graphql"),
    ),
    (
        "Jobs",
        include_str!("../../../../graphql/operations/Jobs.graphql"),
    ),
    (
        "RetryJob",
        include_str!("../../../../graphql/operations/RetryJob.graphql"),
    ),
    (
        "WatchJob",
        include_str!("../../../../graphql/operations/WatchJob.graphql"),
    ),
    (
        "WatchMyJobs",
        include_str!("../../../../graphql/operations/WatchMyJobs.graphql"),
    ),
];

/// A page of a job's log.
const LOG: &str =
    "query($id: ID!, $after: Int) { job(id: $id) { events(after: $after, first: 100) {
    pageInfo { hasNextPage endCursor }
    nodes { jobId seq type at step progress message textDelta } } } }";

/// The shipped document of that name.
pub(crate) fn document(name: &str) -> &'static str {
    let found = DOCUMENTS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no document {name}")).1
}

/// A client of one server. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
}

impl Client {
    /// A client with this token, or of somebody who is not signed in.
    pub(crate) fn new(url: &str, token: Option<&str>) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .expect("an HTTP client");
        Self {
            http,
            url: url.to_owned(),
            token: token.map(str::to_owned),
        }
    }

    /// The same, with another token.
    pub(crate) fn signed_in_as(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// A whole answer, errors and all; `Err` when there was none, as from a killed server.
    pub(crate) async fn try_send(
        &self,
        query: &str,
        variables: &Value,
    ) -> Result<Value, reqwest::Error> {
        let mut request = self
            .http
            .post(format!("{}/graphql", self.url))
            .json(&json!({"query": query, "variables": variables}));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        request.send().await?.json().await
    }

    /// A whole answer, errors and all.
    pub(crate) async fn send(&self, query: &str, variables: Value) -> Value {
        self.try_send(query, &variables)
            .await
            .expect("the server answers")
    }

    /// The data of an answer without errors.
    pub(crate) async fn ask(&self, query: &str, variables: Value) -> Value {
        let answer = self.send(query, variables).await;
        assert!(
            answer.get("errors").is_none(),
            "{query}\nwas refused: {answer:#}"
        );
        answer["data"].clone()
    }

    /// The result of a mutation of the shipped documents.
    pub(crate) async fn change(&self, name: &str, input: Value) -> Value {
        let data = self.ask(document(name), json!({"input": input})).await;
        let fields = data.as_object().expect("data");
        fields.values().next().expect("one result").clone()
    }

    /// Starts a job that is expected to be accepted; its id.
    pub(crate) async fn start(&self, name: &str, input: Value) -> String {
        let result = self.change(name, input).await;
        text(&result, "/job/id").to_owned()
    }

    /// The same, unless the server is gone before it answers.
    pub(crate) async fn try_start(&self, name: &str, input: Value) -> Option<String> {
        let variables = json!({"input": input});
        let answer = self.try_send(document(name), &variables).await.ok()?;
        let fields = answer["data"].as_object().expect("data");
        let result = fields.values().next().expect("one result");
        Some(text(result, "/job/id").to_owned())
    }

    /// A new project; its id.
    pub(crate) async fn project(&self) -> String {
        let input = json!({
            "name": "Aurora", "productName": "Aurora Bottle",
            "productDescription": "A steel bottle that keeps water cold for a day.",
        });
        let result = self.change("CreateProject", input).await;
        text(&result, "/project/id").to_owned()
    }

    /// A job with its steps, attempts and results.
    pub(crate) async fn job(&self, id: &str) -> Value {
        let data = self.ask(document("Job"), json!({"id": id})).await;
        assert!(!data["job"].is_null(), "there is no job {id}");
        data["job"].clone()
    }

    /// The job as soon as it is as wanted; panics with the job as it is when it never is.
    pub(crate) async fn wait(&self, id: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let last = std::cell::RefCell::new(Value::Null);
        let look = || async {
            let job = self.job(id).await;
            let found = fits(&job).then(|| job.clone());
            let over = matches!(text(&job, "/status"), "SUCCEEDED" | "FAILED" | "CANCELED");
            let changed = last.replace(job.clone());
            assert!(
                found.is_some() || !over || !settled(&changed) || changed != job,
                "the job came to rest before it was {what}: {job:#}"
            );
            found
        };
        until(what, look).await
    }

    /// The job once it rests in this state.
    pub(crate) async fn ended(&self, id: &str, status: &str) -> Value {
        self.wait(id, status, |job| job["status"] == status).await
    }

    /// The job once every attempt is settled too.
    pub(crate) async fn settled(&self, id: &str) -> Value {
        self.wait(id, "settled", |job| {
            matches!(text(job, "/status"), "SUCCEEDED" | "FAILED" | "CANCELED") && settled(job)
        })
        .await
    }

    /// A job's whole log.
    pub(crate) async fn log(&self, id: &str) -> Vec<Value> {
        let (mut all, mut after) = (Vec::new(), json!(0));
        loop {
            let data = self.ask(LOG, json!({"id": id, "after": after})).await;
            let page = &data["job"]["events"];
            all.extend_from_slice(list(page, "/nodes"));
            if page["pageInfo"]["hasNextPage"] == false {
                return all;
            }
            after = all.last().expect("a page that goes on is not empty")["seq"].clone();
        }
    }

    /// Waits until the log has an event that fits.
    pub(crate) async fn event(&self, id: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        until(what, || async {
            self.log(id).await.into_iter().find(&fits)
        })
        .await
    }

    /// Follows over a WebSocket.
    pub(crate) async fn live(&self) -> Live {
        Live::connect(&self.url, self.token.as_deref()).await
    }

    /// Asks by an event stream; the open answer.
    pub(crate) async fn stream(&self, query: &str, variables: Value) -> reqwest::Response {
        let mut request = self
            .http
            .post(format!("{}/graphql", self.url))
            .header("accept", "text/event-stream")
            .json(&json!({"query": query, "variables": variables}));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.expect("the server answers");
        assert_eq!(answer.status(), StatusCode::OK);
        answer
    }

    /// A file behind a link, whole.
    pub(crate) async fn download(&self, link: &str) -> Vec<u8> {
        let answer = self
            .http
            .get(link)
            .send()
            .await
            .expect("the server answers");
        assert_eq!(answer.status(), StatusCode::OK, "{link}");
        answer.bytes().await.expect("the whole file").to_vec()
    }

    /// A request to a link, for its head too.
    pub(crate) async fn get(&self, link: &str, headers: &[(&str, &str)]) -> reqwest::Response {
        let mut request = self.http.get(link);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.expect("the server answers")
    }

    /// Sends a body to a link, without being signed in; the status.
    pub(crate) async fn put(&self, link: &str, mime: &str, body: Vec<u8>) -> StatusCode {
        let request = self.http.put(link).header("content-type", mime).body(body);
        request.send().await.expect("the server answers").status()
    }

    /// JSON below the server's address.
    pub(crate) async fn get_json(&self, path: &str) -> Value {
        let answer = self.get(&format!("{}{path}", self.url), &[]).await;
        answer.json().await.expect("JSON")
    }

    /// A POST with a raw body to a path of the server; its status.
    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> StatusCode {
        let mut request = self.http.post(format!("{}{path}", self.url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.expect("the server answers").status()
    }
}

/// Whether no attempt of the job is open.
pub(crate) fn settled(job: &Value) -> bool {
    !job.is_null()
        && super::all_attempts(job)
            .iter()
            .all(|attempt| !attempt["finishedAt"].is_null())
}
