//! A guest that does what its test asks for, good or bad.
//!
//! `script.submit` reads a command out of the request's `options` and answers what came of it
//! as the text of a result; one command has a vendor do something that takes time and ends, as
//! the plugins of real vendors do. The other exports answer something plain, and trap when the
//! settings say so.

mod command;
mod wire;
mod work;

use genvid_sdk::prelude::*;

use crate::command::Command;

/// The guest.
#[derive(Debug)]
pub struct TestGuest;

genvid_sdk::export!(TestGuest: account, catalog, script, tasks, video, voice, webhook);

/// Traps when the settings ask for it.
fn obey(context: &Context) {
    if context.settings.contains("\"trap\":true") {
        command::trap();
    }
}

/// A result that consists of this text.
pub(crate) fn text(text: String) -> Submission {
    Submission::Done(Done {
        outputs: vec![Output {
            role: Role::Main,
            media: Media::Text(text),
            mime: "application/json".to_owned(),
            duration_ms: None,
            metadata: None,
        }],
        cost_micro_usd: None,
    })
}

impl Script for TestGuest {
    fn submit(request: &script::Request, context: &Context) -> Result<Submission> {
        obey(context);
        let command: Command = request.parse_options()?;
        command.run(context)
    }
}

impl Video for TestGuest {
    fn submit(request: &video::Request, context: &Context) -> Result<Submission> {
        obey(context);
        let wish: work::Film = request.parse_options()?;
        if let Some(film) = wish.film {
            return Ok(work::hand_out(film));
        }
        let request =
            serde_json::to_string(request).map_err(|error| Error::unexpected(error.to_string()))?;
        Ok(text(request))
    }
}

impl Voice for TestGuest {
    fn submit(request: &voice::Request, context: &Context) -> Result<Submission> {
        obey(context);
        Ok(Submission::Accepted(format!("voice-{}", request.voice)))
    }
}

impl Tasks for TestGuest {
    fn poll(tasks: &[tasks::Task]) -> Vec<Result<Status>> {
        tasks.iter().for_each(|task| obey(&task.context));
        if tasks.iter().all(|task| work::is_one(&task.id)) {
            return work::look(tasks);
        }
        if tasks.iter().any(|task| task.id == "one-too-few") {
            return Vec::new();
        }
        tasks
            .iter()
            .map(|task| match task.id.as_str() {
                "gone" => Err(Error::new(ErrorKind::NotFound, "no such task")),
                "wild" => Ok(Status::Running(Progress {
                    fraction: Some(f32::NAN),
                    message: Some("x".repeat(5_000)),
                    poll_after_ms: None,
                })),
                _ => Ok(Status::Running(Progress {
                    fraction: Some(0.5),
                    message: Some(task.context.client_ref.clone()),
                    poll_after_ms: Some(1_000),
                })),
            })
            .collect()
    }

    fn cancel(task: &tasks::Task) -> Result<()> {
        obey(&task.context);
        Ok(())
    }

    /// Answers the speech of a film that was lost, to show that the request came through. Of a
    /// script the vendor is asked.
    fn find(lost: &tasks::Lost) -> Result<Option<String>> {
        obey(&lost.context);
        if lost.script()?.is_some() {
            return work::find(&lost.context);
        }
        Ok(lost.video()?.map(|request| format!("{:?}", request.speech)))
    }
}

impl Catalog for TestGuest {
    fn list(kind: catalog::Kind, cursor: Option<&str>, context: &Context) -> Result<catalog::Page> {
        obey(context);
        let count = if cursor == Some("too-many") { 201 } else { 2 };
        let items = (0..count)
            .map(|index| catalog::Item {
                id: format!("item-{index}"),
                kind,
                name: format!("Item {index}"),
                language: None,
                preview_url: None,
                metadata: None,
            })
            .collect();
        Ok(catalog::Page { items, next: None })
    }
}

impl Account for TestGuest {
    fn check(context: &Context) -> Result<account::Info> {
        obey(context);
        Ok(account::Info {
            label: context.settings.clone(),
            remaining: None,
        })
    }
}

impl Webhook for TestGuest {
    fn parse(delivery: &webhook::Delivery) -> Result<Vec<webhook::Hint>> {
        if delivery.body == b"trap" {
            command::trap();
        }
        Ok(vec![webhook::Hint {
            task_id: Some(String::from_utf8_lossy(&delivery.body).into_owned()),
            client_ref: None,
            event_id: None,
        }])
    }
}
