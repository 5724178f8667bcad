//! The pages on which people press: payment, and the customer portal.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    Stripe,
    books::{Books, bare, lines, number, string},
    checkout::{self, Press, Pressed},
    cycle,
    form::{self, Params},
};
use crate::{
    call::Call,
    refusal::{Answer, Refusal},
};

/// A link of the portal works so long.
const PORTAL_SECONDS: i64 = 300;

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

fn money(amount: i64, currency: &str) -> String {
    let currency = currency.to_uppercase();
    let sign = if amount < 0 { "-" } else { "" };
    let amount = amount.unsigned_abs();
    format!("{sign}{}.{:02} {currency}", amount / 100, amount % 100)
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let title = escaped(title);
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>body{{font:16px system-ui;max-width:32rem;margin:3rem auto;padding:0 1rem}}\
         button{{font:inherit;padding:.5rem 1rem;margin:.25rem 0;display:block}}\
         .note{{color:#666}}.alert{{color:#b00020}}</style></head>\
         <body><h1>{title}</h1>{body}\
         <p class=\"note\">Simulated: no money moves.</p></body></html>"
    );
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (status, headers, Html(page)).into_response()
}

fn gone() -> Response {
    let text = "<p>This link does not exist, was used, or ran out.</p>";
    page(StatusCode::GONE, "Nothing to see here", text)
}

fn leave(to: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

fn button(action: &str, label: &str) -> String {
    format!("<button name=\"action\" value=\"{action}\">{label}</button>")
}

fn payment_page(books: &Books, id: &str, declined: bool) -> Response {
    let session = books.of("checkout.session", id).ok();
    let Some(session) = session.filter(|session| session["status"] == "open") else {
        return gone();
    };
    let currency = string(session, "currency");
    let mut body = String::from("<ul>");
    for line in lines(session) {
        let amount = money(number(&line, "amount_total"), currency);
        let recurring = &line["price"]["recurring"];
        let every = match recurring["interval"].as_str() {
            Some(interval) => {
                let count = number(recurring, "interval_count");
                format!(" every {count} {}", escaped(interval))
            }
            None => String::new(),
        };
        body.push_str(&format!(
            "<li>{} × {}: {amount}{every}</li>",
            number(&line, "quantity"),
            escaped(string(&line, "description")),
        ));
    }
    let total = money(number(session, "amount_total"), currency);
    body.push_str(&format!("</ul><p>Due now: <strong>{total}</strong></p>"));
    if declined {
        body.push_str("<p class=\"alert\" role=\"alert\">Your card was declined.</p>");
    }
    body.push_str("<form method=\"post\">");
    body.push_str(&button("pay", "Pay"));
    if session["mode"] == "subscription" {
        body.push_str(&button(
            "pay_once",
            "Pay with a card that is declined at renewals",
        ));
    } else {
        body.push_str(&button("pay_later", "Pay by a slow bank transfer"));
    }
    body.push_str(&button("decline", "Pay with a card that is declined"));
    if session["cancel_url"].is_string() {
        body.push_str(&button("cancel", "Cancel"));
    }
    body.push_str("</form>");
    let status = if declined {
        StatusCode::PAYMENT_REQUIRED
    } else {
        StatusCode::OK
    };
    page(status, "Checkout", &body)
}

pub(super) async fn pay(State(stripe): State<Arc<Stripe>>, Path(id): Path<String>) -> Response {
    stripe.with(None, |books| payment_page(books, &id, false))
}

/// The button of a page's form.
fn action(call: &Call) -> Result<Value, Refusal> {
    form::parse(&call.body)
}

pub(super) async fn press(
    State(stripe): State<Arc<Stripe>>,
    Path(id): Path<String>,
    Extension(call): Extension<Call>,
) -> Answer {
    let form = action(&call)?;
    let Ok(press) = serde_json::from_value::<Press>(form["action"].clone()) else {
        let text = "<p>There is no such button.</p>";
        return Ok(page(StatusCode::BAD_REQUEST, "Checkout", text));
    };
    Ok(stripe.with(Some(&call), |books| {
        match checkout::press(books, &id, press) {
            Ok(Pressed::Leave(to)) => leave(&to),
            Ok(Pressed::Declined) => payment_page(books, &id, true),
            Err(_) => gone(),
        }
    }))
}

pub(super) fn create_portal(
    books: &mut Books,
    params: &Params<'_>,
    _: &str,
) -> Result<Value, Refusal> {
    params.only(&[
        "customer",
        "return_url",
        "locale",
        "configuration",
        "expand",
    ])?;
    let customer = params.required("customer")?;
    books.named("customer", customer, "customer")?;
    let id = books.id("bps");
    // Short-lived, and known to its receiver alone.
    let url = format!("{}/portal/{id}", books.url);
    let session = json!({
        "id": id,
        "object": "billing_portal.session",
        "configuration": params.text("configuration")?.unwrap_or("bpc_simulated"),
        "created": books.now(),
        "customer": customer,
        "customer_account": null,
        "flow": null,
        "livemode": false,
        "locale": params.text("locale")?,
        "on_behalf_of": null,
        "return_url": params.text("return_url")?,
        "url": url,
    });
    books.put("billing_portal.session", session);
    Ok(bare(books.of("billing_portal.session", &id)?))
}

/// A session of the portal that has not run out.
fn portal_session(books: &Books, id: &str) -> Option<Value> {
    let session = books.of("billing_portal.session", id).ok()?;
    let fresh = books.now() < number(session, "created") + PORTAL_SECONDS;
    let there = books.get(string(session, "customer")).is_some();
    (fresh && there).then(|| session.clone())
}

/// Prices that a subscription can change to.
fn offers<'books>(
    books: &'books Books,
    agreed: &'books Value,
) -> impl Iterator<Item = &'books Value> {
    let own = &agreed["items"]["data"][0]["price"]["id"];
    books.all("price").filter(move |price| {
        price["active"] == true
            && price["type"] == "recurring"
            && price["currency"] == agreed["currency"]
            && &price["id"] != own
    })
}

fn product_name(books: &Books, price: &Value) -> String {
    let product = books.get(string(price, "product"));
    escaped(product.map_or("", |product| string(product, "name")))
}

fn portal_page(books: &Books, session: &Value) -> Response {
    let customer = string(session, "customer");
    let mut body = String::new();
    let live = books
        .all("subscription")
        .filter(|agreed| agreed["customer"] == customer && agreed["ended_at"].is_null());
    for agreed in live {
        let id = escaped(string(agreed, "id"));
        let price = &agreed["items"]["data"][0]["price"];
        let status = escaped(string(agreed, "status"));
        body.push_str(&format!(
            "<h2>{}: {status}</h2><form method=\"post\">\
             <input type=\"hidden\" name=\"subscription\" value=\"{id}\">",
            product_name(books, price)
        ));
        if agreed["cancel_at_period_end"] == true {
            body.push_str("<p>Ends with its period.</p>");
            body.push_str(&button("keep", "Keep it after all"));
        } else {
            body.push_str(&button("cancel", "Cancel at the end of the period"));
        }
        body.push_str(&button("cancel_now", "Cancel now"));
        for offer in offers(books, agreed) {
            let amount = money(number(offer, "unit_amount"), string(offer, "currency"));
            let interval = escaped(string(&offer["recurring"], "interval"));
            let label = format!(
                "Change to {} ({amount} every {interval})",
                product_name(books, offer)
            );
            let id = escaped(string(offer, "id"));
            body.push_str(&button(&format!("change:{id}"), &label));
        }
        body.push_str("</form>");
    }
    if body.is_empty() {
        body.push_str("<p>There is no subscription.</p>");
    }
    body.push_str("<h2>Card</h2><form method=\"post\">");
    body.push_str(&button("card_good", "Use a card that is good"));
    body.push_str(&button("card_fails", "Use a card that is declined"));
    body.push_str("</form>");
    if let Some(back) = session["return_url"].as_str() {
        body.push_str(&format!("<p><a href=\"{}\">Back</a></p>", escaped(back)));
    }
    page(StatusCode::OK, "Your subscriptions", &body)
}

pub(super) async fn portal(State(stripe): State<Arc<Stripe>>, Path(id): Path<String>) -> Response {
    stripe.with(None, |books| match portal_session(books, &id) {
        Some(session) => portal_page(books, &session),
        None => gone(),
    })
}

pub(super) async fn manage(
    State(stripe): State<Arc<Stripe>>,
    Path(id): Path<String>,
    Extension(call): Extension<Call>,
) -> Answer {
    let form = action(&call)?;
    Ok(stripe.with(Some(&call), |books| {
        let Some(session) = portal_session(books, &id) else {
            return gone();
        };
        if do_manage(books, &session, &form) {
            leave(string(&session, "url"))
        } else {
            let text = "<p>There is no such button.</p>";
            page(StatusCode::BAD_REQUEST, "Your subscriptions", text)
        }
    }))
}

/// False when there is no such button.
fn do_manage(books: &mut Books, session: &Value, form: &Value) -> bool {
    let customer = string(session, "customer");
    let action = string(form, "action");
    match action {
        "card_good" | "card_fails" => {
            books.set(
                customer,
                json!({"_card": action.trim_start_matches("card_")}),
            );
            return true;
        }
        _ => {}
    }
    let id = string(form, "subscription");
    let agreed = books.of("subscription", id).ok();
    let mine =
        agreed.filter(|agreed| agreed["customer"] == customer && agreed["ended_at"].is_null());
    let Some(agreed) = mine else {
        return false;
    };
    match action {
        "cancel" | "keep" => cycle::cancel_later(books, id, action == "cancel"),
        "cancel_now" => cycle::end(books, id, "cancellation_requested"),
        _ => {
            let price = action.strip_prefix("change:").unwrap_or_default();
            let offered = offers(books, agreed).any(|offer| offer["id"] == price);
            return offered && cycle::switch(books, id, price).is_ok();
        }
    }
    true
}
