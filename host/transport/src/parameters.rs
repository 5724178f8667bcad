//! The four parameters of a GraphQL request, as they come from a body, a query string or a socket message.

use async_graphql::{Value, Variables};
use serde::{Deserialize, de::DeserializeOwned};

use crate::failure::Failure;

/// GraphQL over HTTP, section "Request Parameters".
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Parameters {
    #[serde(default)]
    pub(crate) query: Option<String>,
    #[serde(default)]
    pub(crate) operation_name: Option<String>,
    #[serde(default)]
    pub(crate) variables: Variables,
    #[serde(default)]
    pub(crate) extensions: Option<std::collections::HashMap<String, Value>>,
}

/// One request or an array of them.
pub(crate) enum Payload {
    Single(Parameters),
    Batch(Vec<Parameters>),
}

impl Payload {
    pub(crate) fn from_body(body: &[u8], max_batch: usize) -> Result<Self, Failure> {
        // serde reads a struct from an array too, field by field; so the first byte decides.
        match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            None => Err(Failure::bad_request("The body is empty")),
            Some(b'{') => Ok(Self::Single(json("The body", body)?)),
            Some(b'[') if max_batch == 0 => {
                Err(Failure::bad_request("Arrays of requests are not accepted"))
            }
            Some(b'[') => {
                let items: Vec<serde_json::Value> = json("The body", body)?;
                if items.is_empty() || items.len() > max_batch {
                    return Err(Failure::bad_request(format!(
                        "An array holds 1 to {max_batch} requests, this one {}",
                        items.len()
                    )));
                }
                items
                    .into_iter()
                    .map(Parameters::from_value)
                    .collect::<Result<_, _>>()
                    .map(Self::Batch)
            }
            Some(_) => {
                // Tell apart what is not JSON and what is JSON of another kind.
                let _: serde_json::Value = json("The body", body)?;
                Err(Failure::bad_request("The body is not a JSON object"))
            }
        }
    }
}

impl Parameters {
    pub(crate) fn from_value(value: serde_json::Value) -> Result<Self, Failure> {
        if !value.is_object() {
            return Err(Failure::bad_request("A request is a JSON object"));
        }
        serde_json::from_value(value)
            .map_err(|error| Failure::bad_request(format!("Wrong parameter: {error}")))
    }

    /// From the query string of a `GET`: `variables` and `extensions` are JSON texts there.
    pub(crate) fn from_query(query: Option<&str>) -> Result<Self, Failure> {
        let mut parameters = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in form_urlencoded(query.unwrap_or_default())? {
            if seen.contains(&name) {
                return Err(Failure::bad_request("A parameter is given twice"));
            }
            let nothing = value.is_empty() || value == "null";
            match name.as_str() {
                "query" => parameters.query = Some(value),
                "operationName" => {
                    parameters.operation_name = Some(value).filter(|name| !name.is_empty())
                }
                "variables" if !nothing => {
                    parameters.variables = json("variables", value.as_bytes())?
                }
                "extensions" if !nothing => {
                    parameters.extensions = json("extensions", value.as_bytes())?
                }
                _ => {}
            }
            if matches!(
                name.as_str(),
                "query" | "operationName" | "variables" | "extensions"
            ) {
                seen.push(name);
            }
        }
        Ok(parameters)
    }
}

fn form_urlencoded(query: &str) -> Result<Vec<(String, String)>, Failure> {
    let uri = http::Uri::builder()
        .path_and_query(format!("/?{query}"))
        .build()
        .map_err(|_| Failure::bad_request("The query string is malformed"))?;
    axum::extract::Query::try_from_uri(&uri)
        .map(|axum::extract::Query(pairs)| pairs)
        .map_err(|_| Failure::bad_request("The query string is malformed"))
}

fn json<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| {
        let kind = if error.is_data() {
            "has a wrong parameter"
        } else {
            "is not valid JSON"
        };
        Failure::bad_request(format!("{what} {kind}: {error}"))
    })
}
