//! Requests as JSON, and their answers as JSON.

use genvid_sdk::http::{
    Body, Call, Content, FormPart, FormValue, Method, Part, Response, Saved, Stream,
};
use genvid_sdk::prelude::*;
use serde::Deserialize;

/// One request and what to do with its answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Exchange {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: Outgoing,
    timeout_ms: Option<u32>,
    /// `send`, `save`, `events`, or `json-base64:` and a pointer.
    #[serde(default)]
    how: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Outgoing {
    #[default]
    Empty,
    Text(String),
    Asset(String),
    JsonWithAssets(String),
    /// Name, and either a text or `asset:` and a name.
    Form(Vec<(String, String)>),
}

/// Makes the request.
pub(crate) fn run(exchange: Exchange) -> Value {
    let method = match exchange.method.as_str() {
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        _ => Method::Get,
    };
    let mut call = Call::new(method, exchange.url).body(match exchange.body {
        Outgoing::Empty => Body::Empty,
        Outgoing::Text(text) => Body::Text(text),
        Outgoing::Asset(name) => Body::Asset(name),
        Outgoing::JsonWithAssets(text) => Body::JsonWithAssets(text),
        Outgoing::Form(parts) => Body::Form(parts.into_iter().map(part).collect()),
    });
    for (name, value) in exchange.headers {
        call = call.header(&name, value);
    }
    if let Some(timeout) = exchange.timeout_ms {
        call = call.timeout_ms(timeout);
    }
    let came = match exchange.how.as_str() {
        "save" => call.save(&Part::Whole).map(kept),
        "events" => call.events().map(events),
        how => match how.strip_prefix("json-base64:") {
            Some(pointer) => call.save(&Part::JsonBase64(pointer.to_owned())).map(kept),
            None => call.send().map(|response| answer(&response)),
        },
    };
    came.unwrap_or_else(|error| failure(&error))
}

fn part((name, value): (String, String)) -> FormPart {
    let (value, filename) = match value.strip_prefix("asset:") {
        Some(asset) => (
            FormValue::Asset(asset.to_owned()),
            Some("a \"file\".bin".to_owned()),
        ),
        None => (FormValue::Text(value), None),
    };
    FormPart {
        name,
        value,
        filename,
        mime: None,
    }
}

fn answer(response: &Response) -> Value {
    let (body, bytes) = match &response.body {
        Content::Text(text) => (text.clone(), None),
        Content::Bytes(bytes) => (
            String::from_utf8_lossy(bytes).into_owned(),
            Some(bytes.len()),
        ),
    };
    json!({
        "status": response.status,
        "headers": response.headers,
        "body": body,
        "bytes": bytes,
    })
}

fn kept(saved: Saved) -> Value {
    match saved {
        Saved::Kept(kept) => json!({
            "asset": kept.asset,
            "mime": kept.mime,
            "size": kept.size,
            "rest": kept.rest,
        }),
        Saved::Refused(response) => json!({ "refused": answer(&response) }),
    }
}

fn events(stream: Stream) -> Value {
    match stream {
        Stream::Refused(response) => json!({ "refused": answer(&response) }),
        Stream::Events(events) => events
            .map(|event| match event {
                Ok(event) => json!({ "name": event.name, "data": event.data, "id": event.id }),
                Err(error) => failure(&error),
            })
            .collect(),
    }
}

fn failure(error: &Error) -> Value {
    json!({ "kind": format!("{:?}", error.kind), "message": error.message })
}
