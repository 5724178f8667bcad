//! What Kling posts on every change of a task: the task itself, in either dialect.

use genvid_sdk::prelude::*;
use serde::Deserialize;

use crate::speaking;

#[derive(Deserialize)]
struct Event {
    id: Option<String>,
    external_id: Option<String>,
    task_id: Option<String>,
    task_info: Option<TaskInfo>,
}

#[derive(Deserialize)]
struct TaskInfo {
    external_task_id: Option<String>,
}

/// One hint: the delivery tells of one task.
pub(crate) fn parse(delivery: &webhook::Delivery) -> Result<Vec<webhook::Hint>> {
    let event: Event = serde_json::from_slice(&delivery.body)
        .map_err(|error| Error::invalid("body", format!("not a task of Kling's: {error}")))?;
    // This plugin uses one of the older routes only, so the dialect tells which.
    let task_id = event
        .id
        .or_else(|| Some(format!("{}{}", speaking::PREFIX, event.task_id?)));
    let client_ref = event
        .external_id
        .or_else(|| event.task_info?.external_task_id)
        .filter(|id| !id.is_empty());
    if task_id.is_none() && client_ref.is_none() {
        return Err(Error::invalid("body", "the delivery names no task"));
    }
    Ok(vec![webhook::Hint {
        task_id,
        client_ref,
        event_id: http::find_header(&delivery.headers, "webhook-id").map(str::to_owned),
    }])
}
