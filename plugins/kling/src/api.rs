//! Where Kling is, how it wraps its answers, and the account.

use genvid_sdk::http::Response;
use genvid_sdk::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::errors;

/// What the account's costs are asked for: the last 30 days.
const COSTS_MS: u64 = 30 * 86_400_000;

/// What an operator may set; see `plugin.toml`.
#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    region: Region,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Region {
    #[default]
    Singapore,
    Beijing,
}

/// The address of the account's region, without a slash at the end. An account of one
/// region does not exist in the other.
pub(crate) fn base(context: &Context) -> Result<&'static str> {
    let settings: Settings = context.parse_settings()?;
    Ok(match settings.region {
        Region::Singapore => "https://api-singapore.klingai.com",
        Region::Beijing => "https://api-beijing.klingai.com",
    })
}

/// Every answer, refusals included, has this shape. Only `code` 0 is success, whatever the
/// HTTP status says.
#[derive(Deserialize)]
struct Envelope<T> {
    code: i64,
    #[serde(default = "Option::default")]
    data: Option<T>,
}

/// Asks, and reads the answer.
pub(crate) fn ask<T: DeserializeOwned>(call: http::Call) -> Result<T> {
    let response = call.send()?;
    if is_refusal(&response) {
        return Err(errors::refusal(&response));
    }
    let envelope: Envelope<T> = response.json()?;
    envelope
        .data
        .ok_or_else(|| Error::unexpected("the answer has no data"))
}

/// Submits, and reads the answer. One that cannot be read may have been accepted.
pub(crate) fn submit<T: DeserializeOwned>(call: http::Call) -> Result<T> {
    let response = call.send()?;
    if is_refusal(&response) {
        return Err(errors::submit_refusal(&response));
    }
    let envelope: Envelope<T> = response.accepted_json()?;
    envelope
        .data
        .ok_or_else(|| Error::outcome_unknown("the answer to a submission has no data"))
}

fn is_refusal(response: &Response) -> bool {
    if !response.is_success() {
        return true;
    }
    // An answer that is no envelope is left to the caller: only it knows what was at stake.
    response
        .json::<Envelope<Value>>()
        .is_ok_and(|envelope| envelope.code != 0)
}

#[derive(Deserialize)]
struct Costs {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    resource_pack_subscribe_infos: Vec<Pack>,
}

/// Quantities are passed on as they come, as numbers or as text.
#[derive(Deserialize)]
struct Pack {
    resource_pack_name: Option<String>,
    resource_pack_type: Option<String>,
    total_quantity: Option<Value>,
    remaining_quantity: Option<Value>,
    invalid_time: Option<Value>,
    status: Option<String>,
}

/// `GET /account/costs`: free of charge, at most once a second. What remains lags behind by
/// up to 12 hours.
pub(crate) fn account(context: &Context) -> Result<account::Info> {
    let base = base(context)?;
    let now = genvid_sdk::now_ms();
    let call = http::get(format!("{base}/account/costs"))
        .query("start_time", &now.saturating_sub(COSTS_MS).to_string())
        .query("end_time", &now.to_string());
    let costs: Costs = ask(call)?;
    if costs.code != 0 {
        return Err(Error::unexpected(costs.msg).with_code(costs.code.to_string()));
    }
    let packs: Vec<Value> = costs
        .resource_pack_subscribe_infos
        .iter()
        .filter(|pack| pack.status.as_deref() == Some("online"))
        .map(|pack| {
            json!({
                "name": pack.resource_pack_name,
                "type": pack.resource_pack_type,
                "total": pack.total_quantity,
                "remaining": pack.remaining_quantity,
                "ends_at_ms": pack.invalid_time,
            })
        })
        .collect();
    let region = base
        .trim_start_matches("https://api-")
        .trim_end_matches(".klingai.com");
    Ok(account::Info {
        label: format!("Kling account in {region}"),
        remaining: Some(json!({ "packs": packs, "lag_hours": 12 }).to_string()),
    })
}
