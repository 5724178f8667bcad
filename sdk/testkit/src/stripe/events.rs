//! Lists of events and of webhook endpoints.

use serde_json::Value;

use super::{
    books::{Books, number, string},
    form::Params,
    hooks::covers,
    refusals::invalid,
};
use crate::refusal::Refusal;

/// Bounds of `created`: after, from, before, until.
fn span(params: &Params<'_>) -> Result<(i64, i64), Refusal> {
    let (mut first, mut last) = (i64::MIN, i64::MAX);
    let Some(created) = params.child("created")? else {
        return Ok((first, last));
    };
    created.only(&["gt", "gte", "lt", "lte"])?;
    if let Some(time) = created.integer("gt")? {
        first = first.max(time.saturating_add(1));
    }
    if let Some(time) = created.integer("gte")? {
        first = first.max(time);
    }
    if let Some(time) = created.integer("lt")? {
        last = last.min(time.saturating_sub(1));
    }
    if let Some(time) = created.integer("lte")? {
        last = last.min(time);
    }
    Ok((first, last))
}

pub(super) fn list(books: &mut Books, params: &Params<'_>, path: &str) -> Result<Value, Refusal> {
    params.only(&[
        "type",
        "types",
        "created",
        "limit",
        "starting_after",
        "ending_before",
        "expand",
    ])?;
    let kind = params.text("type")?;
    let kinds = params.texts("types")?;
    if kind.is_some() && !kinds.is_empty() {
        let message = "You may only specify one of these parameters: type, types.";
        return Err(invalid("types", message));
    }
    let (first, last) = span(params)?;
    let is_wanted = |event: &Value| {
        let own = string(event, "type");
        kind.is_none_or(|kind| covers(kind, own))
            && (kinds.is_empty() || kinds.iter().any(|kind| kind == own))
    };
    books.page("event", path, params, |event| {
        is_wanted(event) && (first..=last).contains(&number(event, "created"))
    })
}

pub(super) fn endpoints(
    books: &mut Books,
    params: &Params<'_>,
    path: &str,
) -> Result<Value, Refusal> {
    params.only(&["limit", "starting_after", "ending_before", "expand"])?;
    books.page("webhook_endpoint", path, params, |_| true)
}
