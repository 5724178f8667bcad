//! The contract's types as plain Rust, generated from `wit/0.1.0/provider.wit`.

use serde::Serialize;
use serde_json::{Map, Value};

#[expect(
    missing_docs,
    reason = "generated from the WIT text, which documents each item"
)]
pub(crate) mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit/0.1.0",
        world: "provider",
        imports: {
            default: async | trappable,
            "genvid:provider/clock": trappable,
            "genvid:provider/report": trappable,
        },
        exports: { default: async },
        additional_derives: [PartialEq, Clone, serde::Serialize, serde::Deserialize],
    });
}

/// Data that all interfaces share.
pub mod types {
    pub use super::generated::genvid::provider::types::{
        Asset, Context, Done, Error, ErrorKind, Json, Media, Output, Problem, Progress, Role,
        Status, Submission,
    };
}

/// Work that goes on at the vendor.
pub mod tasks {
    pub use super::generated::exports::genvid::provider::tasks::Task;
}

/// Films.
pub mod video {
    pub use super::generated::exports::genvid::provider::video::{Aspect, Request, Speech};
}

/// Spoken text.
pub mod voice {
    pub use super::generated::exports::genvid::provider::voice::Request;
}

/// Scripts.
pub mod script {
    pub use super::generated::exports::genvid::provider::script::Request;
}

/// What the vendor offers to choose from.
pub mod catalog {
    pub use super::generated::exports::genvid::provider::catalog::{Item, Kind, Page};
}

/// The operator's account at the vendor.
pub mod account {
    pub use super::generated::exports::genvid::provider::account::Info;
}

/// What the vendor posts to the callback URL.
pub mod webhook {
    pub use super::generated::exports::genvid::provider::webhook::{Delivery, Hint};
}

/// One of the requests that a `submit` takes, as the JSON object that `tasks.find` gets: field
/// names in snake_case, a variant with a payload as `{"case-name": payload}`, one without as
/// `"case-name"`.
pub trait ContractJson {
    /// The interface whose `submit` takes it: `video`, `voice` or `script`.
    const KIND: &'static str;

    /// The JSON object.
    fn contract_json(&self) -> Value;
}

impl ContractJson for video::Request {
    const KIND: &'static str = "video";

    fn contract_json(&self) -> Value {
        let mut object = object_of(self);
        for name in ["speech", "aspect", "images"] {
            if let Some(value) = object.get_mut(name) {
                rename_cases(value);
            }
        }
        Value::Object(object)
    }
}

impl ContractJson for voice::Request {
    const KIND: &'static str = "voice";

    fn contract_json(&self) -> Value {
        Value::Object(object_of(self))
    }
}

impl ContractJson for script::Request {
    const KIND: &'static str = "script";

    fn contract_json(&self) -> Value {
        Value::Object(object_of(self))
    }
}

/// The generated records serialise into objects; anything else cannot come out of them.
fn object_of(record: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(record) {
        Ok(Value::Object(object)) => object,
        Ok(_) | Err(_) => Map::new(),
    }
}

/// Turns the case names of Rust (`Script`) into those of the contract (`script`). Only called
/// for fields that are variants; payloads that are text stay as they are, because a payload is
/// never looked at unless it is a variant itself, which is an object.
fn rename_cases(value: &mut Value) {
    match value {
        Value::String(case) => *case = kebab(case),
        Value::Array(items) => items.iter_mut().for_each(rename_cases),
        Value::Object(object) => {
            let renamed = std::mem::take(object)
                .into_iter()
                .map(|(case, mut payload)| {
                    if payload.is_object() {
                        rename_cases(&mut payload);
                    }
                    (kebab(&case), payload)
                })
                .collect();
            *object = renamed;
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn kebab(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for (index, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && index > 0 {
            out.push('-');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
