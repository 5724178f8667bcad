//! `GET /account/costs`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Extension, extract::State};
use serde_json::json;

use super::{Kling, UNIT_MICRO_USD, missing, succeeded, tasks::amount};
use crate::{
    call::Call,
    gate::Face,
    options::Vendor,
    refusal::{Answer, Class},
    run::now_ms,
};

/// Units in the simulated pack.
const PACK_UNITS: f64 = 10_000.0;

#[expect(clippy::cast_precision_loss, reason = "the bill is far below 2^52")]
pub(super) async fn costs(
    State(kling): State<Arc<Kling>>,
    Extension(call): Extension<Call>,
) -> Answer {
    {
        let mut store = kling.store();
        let too_soon = store
            .last_costs
            .is_some_and(|last| last.elapsed() < Duration::from_secs(1));
        if too_soon {
            return Err(kling.refusal(Class::RateLimited));
        }
        store.last_costs = Some(Instant::now());
    }
    let query = call.query();
    for name in ["start_time", "end_time"] {
        let moment = query.get(name).and_then(|value| value.parse::<i64>().ok());
        if moment.is_none() {
            return Err(missing(name));
        }
    }
    let used = kling.desk.invoice(Vendor::Kling).micro_usd as f64 / UNIT_MICRO_USD;
    let day = 24 * 3_600 * 1_000;
    let now = now_ms();
    let data = json!({
        "code": 0,
        "msg": "success",
        "resource_pack_subscribe_infos": [{
            "resource_pack_name": "Simulated video pack",
            "resource_pack_id": "sim-pack-1",
            "resource_pack_type": "decreasing_total",
            "total_quantity": PACK_UNITS,
            "remaining_quantity": amount((PACK_UNITS - used).max(0.0))
                .parse::<f64>()
                .unwrap_or_default(),
            "purchase_time": now - 10 * day,
            "effective_time": now - 10 * day,
            "invalid_time": now + 80 * day,
            "status": "online",
        }],
    });
    Ok(succeeded(&call, &data))
}
