//! What a test may ask for.

use std::hint::black_box;

use genvid_sdk::prelude::*;
use serde::Deserialize;

use crate::{
    wire::{Exchange, run},
    work::Work,
};

/// One command.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Command {
    /// Answers with the context.
    Echo,
    /// Answers with the host's time.
    Now,
    /// Makes requests, then does something else, and answers what came of the requests.
    Http {
        exchanges: Vec<Exchange>,
        then: Option<Box<Command>>,
    },
    /// Computes for ever.
    Spin,
    /// Takes more and more memory.
    Grow,
    /// Calls itself for ever.
    Recurse,
    /// Crashes.
    Trap,
    /// Answers with a text of so many bytes.
    BigText { bytes: usize },
    /// Answers with a task id of so many bytes.
    BigId { bytes: usize },
    /// Answers with so many outputs.
    ManyOutputs { count: usize },
    /// Writes so many log lines of so many bytes.
    Log { lines: u32, bytes: usize },
    /// Tells live text.
    Tell { deltas: Vec<String> },
    /// Answers with an error whose message has so many bytes.
    Fail { bytes: usize },
    /// Answers with metadata that is no JSON.
    BadMetadata,
    /// Has the vendor do something.
    Work(Work),
}

/// Ends the instance as a bug would.
pub(crate) fn trap() -> ! {
    panic!("asked to trap");
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<Submission> {
        Ok(match self {
            Self::Echo => crate::text(
                json!({
                    "client_ref": context.client_ref,
                    "callback_url": context.callback_url,
                    "settings": context.settings,
                })
                .to_string(),
            ),
            Self::Now => crate::text(genvid_sdk::now_ms().to_string()),
            Self::Http { exchanges, then } => {
                let came: Vec<Value> = exchanges.into_iter().map(run).collect();
                if let Some(then) = then {
                    then.run(context)?;
                }
                crate::text(Value::from(came).to_string())
            }
            Self::Spin => {
                let mut count = 0_u64;
                loop {
                    count = black_box(count.wrapping_add(1));
                }
            }
            Self::Grow => {
                let mut all: Vec<Vec<u8>> = Vec::new();
                loop {
                    all.push(black_box(vec![1; 1 << 20]));
                }
            }
            Self::Recurse => Submission::Accepted(recurse(1).to_string()),
            Self::Trap => trap(),
            Self::BigText { bytes } => crate::text("x".repeat(bytes)),
            Self::BigId { bytes } => Submission::Accepted("x".repeat(bytes)),
            Self::ManyOutputs { count } => {
                let output = || Output {
                    role: Role::Other,
                    media: Media::Text(String::new()),
                    mime: "text/plain".to_owned(),
                    duration_ms: None,
                    metadata: None,
                };
                let outputs = (0..count).map(|_| output()).collect();
                Submission::Done(Done {
                    outputs,
                    cost_micro_usd: None,
                })
            }
            Self::Log { lines, bytes } => {
                for line in 0..lines {
                    report::info(format!("{line}\nforged line {}", "x".repeat(bytes)));
                }
                Submission::Accepted("logged".to_owned())
            }
            Self::Tell { deltas } => {
                deltas.iter().for_each(report::text);
                Submission::Accepted("told".to_owned())
            }
            Self::Work(work) => work.submit(context)?,
            Self::Fail { bytes } => {
                return Err(Error::new(
                    ErrorKind::RateLimited(Some(u64::MAX)),
                    "x".repeat(bytes),
                ));
            }
            Self::BadMetadata => Submission::Done(Done {
                outputs: vec![Output {
                    role: Role::Main,
                    media: Media::Text(String::new()),
                    mime: "text/plain".to_owned(),
                    duration_ms: None,
                    metadata: Some("{not json".to_owned()),
                }],
                cost_micro_usd: None,
            }),
        })
    }
}

#[expect(unconditional_recursion, reason = "that is its purpose")]
fn recurse(depth: u64) -> u64 {
    black_box([depth; 64]);
    black_box(recurse(black_box(depth + 1))) + 1
}
