//! Checkout sessions, from creation to payment.

use serde_json::{Value, json};

use super::{
    StripeError,
    books::{Books, bare, lines, number, string},
    catalog,
    cycle::{self, Order},
    form::Params,
    payments::{self, Due},
    refusals::{invalid, missing},
};
use crate::refusal::Refusal;

/// The part of a return address that is replaced by the session's id.
const PLACEHOLDER: &str = "{CHECKOUT_SESSION_ID}";
const HOUR: i64 = 3_600;

/// How somebody leaves the payment page. The words are the same in JSON and in the page's
/// form, in snake_case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Press {
    /// Pays with a card that is good now and later.
    Pay,
    /// Pays with a card that is good now, and is declined at each renewal.
    PayOnce,
    /// Pays by a means whose money comes later: see [`settle`](crate::StripeHandle::settle).
    PayLater,
    /// Tries to pay with a card that is declined, and stays on the page.
    Decline,
    /// Goes back.
    Cancel,
}

const CREATE: [&str; 17] = [
    "mode",
    "line_items",
    "success_url",
    "cancel_url",
    "ui_mode",
    "client_reference_id",
    "customer",
    "customer_email",
    "customer_creation",
    "metadata",
    "payment_intent_data",
    "subscription_data",
    "payment_method_types",
    "expires_at",
    "locale",
    "submit_type",
    "expand",
];

pub(super) fn create(books: &mut Books, params: &Params<'_>, _: &str) -> Result<Value, Refusal> {
    params.only(&CREATE)?;
    let mode = params.word("mode", &["payment", "subscription"])?;
    let mode = mode.ok_or_else(|| missing("mode"))?;
    params.word("ui_mode", &["hosted_page"])?;
    let sold = line_items(books, params, mode)?;
    let customer = customer(books, params, mode)?;
    let now = books.now();
    let expires = params.integer("expires_at")?.unwrap_or(now + 24 * HOUR);
    if !(now + HOUR / 2 - 5..=now + 24 * HOUR).contains(&expires) {
        let message = "expires_at must be between 30 minutes and 24 hours from now.";
        return Err(invalid("expires_at", message));
    }
    let success = return_address(params, "success_url")?.ok_or_else(|| missing("success_url"))?;
    let cancel = return_address(params, "cancel_url")?;
    let reference = params.text("client_reference_id")?;
    if reference.is_some_and(|reference| reference.chars().count() > 200) {
        let message = "client_reference_id has up to 200 characters.";
        return Err(invalid("client_reference_id", message));
    }
    let extra = extra(params, mode)?;
    let id = books.id("cs_test");
    let amount: i64 = sold.iter().map(|line| number(line, "amount_total")).sum();
    let trial = !extra["trial_days"].is_null();
    let session = json!({
        "id": id,
        "object": "checkout.session",
        "adaptive_pricing": null,
        "after_expiration": null,
        "allow_promotion_codes": null,
        "amount_subtotal": if trial { 0 } else { amount },
        "amount_total": if trial { 0 } else { amount },
        "automatic_tax": {"enabled": false, "liability": null, "provider": null, "status": null},
        "billing_address_collection": null,
        "cancel_url": cancel,
        "client_reference_id": reference,
        "client_secret": null,
        "collected_information": null,
        "consent": null,
        "consent_collection": null,
        "created": now,
        "currency": sold.first().map(|line| &line["currency"]),
        "currency_conversion": null,
        "custom_fields": [],
        "custom_text": {
            "after_submit": null, "shipping_address": null, "submit": null,
            "terms_of_service_acceptance": null,
        },
        "customer": customer,
        "customer_account": null,
        "customer_creation": if mode == "payment" {
            json!(params.word("customer_creation", &["always", "if_required"])?.unwrap_or("if_required"))
        } else {
            Value::Null
        },
        "customer_details": null,
        "customer_email": params.text("customer_email")?,
        "discounts": [],
        "expires_at": expires,
        "invoice": null,
        "invoice_creation": null,
        "livemode": false,
        "locale": params.text("locale")?,
        "metadata": params.metadata(&Value::Null)?,
        "mode": mode,
        "payment_intent": null,
        "payment_link": null,
        "payment_method_collection": if mode == "subscription" { json!("always") } else { Value::Null },
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "payment_status": if amount == 0 || trial { "no_payment_required" } else { "unpaid" },
        "permissions": null,
        "recovered_from": null,
        "setup_intent": null,
        "shipping_address_collection": null,
        "shipping_cost": null,
        "shipping_options": [],
        "status": "open",
        "submit_type": params.word("submit_type", &["auto", "book", "donate", "pay", "subscribe"])?,
        "subscription": null,
        "success_url": success,
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": format!("{}/pay/{id}", books.url),
        "wallet_options": null,
        "_lines": sold,
        "_extra": extra,
    });
    books.put("checkout.session", session);
    Ok(bare(books.of("checkout.session", &id)?))
}

fn return_address<'tree>(
    params: &Params<'tree>,
    field: &str,
) -> Result<Option<&'tree str>, Refusal> {
    let Some(address) = params.text(field)? else {
        return Ok(None);
    };
    match url::Url::parse(&address.replace(PLACEHOLDER, "cs_test_x")) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Some(address)),
        _ => Err(Refusal::new(400, "url_invalid", "Not a valid URL").param(field)),
    }
}

fn customer(books: &Books, params: &Params<'_>, mode: &str) -> Result<Value, Refusal> {
    let customer = params.text("customer")?;
    if customer.is_some() && params.text("customer_email")?.is_some() {
        let message = "You may only specify one of these parameters: customer, customer_email.";
        return Err(invalid("customer_email", message));
    }
    if params.has("customer_creation") && mode != "payment" {
        let message = "customer_creation can only be used in payment mode.";
        return Err(invalid("customer_creation", message));
    }
    if let Some(customer) = customer {
        books.named("customer", customer, "customer")?;
    }
    Ok(json!(customer))
}

/// What is handed on to the payment or the subscription.
fn extra(params: &Params<'_>, mode: &str) -> Result<Value, Refusal> {
    let (payment, subscription) = ("payment_intent_data", "subscription_data");
    let (mine, other) = if mode == "payment" {
        (payment, subscription)
    } else {
        (subscription, payment)
    };
    if params.has(other) {
        let message = format!("You can not pass `{other}` in `{mode}` mode.");
        return Err(invalid(other, &message));
    }
    let Some(data) = params.child(mine)? else {
        return Ok(json!({"metadata": {}, "description": null, "trial_days": null}));
    };
    let known: &[&str] = if mode == "payment" {
        &["metadata", "description"]
    } else {
        &["metadata", "description", "trial_period_days"]
    };
    data.only(known)?;
    Ok(json!({
        "metadata": data.metadata(&Value::Null)?,
        "description": data.text("description")?,
        "trial_days": data.within("trial_period_days", 1..=730)?,
    }))
}

fn line_items(books: &mut Books, params: &Params<'_>, mode: &str) -> Result<Vec<Value>, Refusal> {
    let mut sold = Vec::new();
    let asked = params.items("line_items")?;
    if asked.is_empty() {
        return Err(missing("line_items"));
    }
    let most = if mode == "payment" { 100 } else { 40 };
    if asked.len() > most {
        let message = format!("A session has up to {most} line items.");
        return Err(invalid("line_items", &message));
    }
    for item in asked {
        item.only(&["price", "price_data", "quantity"])?;
        let price = match (item.text("price")?, item.child("price_data")?) {
            (Some(id), None) => bare(books.named("price", id, &item.name("price"))?),
            (None, Some(data)) => {
                data.only(&[
                    "currency",
                    "unit_amount",
                    "product",
                    "product_data",
                    "recurring",
                    "tax_behavior",
                ])?;
                let id = catalog::new_price(books, &data)?;
                books.set(&id, json!({"active": false}));
                bare(books.of("price", &id)?)
            }
            _ => return Err(missing(&item.name("price"))),
        };
        if price["active"] == false && item.has("price") {
            let message = "The price specified is inactive. This field only accepts active prices.";
            return Err(invalid(&item.name("price"), message));
        }
        if mode == "payment" && price["type"] == "recurring" {
            let message = "You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or use only one-time prices.";
            return Err(invalid(&item.name("price"), message));
        }
        let quantity = item.within("quantity", 1..=999_999)?;
        let quantity = quantity.ok_or_else(|| missing(&item.name("quantity")))?;
        let amount = number(&price, "unit_amount") * quantity;
        let name = books.get(string(&price, "product"));
        let name = name.map(|product| product["name"].clone());
        sold.push(json!({
            "id": books.id("li"), "object": "item", "adjustable_quantity": null,
            "amount_discount": 0, "amount_subtotal": amount, "amount_tax": 0,
            "amount_total": amount, "currency": price["currency"], "description": name,
            "metadata": {}, "price": price, "quantity": quantity,
        }));
    }
    check_mix(&sold, mode)?;
    Ok(sold)
}

fn check_mix(sold: &[Value], mode: &str) -> Result<(), Refusal> {
    let currency = &sold[0]["currency"];
    if sold.iter().any(|line| &line["currency"] != currency) {
        let message = "All line items of a session must have the same currency.";
        return Err(invalid("line_items", message));
    }
    let mut intervals = sold
        .iter()
        .map(|line| &line["price"]["recurring"])
        .filter(|recurring| !recurring.is_null());
    let first = intervals.next();
    if mode == "subscription" && first.is_none() {
        let message = "You must provide at least one recurring price in `subscription` mode.";
        return Err(invalid("line_items", message));
    }
    if intervals.any(|interval| Some(interval) != first) {
        let message = "All recurring prices of a session must have the same interval.";
        return Err(invalid("line_items", message));
    }
    Ok(())
}

pub(super) fn list(books: &mut Books, params: &Params<'_>, path: &str) -> Result<Value, Refusal> {
    let fields = ["customer", "subscription", "payment_intent", "status"];
    params.only(&[
        "customer",
        "subscription",
        "payment_intent",
        "status",
        "limit",
        "starting_after",
        "ending_before",
        "expand",
    ])?;
    let mut wanted = Vec::new();
    for field in fields {
        if let Some(value) = params.text(field)? {
            wanted.push((field, value));
        }
    }
    books.page("checkout.session", path, params, |session| {
        wanted
            .iter()
            .all(|(field, value)| session[*field] == *value)
    })
}

pub(super) fn sold(books: &mut Books, params: &Params<'_>, id: &str) -> Result<Value, Refusal> {
    params.only(&["limit", "expand"])?;
    let limit = params.within("limit", 1..=100)?.unwrap_or(10);
    let limit = usize::try_from(limit).unwrap_or(10);
    let mut sold = lines(books.of("checkout.session", id)?);
    let has_more = sold.len() > limit;
    sold.truncate(limit);
    let url = format!("/v1/checkout/sessions/{id}/line_items");
    Ok(json!({"object": "list", "data": sold, "has_more": has_more, "url": url}))
}

pub(super) fn expire_now(
    books: &mut Books,
    params: &Params<'_>,
    id: &str,
) -> Result<Value, Refusal> {
    params.only(&["expand"])?;
    let status = &books.of("checkout.session", id)?["status"];
    if status != "open" {
        let message = format!(
            "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of {status}."
        );
        return Err(invalid("session", &message));
    }
    expire(books, id);
    Ok(bare(books.of("checkout.session", id)?))
}

pub(super) fn expire(books: &mut Books, id: &str) {
    books.set(id, json!({"status": "expired", "url": null}));
    books.emit("checkout.session.expired", id);
}

/// What pressing a button led to.
pub(super) enum Pressed {
    /// Where the browser goes.
    Leave(String),
    /// The card was declined; the page stays.
    Declined,
}

/// Presses a button of an open session's page.
pub(super) fn press(books: &mut Books, id: &str, press: Press) -> Result<Pressed, StripeError> {
    let session = books
        .of("checkout.session", id)
        .ok()
        .filter(|session| session["status"] == "open")
        .cloned()
        .ok_or_else(|| StripeError::new("no such session, or it is not open any more"))?;
    match press {
        Press::Cancel => {
            let back = session["cancel_url"].as_str();
            let back = back.ok_or_else(|| StripeError::new("the session has no cancel_url"))?;
            Ok(Pressed::Leave(back.replace(PLACEHOLDER, id)))
        }
        Press::Decline => {
            let intent = payments::collect(books, &due(&session), false);
            books.set(id, json!({"_intent": intent}));
            Ok(Pressed::Declined)
        }
        Press::PayLater if session["mode"] != "payment" => Err(StripeError::new(
            "only one-time payments can be paid later here",
        )),
        _ => {
            complete(books, &session, press);
            let on = string(&session, "success_url");
            Ok(Pressed::Leave(on.replace(PLACEHOLDER, id)))
        }
    }
}

fn due(session: &Value) -> Due {
    let extra = &session["_extra"];
    Due {
        intent: session["_intent"].as_str().map(str::to_owned),
        customer: session["customer"].clone(),
        amount: number(session, "amount_total"),
        currency: string(session, "currency").to_owned(),
        description: extra["description"].clone(),
        metadata: extra["metadata"].clone(),
    }
}

fn complete(books: &mut Books, session: &Value, press: Press) {
    let id = string(session, "id");
    let mut session = session.clone();
    let email = session["customer_email"]
        .as_str()
        .unwrap_or("person@example.com")
        .to_owned();
    let wanted = session["mode"] == "subscription" || session["customer_creation"] == "always";
    if session["customer"].is_null() && wanted {
        let customer = catalog::new_customer(books, Some(&email));
        books.emit("customer.created", &customer);
        session["customer"] = json!(customer);
    }
    let customer = string(&session, "customer").to_owned();
    let email = books
        .get(&customer)
        .and_then(|customer| customer["email"].as_str())
        .map_or(email, str::to_owned);
    let mut changes = json!({
        "status": "complete", "url": null, "customer": session["customer"],
        "customer_details": {
            "address": null, "business_name": null, "email": email, "individual_name": null,
            "name": null, "phone": null, "tax_exempt": "none", "tax_ids": [],
        },
    });
    if session["mode"] == "subscription" {
        let card = if press == Press::PayOnce {
            "fails"
        } else {
            "good"
        };
        // The first payment passes in either case.
        books.set(&customer, json!({"_card": "good"}));
        let subscription = cycle::subscribe(books, order(&session, customer.clone()));
        books.set(&customer, json!({"_card": card}));
        let invoice = books
            .get(&subscription)
            .map(|agreed| agreed["latest_invoice"].clone());
        changes["subscription"] = json!(subscription);
        changes["invoice"] = json!(invoice);
    } else if number(&session, "amount_total") > 0 {
        let due = due(&session);
        let intent = if press == Press::PayLater {
            payments::begin(books, &due)
        } else {
            payments::collect(books, &due, true)
        };
        changes["payment_intent"] = json!(intent);
    }
    if session["payment_status"] == "unpaid" && press != Press::PayLater {
        changes["payment_status"] = json!("paid");
    }
    books.set(id, changes);
    books.emit("checkout.session.completed", id);
}

fn order(session: &Value, customer: String) -> Order {
    let extra = &session["_extra"];
    Order {
        customer,
        lines: lines(session)
            .iter()
            .map(|line| (line["price"].clone(), number(line, "quantity")))
            .collect(),
        metadata: extra["metadata"].clone(),
        description: extra["description"].clone(),
        trial_days: extra["trial_days"].as_i64(),
    }
}

/// The money of a session that is paid later comes, or does not.
pub(super) fn settle(books: &mut Books, id: &str, paid: bool) -> Result<(), StripeError> {
    let session = books
        .of("checkout.session", id)
        .ok()
        .filter(|session| session["status"] == "complete" && session["payment_status"] == "unpaid")
        .cloned()
        .ok_or_else(|| StripeError::new("no such session, or its money is not awaited"))?;
    let mut due = due(&session);
    due.intent = session["payment_intent"].as_str().map(str::to_owned);
    payments::collect(books, &due, paid);
    if paid {
        books.set(id, json!({"payment_status": "paid"}));
        books.emit("checkout.session.async_payment_succeeded", id);
    } else {
        books.emit("checkout.session.async_payment_failed", id);
    }
    Ok(())
}
