//! Invoices of subscriptions, and taking their money.

use serde_json::{Value, json};

use super::{
    books::{Books, bare, number, string},
    cycle,
    form::Params,
    payments::{self, Due},
    refusals::declined,
};
use crate::refusal::Refusal;

pub(super) const DAY: i64 = 86_400;
/// Days from one failed try to the next; after the last, the subscription ends.
const RETRY_DAYS: [i64; 3] = [3, 5, 7];

/// A line of an invoice.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) amount: i64,
    pub(super) description: String,
    pub(super) price: Value,
    pub(super) quantity: i64,
    /// The subscription's item; nothing for what is sold once.
    pub(super) item: Option<String>,
    pub(super) proration: bool,
    pub(super) period: (i64, i64),
}

impl Line {
    fn show(&self, books: &Books, invoice: &str, subscription: &str) -> Value {
        let currency = &self.price["currency"];
        json!({
            "id": books.id("il"),
            "object": "line_item",
            "amount": self.amount,
            "currency": currency,
            "description": self.description,
            "discount_amounts": [],
            "discountable": !self.proration,
            "discounts": [],
            "invoice": invoice,
            "livemode": false,
            "metadata": {},
            "parent": {
                "type": "subscription_item_details",
                "invoice_item_details": null,
                "subscription_item_details": {
                    "invoice_item": null,
                    "proration": self.proration,
                    "proration_details": {"credited_items": null},
                    "subscription": subscription,
                    "subscription_item": self.item,
                },
            },
            "period": {"start": self.period.0, "end": self.period.1},
            "pretax_credit_amounts": [],
            "pricing": {
                "type": "price_details",
                "price_details": {"price": self.price["id"], "product": self.price["product"]},
                "unit_amount_decimal": self.price["unit_amount_decimal"],
            },
            "quantity": self.quantity,
            "subscription": subscription,
            "subtotal": self.amount,
            "taxes": [],
        })
    }
}

/// Writes an invoice and takes its money; its id and whether it is paid.
pub(super) fn bill(
    books: &mut Books,
    subscription: &str,
    reason: &str,
    lines: &[Line],
) -> (String, bool) {
    let id = draft(books, subscription, reason, lines);
    books.set(subscription, json!({"latest_invoice": id}));
    books.emit("invoice.created", &id);
    books.invoices += 1;
    let now = books.now();
    let number = format!("SIM-{:06}", books.invoices);
    let page = format!("{}/invoice/{id}", books.url);
    books.set(
        &id,
        json!({
            "status": "open", "number": number, "effective_at": now,
            "hosted_invoice_url": page, "invoice_pdf": format!("{page}/pdf"),
            "status_transitions": {
                "finalized_at": now, "marked_uncollectible_at": null,
                "paid_at": null, "voided_at": null,
            },
        }),
    );
    books.emit("invoice.finalized", &id);
    let paid = attempt(books, &id);
    (id, paid)
}

fn draft(books: &mut Books, subscription: &str, reason: &str, lines: &[Line]) -> String {
    let now = books.now();
    let agreed = books.get(subscription).cloned().unwrap_or_default();
    let customer = string(&agreed, "customer").to_owned();
    let payer = books.get(&customer).cloned().unwrap_or_default();
    let balance = number(&payer, "balance");
    let total: i64 = lines.iter().map(|line| line.amount).sum();
    // A credit is kept on the customer for invoices to come.
    let due = (total + balance).max(0);
    let left = (total + balance).min(0);
    books.update(&customer, "customer.updated", json!({"balance": left}));
    let id = books.id("in");
    let shown: Vec<Value> = lines
        .iter()
        .map(|line| line.show(books, &id, subscription))
        .collect();
    let period = lines.iter().rev().find(|line| !line.proration);
    let period = period.map_or((now, now), |line| line.period);
    let invoice = json!({
        "id": id,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Genvid simulation",
        "amount_due": due,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": due,
        "amount_shipping": 0,
        "application": null,
        "attempt_count": 0,
        "attempted": false,
        "auto_advance": true,
        "automatic_tax": {"enabled": false, "liability": null, "provider": null, "status": null},
        "automatically_finalizes_at": null,
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "created": now,
        "currency": agreed["currency"],
        "custom_fields": null,
        "customer": customer,
        "customer_account": null,
        "customer_address": null,
        "customer_email": payer["email"],
        "customer_name": payer["name"],
        "customer_phone": payer["phone"],
        "customer_shipping": null,
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_payment_method": null,
        "default_source": null,
        "default_tax_rates": [],
        "description": null,
        "discounts": [],
        "due_date": null,
        "effective_at": null,
        "ending_balance": left,
        "footer": null,
        "from_invoice": null,
        "hosted_invoice_url": null,
        "invoice_pdf": null,
        "issuer": {"type": "self"},
        "last_finalization_error": null,
        "latest_revision": null,
        "lines": {
            "object": "list", "data": shown, "has_more": false,
            "url": format!("/v1/invoices/{id}/lines"),
        },
        "livemode": false,
        "metadata": {},
        "next_payment_attempt": null,
        "number": null,
        "on_behalf_of": null,
        "parent": {
            "type": "subscription_details",
            "quote_details": null,
            "subscription_details": {"metadata": agreed["metadata"], "subscription": subscription},
        },
        "payment_settings": {
            "default_mandate": null, "payment_method_options": null, "payment_method_types": null,
        },
        "period_start": period.0,
        "period_end": period.1,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": null,
        "rendering": null,
        "shipping_cost": null,
        "shipping_details": null,
        "starting_balance": balance,
        "statement_descriptor": null,
        "status": "draft",
        "status_transitions": {
            "finalized_at": null, "marked_uncollectible_at": null,
            "paid_at": null, "voided_at": null,
        },
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "test_clock": null,
        "total": total,
        "total_discount_amounts": [],
        "total_excluding_tax": total,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": null,
    });
    books.put("invoice", invoice)
}

/// The card on file is good for what is to be paid without its holder.
fn card_is_good(books: &Books, customer: &str) -> bool {
    books
        .get(customer)
        .is_some_and(|customer| customer["_card"] == "good")
}

/// Tries to take an open invoice's money.
fn attempt(books: &mut Books, id: &str) -> bool {
    let invoice = books.get(id).cloned().unwrap_or_default();
    let amount = number(&invoice, "amount_due");
    if amount == 0 {
        settle(books, id);
        return true;
    }
    let good = card_is_good(books, string(&invoice, "customer"));
    let due = Due {
        intent: invoice["_intent"].as_str().map(str::to_owned),
        customer: invoice["customer"].clone(),
        amount,
        currency: string(&invoice, "currency").to_owned(),
        description: json!("Subscription"),
        metadata: json!({}),
    };
    let intent = payments::collect(books, &due, good);
    book_payment(books, &invoice, &intent, good);
    let tries = number(&invoice, "attempt_count") + 1;
    books.set(
        id,
        json!({"_intent": intent, "attempted": true, "attempt_count": tries}),
    );
    if good {
        settle(books, id);
    } else {
        let wait = usize::try_from(tries - 1)
            .ok()
            .and_then(|done| RETRY_DAYS.get(done));
        let next = wait.map(|days| books.now() + days * DAY);
        books.set(id, json!({"next_payment_attempt": next}));
        books.emit("invoice.payment_failed", id);
    }
    good
}

/// Says which payment belongs to which invoice, as invoices themselves no longer do.
fn book_payment(books: &mut Books, invoice: &Value, intent: &str, paid: bool) {
    let now = books.now();
    let state = json!({
        "status": if paid { "paid" } else { "open" },
        "amount_paid": if paid { invoice["amount_due"].clone() } else { Value::Null },
        "status_transitions": {
            "canceled_at": null, "paid_at": if paid { json!(now) } else { Value::Null },
        },
    });
    if let Some(payment) = invoice["_payment"].as_str() {
        books.set(payment, state);
        return;
    }
    let payment = json!({
        "id": books.id("inpay"),
        "object": "invoice_payment",
        "amount_requested": invoice["amount_due"],
        "created": now,
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": true,
        "livemode": false,
        "payment": {"type": "payment_intent", "payment_intent": intent},
    });
    let payment = books.put("invoice_payment", payment);
    books.set(&payment, state);
    books.set(string(invoice, "id"), json!({"_payment": payment}));
}

fn settle(books: &mut Books, id: &str) {
    let invoice = books.get(id).cloned().unwrap_or_default();
    let mut transitions = invoice["status_transitions"].clone();
    transitions["paid_at"] = json!(books.now());
    books.set(
        id,
        json!({
            "status": "paid", "amount_paid": invoice["amount_due"], "amount_remaining": 0,
            "attempted": true, "next_payment_attempt": null, "status_transitions": transitions,
        }),
    );
    books.emit("invoice.paid", id);
    books.emit("invoice.payment_succeeded", id);
}

/// Tries again to take the money that a subscription owes.
pub(super) fn retry(books: &mut Books, invoice: &str) -> bool {
    let owed = books.get(invoice).cloned().unwrap_or_default();
    let agreed = owed["parent"]["subscription_details"]["subscription"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let paid = attempt(books, invoice);
    let latest = books
        .get(&agreed)
        .is_some_and(|agreed| agreed["latest_invoice"] == invoice);
    let next = books
        .get(invoice)
        .map(|invoice| invoice["next_payment_attempt"].clone());
    if paid && latest {
        cycle::revive(books, &agreed);
    } else if !paid && latest && next == Some(Value::Null) {
        cycle::end(books, &agreed, "payment_failed");
    }
    paid
}

pub(super) fn pay(books: &mut Books, params: &Params<'_>, id: &str) -> Result<Value, Refusal> {
    params.only(&["expand"])?;
    if books.of("invoice", id)?["status"] != "open" {
        return Err(Refusal::new(
            400,
            "invoice_not_editable",
            "Invoice is already paid, or no longer open.",
        ));
    }
    if retry(books, id) {
        Ok(bare(books.of("invoice", id)?))
    } else {
        Err(declined())
    }
}

pub(super) fn list(books: &mut Books, params: &Params<'_>, path: &str) -> Result<Value, Refusal> {
    params.only(&[
        "customer",
        "subscription",
        "status",
        "limit",
        "starting_after",
        "ending_before",
        "expand",
    ])?;
    let (customer, subscription) = (params.text("customer")?, params.text("subscription")?);
    let status = params.word(
        "status",
        &["draft", "open", "paid", "uncollectible", "void"],
    )?;
    books.page("invoice", path, params, |invoice| {
        let of = &invoice["parent"]["subscription_details"]["subscription"];
        customer.is_none_or(|customer| invoice["customer"] == customer)
            && subscription.is_none_or(|subscription| of == subscription)
            && status.is_none_or(|status| invoice["status"] == status)
    })
}

pub(super) fn payments(
    books: &mut Books,
    params: &Params<'_>,
    path: &str,
) -> Result<Value, Refusal> {
    params.only(&[
        "invoice",
        "payment",
        "status",
        "limit",
        "starting_after",
        "ending_before",
        "expand",
    ])?;
    let invoice = params.text("invoice")?;
    let status = params.word("status", &["canceled", "open", "paid"])?;
    let payment = params.child("payment")?;
    let intent = match &payment {
        None => None,
        Some(payment) => {
            payment.only(&["type", "payment_intent"])?;
            payment.word("type", &["payment_intent"])?;
            payment.text("payment_intent")?
        }
    };
    books.page("invoice_payment", path, params, |payment| {
        invoice.is_none_or(|invoice| payment["invoice"] == invoice)
            && status.is_none_or(|status| payment["status"] == status)
            && intent.is_none_or(|intent| payment["payment"]["payment_intent"] == intent)
    })
}
