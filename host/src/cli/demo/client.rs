//! A client of the public API, as a frontend would be one: GraphQL over HTTP, and
//! subscriptions over `graphql-transport-ws`.

use anyhow::{Context, bail};
use futures::{SinkExt, Stream, StreamExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

pub(super) struct Client {
    http: reqwest::Client,
    graphql: String,
    token: String,
}

impl Client {
    pub(super) fn new(url: &str, token: String) -> anyhow::Result<Self> {
        Ok(Self {
            http: reqwest::Client::builder().build()?,
            graphql: format!("{url}/graphql"),
            token,
        })
    }

    /// The data of a query or mutation.
    pub(super) async fn ask(&self, query: &str, variables: Value) -> anyhow::Result<Value> {
        let answer: Value = self
            .http
            .post(&self.graphql)
            .bearer_auth(&self.token)
            .json(&json!({ "query": query, "variables": variables }))
            .send()
            .await?
            .json()
            .await?;
        if let Some(errors) = answer.get("errors") {
            bail!("the API refused: {errors}");
        }
        Ok(answer["data"].clone())
    }

    /// The success of a mutation; a problem is an error with the API's own words.
    pub(super) async fn change<T: DeserializeOwned>(
        &self,
        query: &str,
        field: &str,
        input: Value,
        success: &str,
    ) -> anyhow::Result<T> {
        let data = self.ask(query, json!({ "input": input })).await?;
        let result = &data[field];
        match result.get(success) {
            Some(value) => Ok(serde_json::from_value(value.clone())?),
            None => bail!("{field} answered {}: {}", result["code"], result["message"]),
        }
    }

    /// Events of a job, live.
    pub(super) async fn watch(
        &self,
        query: &str,
        job: &str,
    ) -> anyhow::Result<impl Stream<Item = anyhow::Result<Value>> + use<>> {
        let address = self.graphql.replacen("http", "ws", 1);
        let mut request = address.into_client_request()?;
        request.headers_mut().insert(
            "sec-websocket-protocol",
            HeaderValue::from_static("graphql-transport-ws"),
        );
        let (mut socket, _) = connect_async(request)
            .await
            .context("the socket was refused")?;
        let hello = json!({
            "type": "connection_init",
            "payload": { "authorization": format!("Bearer {}", self.token) },
        });
        socket.send(Message::text(hello.to_string())).await?;
        let subscribe = json!({
            "type": "subscribe", "id": "1",
            "payload": { "query": query, "variables": { "jobId": job, "after": 0 } },
        });
        let acknowledged = loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => break serde_json::from_str::<Value>(&text)?,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => bail!("the socket ended before it was acknowledged: {other:?}"),
            }
        };
        if acknowledged["type"] != "connection_ack" {
            bail!("the socket was not acknowledged: {acknowledged}");
        }
        socket.send(Message::text(subscribe.to_string())).await?;
        Ok(futures::stream::unfold(Some(socket), |socket| async move {
            let mut socket = socket?;
            loop {
                let message = match socket.next().await {
                    Some(Ok(Message::Text(text))) => serde_json::from_str::<Value>(&text),
                    Some(Ok(Message::Close(frame))) => {
                        let error = anyhow::anyhow!("the socket was closed: {frame:?}");
                        return Some((Err(error), None));
                    }
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Some((Err(error.into()), None)),
                    None => return None,
                };
                match message {
                    Err(error) => return Some((Err(error.into()), None)),
                    Ok(message) => match message["type"].as_str() {
                        Some("next") => {
                            let event = message["payload"]["data"]["jobEvents"].clone();
                            return Some((Ok(event), Some(socket)));
                        }
                        Some("complete") => return None,
                        Some("ping") => {
                            let pong = Message::text(json!({ "type": "pong" }).to_string());
                            if let Err(error) = socket.send(pong).await {
                                return Some((Err(error.into()), None));
                            }
                        }
                        Some("error") => {
                            let error =
                                anyhow::anyhow!("the subscription failed: {}", message["payload"]);
                            return Some((Err(error), None));
                        }
                        _ => {}
                    },
                }
            }
        }))
    }

    pub(super) async fn download(&self, url: &str, to: &std::path::Path) -> anyhow::Result<()> {
        let mut answer = self.http.get(url).send().await?.error_for_status()?;
        let mut file = tokio::fs::File::create(to).await?;
        while let Some(chunk) = answer.chunk().await? {
            tokio::io::AsyncWriteExt::write_all(&mut file, &chunk).await?;
        }
        tokio::io::AsyncWriteExt::flush(&mut file).await?;
        Ok(())
    }

    pub(super) async fn get_json(&self, url: &str) -> anyhow::Result<Value> {
        Ok(self
            .http
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?)
    }
}
