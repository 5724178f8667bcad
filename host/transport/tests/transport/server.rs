//! A server for one test.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use genvid_transport::{Options, Shutdown};
use reqwest::{Client, RequestBuilder, Response, header};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::sleep};

use crate::toy::{self, Counters, Tokens};

pub(crate) const GRAPHQL_RESPONSE: &str = "application/graphql-response+json";

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) counters: Arc<Counters>,
    pub(crate) shutdown: Shutdown,
    pub(crate) client: Client,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(configure: impl FnOnce(&mut Options)) -> Self {
        let counters = Arc::new(Counters::default());
        let mut options = Options {
            types: Some(toy::types()),
            ..Options::default()
        };
        configure(&mut options);
        let shutdown = options.shutdown.clone();
        let router = genvid_transport::router(toy::executor(&counters), Tokens, options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = axum::Router::new().nest("/graphql", router);
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            counters,
            shutdown,
            client: Client::new(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/graphql", self.address)
    }

    pub(crate) fn post(&self, body: &Value) -> RequestBuilder {
        self.client.post(self.url()).json(body)
    }

    /// With the media type whose statuses mean what they say.
    pub(crate) async fn query(&self, query: &str) -> (u16, Value) {
        self.send(&json!({ "query": query })).await
    }

    pub(crate) async fn send(&self, body: &Value) -> (u16, Value) {
        answer(self.post(body).header(header::ACCEPT, GRAPHQL_RESPONSE)).await
    }

    pub(crate) fn get(&self, parameters: &[(&str, &str)]) -> RequestBuilder {
        self.client.get(self.url()).query(parameters)
    }

    pub(crate) fn open_streams(&self) -> usize {
        self.counters.open_streams.load(Ordering::SeqCst)
    }

    pub(crate) fn increments(&self) -> i32 {
        self.counters.increments.load(Ordering::SeqCst)
    }
}

pub(crate) async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

pub(crate) fn content_type(response: &Response) -> &str {
    response.headers()[header::CONTENT_TYPE].to_str().unwrap()
}

pub(crate) fn code(body: &Value) -> &str {
    body["errors"][0]["extensions"]["code"]
        .as_str()
        .unwrap_or_else(|| panic!("no code in {body}"))
}

/// Waits until a condition holds; fails after five seconds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("it never happened: {what}");
}
