//! Subscriptions, from their first period to their end.

use chrono::{DateTime, Months};
use serde_json::{Value, json};

use super::{
    books::{Books, bare, number, string},
    form::Params,
    invoices::{self, DAY, Line},
    refusals::invalid,
};
use crate::refusal::Refusal;

/// A trial's end is announced so long before.
const TRIAL_NOTICE: i64 = 3 * DAY;
/// Most things that fall due in one step of the clock.
const MOST_DUE: usize = 20_000;

/// What is subscribed to.
pub(super) struct Order {
    pub(super) customer: String,
    /// Prices and quantities, those that recur first.
    pub(super) lines: Vec<(Value, i64)>,
    pub(super) metadata: Value,
    pub(super) description: Value,
    pub(super) trial_days: Option<i64>,
}

/// The end of so many periods since the anchor. Months keep the anchor's day where they have
/// it.
fn period_end(anchor: i64, recurring: &Value, periods: i64) -> i64 {
    let count = number(recurring, "interval_count").max(1) * periods;
    let months = match string(recurring, "interval") {
        "day" => return anchor + count * DAY,
        "week" => return anchor + count * 7 * DAY,
        "year" => count * 12,
        _ => count,
    };
    let months = Months::new(u32::try_from(months).unwrap_or(0));
    DateTime::from_timestamp(anchor, 0)
        .and_then(|anchor| anchor.checked_add_months(months))
        .map_or(anchor, |end| end.timestamp())
}

fn plan(price: &Value) -> Value {
    json!({
        "id": price["id"], "object": "plan", "active": price["active"],
        "amount": price["unit_amount"], "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": "per_unit", "created": price["created"], "currency": price["currency"],
        "interval": price["recurring"]["interval"],
        "interval_count": price["recurring"]["interval_count"],
        "livemode": false, "metadata": {}, "meter": null, "nickname": price["nickname"],
        "product": price["product"], "tiers_mode": null, "transform_usage": null,
        "trial_period_days": null, "usage_type": "licensed",
    })
}

fn items_of(subscription: &Value) -> Vec<Value> {
    let items = subscription["items"]["data"].as_array();
    items.cloned().unwrap_or_default()
}

fn item_list(subscription: &str, items: &[Value]) -> Value {
    json!({
        "object": "list", "data": items, "has_more": false,
        "url": format!("/v1/subscription_items?subscription={subscription}"),
    })
}

fn worth(item: &Value) -> i64 {
    number(&item["price"], "unit_amount") * number(item, "quantity")
}

/// The period that a subscription is in.
fn period(subscription: &Value) -> (i64, i64) {
    let item = &subscription["items"]["data"][0];
    (
        number(item, "current_period_start"),
        number(item, "current_period_end"),
    )
}

fn name_of(books: &Books, price: &Value) -> String {
    let product = books.get(string(price, "product"));
    product.map_or_else(String::new, |product| string(product, "name").to_owned())
}

fn line(books: &Books, item: &Value, amount: i64, period: (i64, i64)) -> Line {
    let name = name_of(books, &item["price"]);
    Line {
        amount,
        description: format!("{} × {name}", number(item, "quantity")),
        price: item["price"].clone(),
        quantity: number(item, "quantity"),
        item: Some(string(item, "id").to_owned()),
        proration: false,
        period,
    }
}

/// Begins a subscription and bills its first period.
pub(super) fn subscribe(books: &mut Books, order: Order) -> String {
    let now = books.now();
    let id = books.id("sub");
    let (recurring, once): (Vec<_>, Vec<_>) = order
        .lines
        .iter()
        .partition(|(price, _)| price["type"] == "recurring");
    let trial_end = order.trial_days.map(|days| now + days * DAY);
    let first = recurring.first().map(|(price, _)| &price["recurring"]);
    let paid_until = period_end(now, first.unwrap_or(&Value::Null), 1);
    let ends = trial_end.unwrap_or(paid_until);
    let items: Vec<Value> = recurring
        .iter()
        .map(|(price, quantity)| {
            json!({
                "id": books.id("si"), "object": "subscription_item", "billing_thresholds": null,
                "created": now, "current_period_start": now, "current_period_end": ends,
                "discounts": [], "metadata": {}, "plan": plan(price), "price": price,
                "quantity": quantity, "subscription": id, "tax_rates": [],
            })
        })
        .collect();
    let subscription = json!({
        "id": id,
        "object": "subscription",
        "application": null,
        "application_fee_percent": null,
        "automatic_tax": {"enabled": false, "disabled_reason": null, "liability": null},
        "billing_cycle_anchor": trial_end.unwrap_or(now),
        "billing_cycle_anchor_config": null,
        "billing_mode": {"type": "flexible", "flexible": null},
        "billing_thresholds": null,
        "cancel_at": null,
        "cancel_at_period_end": false,
        "canceled_at": null,
        "cancellation_details": {"comment": null, "feedback": null, "reason": null},
        "collection_method": "charge_automatically",
        "created": now,
        "currency": order.lines.first().map(|(price, _)| &price["currency"]),
        "customer": order.customer,
        "customer_account": null,
        "days_until_due": null,
        "default_payment_method": null,
        "default_source": null,
        "default_tax_rates": [],
        "description": order.description,
        "discounts": [],
        "ended_at": null,
        "invoice_settings": {"account_tax_ids": null, "issuer": {"type": "self"}},
        "items": item_list(&id, &items),
        "latest_invoice": null,
        "livemode": false,
        "metadata": order.metadata,
        "next_pending_invoice_item_invoice": null,
        "on_behalf_of": null,
        "pause_collection": null,
        "payment_settings": {
            "payment_method_options": null, "payment_method_types": null,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": null,
        "pending_setup_intent": null,
        "pending_update": null,
        "schedule": null,
        "start_date": now,
        "status": if trial_end.is_some() { "trialing" } else { "incomplete" },
        "test_clock": null,
        "transfer_data": null,
        "trial_end": trial_end,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": trial_end.map(|_| now),
        "_cycle": i64::from(trial_end.is_none()),
        "_pending": [],
    });
    books.put("subscription", subscription);
    books.emit("customer.subscription.created", &id);
    let mut lines: Vec<Line> = items
        .iter()
        .map(|item| {
            let amount = if trial_end.is_some() { 0 } else { worth(item) };
            line(books, item, amount, (now, ends))
        })
        .collect();
    lines.extend(once.iter().map(|(price, quantity)| Line {
        amount: number(price, "unit_amount") * quantity,
        description: name_of(books, price),
        price: price.clone(),
        quantity: *quantity,
        item: None,
        proration: false,
        period: (now, now),
    }));
    let (_, paid) = invoices::bill(books, &id, "subscription_create", &lines);
    if trial_end.is_none() {
        let status = if paid { "active" } else { "incomplete" };
        books.update(
            &id,
            "customer.subscription.updated",
            json!({"status": status}),
        );
    }
    id
}

/// What waits for the next invoice.
fn pending(books: &mut Books, id: &str) -> Vec<Line> {
    let before = books
        .get(id)
        .map(|agreed| agreed["_pending"].clone())
        .unwrap_or_default();
    books.set(id, json!({"_pending": []}));
    before
        .as_array()
        .into_iter()
        .flatten()
        .map(unpack)
        .collect()
}

fn pack(line: &Line) -> Value {
    json!({
        "amount": line.amount, "description": line.description, "price": line.price,
        "quantity": line.quantity, "item": line.item, "start": line.period.0,
        "end": line.period.1,
    })
}

fn unpack(packed: &Value) -> Line {
    Line {
        amount: number(packed, "amount"),
        description: string(packed, "description").to_owned(),
        price: packed["price"].clone(),
        quantity: number(packed, "quantity"),
        item: packed["item"].as_str().map(str::to_owned),
        proration: true,
        period: (number(packed, "start"), number(packed, "end")),
    }
}

/// The items with another period.
fn moved(items: &[Value], (start, end): (i64, i64)) -> Vec<Value> {
    let mut items = items.to_vec();
    for item in &mut items {
        item["current_period_start"] = json!(start);
        item["current_period_end"] = json!(end);
    }
    items
}

/// Begins the next period, or ends the subscription when that was asked for.
fn renew(books: &mut Books, id: &str) {
    let agreed = books.get(id).cloned().unwrap_or_default();
    if agreed["cancel_at_period_end"] == true {
        end(books, id, "cancellation_requested");
        return;
    }
    let cycle = number(&agreed, "_cycle") + 1;
    let items = items_of(&agreed);
    let recurring = &agreed["items"]["data"][0]["price"]["recurring"];
    let start = period(&agreed).1;
    let next = period_end(number(&agreed, "billing_cycle_anchor"), recurring, cycle);
    let items = moved(&items, (start, next));
    books.update(
        id,
        "customer.subscription.updated",
        json!({"_cycle": cycle, "items": item_list(id, &items), "status": "active"}),
    );
    let mut lines = pending(books, id);
    lines.extend(
        items
            .iter()
            .map(|item| line(books, item, worth(item), (start, next))),
    );
    let (_, paid) = invoices::bill(books, id, "subscription_cycle", &lines);
    if !paid {
        books.update(
            id,
            "customer.subscription.updated",
            json!({"status": "past_due"}),
        );
    }
}

/// The money came after all.
pub(super) fn revive(books: &mut Books, id: &str) {
    let owed = books
        .get(id)
        .is_some_and(|agreed| matches!(string(agreed, "status"), "past_due" | "incomplete"));
    if owed {
        books.update(
            id,
            "customer.subscription.updated",
            json!({"status": "active"}),
        );
    }
}

/// Ends a subscription now; one that has ended stays as it is.
pub(super) fn end(books: &mut Books, id: &str, reason: &str) {
    let now = books.now();
    let Some(agreed) = books.get(id).filter(|agreed| agreed["ended_at"].is_null()) else {
        return;
    };
    let mut details = agreed["cancellation_details"].clone();
    details["reason"] = json!(reason);
    let canceled = agreed["canceled_at"].as_i64().unwrap_or(now);
    books.set(
        id,
        json!({
            "status": "canceled", "canceled_at": canceled, "ended_at": now,
            "cancellation_details": details,
        }),
    );
    books.emit("customer.subscription.deleted", id);
}

/// Ends a subscription with its period, or takes that back.
pub(super) fn cancel_later(books: &mut Books, id: &str, cancel: bool) {
    let now = books.now();
    let agreed = books.get(id).cloned().unwrap_or_default();
    let mut details = agreed["cancellation_details"].clone();
    details["reason"] = if cancel {
        json!("cancellation_requested")
    } else {
        Value::Null
    };
    let at = cancel.then(|| period(&agreed).1);
    books.update(
        id,
        "customer.subscription.updated",
        json!({
            "cancel_at_period_end": cancel, "cancel_at": at,
            "canceled_at": cancel.then_some(now), "cancellation_details": details,
        }),
    );
}

/// When what is paid for another plan takes effect on the bill.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proration {
    Nothing,
    NextInvoice,
    Now,
}

/// Changes prices and quantities of a subscription's items.
fn change_plan(books: &mut Books, id: &str, items: &[Value], how: Proration, anew: bool) {
    let now = books.now();
    let agreed = books.get(id).cloned().unwrap_or_default();
    let before = items_of(&agreed);
    let (start, until) = period(&agreed);
    let rest = |amount: i64| {
        let share = i128::from(amount) * i128::from((until - now).max(0));
        i64::try_from(share / i128::from((until - start).max(1))).unwrap_or(0)
    };
    let trial = agreed["status"] == "trialing";
    let interval = |items: &[Value]| items.first().map(|item| item["price"]["recurring"].clone());
    let restart = !trial && (anew || interval(&before) != interval(items));
    let mut lines = Vec::new();
    if !trial && (restart || how != Proration::Nothing) {
        for (old, new) in before.iter().zip(items) {
            if !restart && (&old["price"], &old["quantity"]) == (&new["price"], &new["quantity"]) {
                continue;
            }
            let mut unused = line(books, old, -rest(worth(old)), (now, until));
            unused.description = format!("Unused time on {}", unused.description);
            unused.proration = true;
            lines.push(unused);
            if !restart {
                let mut left = line(books, new, rest(worth(new)), (now, until));
                left.description = format!("Remaining time on {}", left.description);
                left.proration = true;
                lines.push(left);
            }
        }
    }
    let mut changes = json!({"items": item_list(id, items)});
    if restart {
        let recurring = interval(items).unwrap_or_default();
        let next = period_end(now, &recurring, 1);
        let items = moved(items, (now, next));
        lines.extend(
            items
                .iter()
                .map(|item| line(books, item, worth(item), (now, next))),
        );
        changes = json!({
            "items": item_list(id, &items), "billing_cycle_anchor": now, "_cycle": 1,
        });
    }
    books.update(id, "customer.subscription.updated", changes);
    if lines.is_empty() {
        return;
    }
    if !restart && how == Proration::NextInvoice {
        let mut waiting = agreed["_pending"].as_array().cloned().unwrap_or_default();
        waiting.extend(lines.iter().map(pack));
        books.set(id, json!({"_pending": waiting}));
        return;
    }
    let mut all = pending(books, id);
    all.append(&mut lines);
    let (_, paid) = invoices::bill(books, id, "subscription_update", &all);
    if !paid {
        books.update(
            id,
            "customer.subscription.updated",
            json!({"status": "past_due"}),
        );
    }
}

/// The items as the request wants them; nothing when it does not speak of them.
fn wanted_items(
    books: &Books,
    agreed: &Value,
    params: &Params<'_>,
) -> Result<Option<Vec<Value>>, Refusal> {
    if !params.has("items") {
        return Ok(None);
    }
    let mut items = items_of(agreed);
    for wanted in params.items("items")? {
        wanted.only(&["id", "price", "quantity"])?;
        let id = wanted.required("id")?;
        let item = items.iter_mut().find(|item| item["id"] == id);
        let item = item.ok_or_else(|| {
            let message = format!("No such subscription item: '{id}'");
            Refusal::new(400, "resource_missing", message).param(wanted.name("id"))
        })?;
        if let Some(price) = wanted.text("price")? {
            let price = bare(books.named("price", price, &wanted.name("price"))?);
            if price["type"] != "recurring" || price["currency"] != agreed["currency"] {
                let message = "The price must recur, in the subscription's currency.";
                return Err(invalid(&wanted.name("price"), message));
            }
            item["plan"] = plan(&price);
            item["price"] = price;
        }
        if let Some(quantity) = wanted.within("quantity", 0..=1_000_000)? {
            item["quantity"] = json!(quantity);
        }
    }
    let first = items.first().map(|item| item["price"]["recurring"].clone());
    if items
        .iter()
        .any(|item| Some(&item["price"]["recurring"]) != first.as_ref())
    {
        let message = "All items of a subscription must have the same interval.";
        return Err(invalid("items", message));
    }
    Ok(Some(items))
}

/// Puts the only item of a subscription on another price, as the portal does.
pub(super) fn switch(books: &mut Books, id: &str, price: &str) -> Result<(), Refusal> {
    let agreed = books.of("subscription", id)?.clone();
    let item = &agreed["items"]["data"][0]["id"];
    let tree = json!({"items": [{"id": item, "price": price}]});
    if let Some(items) = wanted_items(books, &agreed, &Params::new(&tree))? {
        change_plan(books, id, &items, Proration::Now, false);
    }
    Ok(())
}

pub(super) fn change(books: &mut Books, params: &Params<'_>, id: &str) -> Result<Value, Refusal> {
    params.only(&[
        "cancel_at_period_end",
        "cancellation_details",
        "items",
        "metadata",
        "description",
        "proration_behavior",
        "billing_cycle_anchor",
        "expand",
    ])?;
    let agreed = books.of("subscription", id)?.clone();
    if agreed["status"] == "canceled" {
        let message =
            "A canceled subscription can only update its cancellation_details and metadata.";
        return Err(invalid("id", message));
    }
    let behaviors = ["always_invoice", "create_prorations", "none"];
    let how = match params.word("proration_behavior", &behaviors)? {
        Some("always_invoice") => Proration::Now,
        Some("none") => Proration::Nothing,
        _ => Proration::NextInvoice,
    };
    let anew = params.word("billing_cycle_anchor", &["now", "unchanged"])? == Some("now");
    let items = wanted_items(books, &agreed, params)?;
    let cancel = params.flag("cancel_at_period_end")?;
    let details = details(params, &agreed)?;
    let mut changes = json!({"metadata": params.metadata(&agreed["metadata"])?});
    if let Some(description) = params.text("description")? {
        changes["description"] = json!(description);
    }
    // All is checked: from here on it is done.
    changes["cancellation_details"] = details;
    books.update(id, "customer.subscription.updated", changes);
    if let Some(items) = items {
        change_plan(books, id, &items, how, anew);
    }
    if let Some(cancel) = cancel
        && agreed["cancel_at_period_end"] != cancel
    {
        cancel_later(books, id, cancel);
    }
    Ok(bare(books.of("subscription", id)?))
}

/// What the customer says of the end.
fn details(params: &Params<'_>, agreed: &Value) -> Result<Value, Refusal> {
    let mut details = agreed["cancellation_details"].clone();
    if let Some(said) = params.child("cancellation_details")? {
        said.only(&["comment", "feedback"])?;
        for field in ["comment", "feedback"] {
            if let Some(text) = said.text(field)? {
                details[field] = json!(text);
            }
        }
    }
    Ok(details)
}

pub(super) fn cancel(books: &mut Books, params: &Params<'_>, id: &str) -> Result<Value, Refusal> {
    params.only(&["cancellation_details", "expand"])?;
    let agreed = books.of("subscription", id)?.clone();
    if agreed["status"] == "canceled" {
        let message = format!("No such subscription: '{id}'");
        return Err(Refusal::new(404, "resource_missing", message).param("id"));
    }
    let details = details(params, &agreed)?;
    books.set(id, json!({"cancellation_details": details}));
    end(books, id, "cancellation_requested");
    Ok(bare(books.of("subscription", id)?))
}

pub(super) fn list(books: &mut Books, params: &Params<'_>, path: &str) -> Result<Value, Refusal> {
    params.only(&[
        "customer",
        "price",
        "status",
        "limit",
        "starting_after",
        "ending_before",
        "expand",
    ])?;
    let (customer, price) = (params.text("customer")?, params.text("price")?);
    let status = params.text("status")?;
    books.page("subscription", path, params, |agreed| {
        let has = |price: &str| {
            items_of(agreed)
                .iter()
                .any(|item| item["price"]["id"] == price)
        };
        customer.is_none_or(|customer| agreed["customer"] == customer)
            && price.is_none_or(has)
            && match status {
                Some("all") => true,
                Some(status) => agreed["status"] == status,
                // As documented: those that have not ended.
                None => agreed["status"] != "canceled",
            }
    })
}

/// What falls due.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum DueKind {
    TrialNotice,
    Renewal,
    Retry,
    Expiry,
}

/// What a subscription or session waits for next, and when.
fn next_of(books: &Books, object: &Value) -> Option<(i64, DueKind)> {
    match (string(object, "object"), string(object, "status")) {
        ("checkout.session", "open") => Some((number(object, "expires_at"), DueKind::Expiry)),
        ("subscription", "trialing") if object["_told"] != true => {
            let notice = number(object, "trial_end") - TRIAL_NOTICE;
            Some((notice.max(number(object, "created")), DueKind::TrialNotice))
        }
        ("subscription", "trialing" | "active") => Some((period(object).1, DueKind::Renewal)),
        ("subscription", "past_due") => {
            let invoice = books.get(string(object, "latest_invoice"))?;
            let next = invoice["next_payment_attempt"].as_i64()?;
            Some((next, DueKind::Retry))
        }
        _ => None,
    }
}

/// Deals with everything that fell due until now, in the order of time.
pub(super) fn catch_up(books: &mut Books) {
    let now = books.now();
    let mut last = i64::MIN;
    for _ in 0..MOST_DUE {
        let earliest = books
            .all("subscription")
            .chain(books.all("checkout.session"))
            .filter_map(|object| {
                let (at, kind) = next_of(books, object)?;
                (at <= now).then(|| (at, kind, string(object, "id").to_owned()))
            })
            .min();
        let Some((at, kind, id)) = earliest else {
            return;
        };
        // What was late itself happens no earlier than what it waited for.
        last = at.max(last);
        books.at(last, |books| fall_due(books, kind, &id));
    }
    tracing::warn!("more fell due at once than the simulator deals with; the rest follows");
}

fn fall_due(books: &mut Books, kind: DueKind, id: &str) {
    match kind {
        DueKind::TrialNotice => {
            books.set(id, json!({"_told": true}));
            books.emit("customer.subscription.trial_will_end", id);
        }
        DueKind::Renewal => renew(books, id),
        DueKind::Retry => {
            let invoice = books.get(id).map(|agreed| agreed["latest_invoice"].clone());
            invoices::retry(
                books,
                invoice.as_ref().and_then(Value::as_str).unwrap_or(""),
            );
        }
        DueKind::Expiry => super::checkout::expire(books, id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_keep_the_anchors_day() {
        let monthly = json!({"interval": "month", "interval_count": 1});
        let day = |text: &str| {
            let text = format!("{text}T12:00:00Z");
            DateTime::parse_from_rfc3339(&text)
                .expect("a date")
                .timestamp()
        };
        let anchor = day("2026-01-31");
        assert_eq!(period_end(anchor, &monthly, 1), day("2026-02-28"));
        assert_eq!(period_end(anchor, &monthly, 2), day("2026-03-31"));
        let yearly = json!({"interval": "year", "interval_count": 1});
        assert_eq!(period_end(anchor, &yearly, 2), day("2028-01-31"));
        let weekly = json!({"interval": "week", "interval_count": 2});
        assert_eq!(period_end(anchor, &weekly, 1), anchor + 14 * DAY);
    }
}
