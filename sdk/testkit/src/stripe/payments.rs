//! Payments, refunds and disputes.

use serde_json::{Value, json};

use super::{
    StripeError,
    books::{Books, bare, number, string},
    catalog::MOST,
    form::Params,
    refusals::invalid,
};
use crate::refusal::Refusal;

/// What is to be paid.
pub(super) struct Due {
    /// A payment that was tried before.
    pub(super) intent: Option<String>,
    pub(super) customer: Value,
    pub(super) amount: i64,
    pub(super) currency: String,
    pub(super) description: Value,
    pub(super) metadata: Value,
}

fn new_intent(books: &mut Books, due: &Due) -> String {
    let id = books.id("pi");
    let intent = json!({
        "id": id,
        "object": "payment_intent",
        "amount": due.amount,
        "amount_capturable": 0,
        "amount_received": 0,
        "application": null,
        "automatic_payment_methods": null,
        "canceled_at": null,
        "cancellation_reason": null,
        "capture_method": "automatic_async",
        "client_secret": format!("{id}_secret_{}", books.id("sim")),
        "confirmation_method": "automatic",
        "created": books.now(),
        "currency": due.currency,
        "customer": due.customer,
        "customer_account": null,
        "description": due.description,
        "last_payment_error": null,
        "latest_charge": null,
        "livemode": false,
        "metadata": due.metadata,
        "next_action": null,
        "payment_method": null,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "processing": null,
        "receipt_email": null,
        "setup_future_usage": null,
        "statement_descriptor": null,
        "status": "requires_payment_method",
        "transfer_group": null,
    });
    books.put("payment_intent", intent);
    books.emit("payment_intent.created", &id);
    id
}

fn new_charge(books: &mut Books, due: &Due, intent: &str, paid: bool) -> String {
    let charge = json!({
        "id": books.id("ch"),
        "object": "charge",
        "amount": due.amount,
        "amount_captured": if paid { due.amount } else { 0 },
        "amount_refunded": 0,
        "balance_transaction": if paid { json!(books.id("txn")) } else { Value::Null },
        "billing_details": {"address": null, "email": null, "name": null, "phone": null},
        "captured": paid,
        "created": books.now(),
        "currency": due.currency,
        "customer": due.customer,
        "description": due.description,
        "disputed": false,
        "failure_code": if paid { Value::Null } else { json!("card_declined") },
        "failure_message": if paid { Value::Null } else { json!("Your card was declined.") },
        "fraud_details": {},
        "livemode": false,
        "metadata": due.metadata,
        "outcome": {
            "network_status": if paid { "approved_by_network" } else { "declined_by_network" },
            "reason": if paid { Value::Null } else { json!("generic_decline") },
            "type": if paid { "authorized" } else { "issuer_declined" },
        },
        "paid": paid,
        "payment_intent": intent,
        "payment_method": null,
        "payment_method_details": {"type": "card", "card": {
            "brand": "visa", "country": "US", "exp_month": 12, "exp_year": 2034,
            "funding": "credit", "last4": if paid { "4242" } else { "0002" },
        }},
        "receipt_email": null,
        "receipt_url": null,
        "refunded": false,
        "status": if paid { "succeeded" } else { "failed" },
    });
    books.put("charge", charge)
}

/// Tries to take the money; the payment, whether it was paid or not.
pub(super) fn collect(books: &mut Books, due: &Due, good: bool) -> String {
    let intent = match &due.intent {
        Some(intent) => intent.clone(),
        None => new_intent(books, due),
    };
    let charge = new_charge(books, due, &intent, good);
    if good {
        books.set(
            &intent,
            json!({
                "status": "succeeded", "latest_charge": charge,
                "amount_received": due.amount, "last_payment_error": null,
            }),
        );
        books.emit("charge.succeeded", &charge);
        books.emit("payment_intent.succeeded", &intent);
    } else {
        books.set(
            &intent,
            json!({
                "status": "requires_payment_method", "latest_charge": charge,
                "last_payment_error": {
                    "type": "card_error", "code": "card_declined",
                    "decline_code": "generic_decline", "charge": charge,
                    "message": "Your card was declined.",
                },
            }),
        );
        books.emit("charge.failed", &charge);
        books.emit("payment_intent.payment_failed", &intent);
    }
    intent
}

/// A payment whose money comes later, or not at all.
pub(super) fn begin(books: &mut Books, due: &Due) -> String {
    let intent = match &due.intent {
        Some(intent) => intent.clone(),
        None => new_intent(books, due),
    };
    books.set(&intent, json!({"status": "processing"}));
    books.emit("payment_intent.processing", &intent);
    intent
}

pub(super) fn intents(
    books: &mut Books,
    params: &Params<'_>,
    path: &str,
) -> Result<Value, Refusal> {
    params.only(&[
        "customer",
        "limit",
        "starting_after",
        "ending_before",
        "expand",
    ])?;
    let customer = params.text("customer")?;
    books.page("payment_intent", path, params, |intent| {
        customer.is_none_or(|customer| intent["customer"] == customer)
    })
}

pub(super) fn charges(
    books: &mut Books,
    params: &Params<'_>,
    path: &str,
) -> Result<Value, Refusal> {
    params.only(&[
        "customer",
        "payment_intent",
        "limit",
        "starting_after",
        "ending_before",
        "expand",
    ])?;
    let (customer, intent) = (params.text("customer")?, params.text("payment_intent")?);
    books.page("charge", path, params, |charge| {
        customer.is_none_or(|customer| charge["customer"] == customer)
            && intent.is_none_or(|intent| charge["payment_intent"] == intent)
    })
}

/// The charge that was paid, by its own id or its payment's.
fn paid_charge(books: &Books, params: &Params<'_>) -> Result<Value, Refusal> {
    let charge = match (params.text("charge")?, params.text("payment_intent")?) {
        (Some(_), Some(_)) | (None, None) => {
            let message = "One of the following params should be provided for this request: payment_intent or charge.";
            return Err(invalid("payment_intent", message));
        }
        (Some(charge), None) => books.named("charge", charge, "charge")?,
        (None, Some(intent)) => {
            let intent = books.named("payment_intent", intent, "payment_intent")?;
            let charge = string(intent, "latest_charge");
            books.of("charge", charge).map_err(|_| {
                let message = "This PaymentIntent does not have a successful charge to refund.";
                invalid("payment_intent", message)
            })?
        }
    };
    if charge["paid"] != true {
        let message = "This charge was not paid, so it cannot be refunded.";
        return Err(invalid("charge", message));
    }
    Ok(charge.clone())
}

pub(super) fn refund(books: &mut Books, params: &Params<'_>, _: &str) -> Result<Value, Refusal> {
    params.only(&[
        "charge",
        "payment_intent",
        "amount",
        "reason",
        "metadata",
        "expand",
    ])?;
    let charge = paid_charge(books, params)?;
    let id = string(&charge, "id").to_owned();
    let left = number(&charge, "amount") - number(&charge, "amount_refunded");
    if left == 0 {
        let message = format!("Charge {id} has already been refunded.");
        return Err(Refusal::new(400, "charge_already_refunded", message));
    }
    if charge["disputed"] == true {
        let message = format!("Charge {id} has been charged back; cannot issue a refund.");
        return Err(Refusal::new(400, "charge_disputed", message));
    }
    let amount = params.within("amount", 1..=MOST)?.unwrap_or(left);
    if amount > left {
        let message = format!(
            "Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
        );
        return Err(Refusal::new(400, "amount_too_large", message).param("amount"));
    }
    let reason = params.word(
        "reason",
        &["duplicate", "fraudulent", "requested_by_customer"],
    )?;
    let refund = json!({
        "id": books.id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": books.id("txn"),
        "charge": id,
        "created": books.now(),
        "currency": charge["currency"],
        "customer": charge["customer"],
        "customer_account": null,
        "metadata": params.metadata(&Value::Null)?,
        "payment_intent": charge["payment_intent"],
        "payment_method": null,
        "reason": reason,
        "receipt_number": null,
        "source_transfer_reversal": null,
        "status": "succeeded",
        "transfer_reversal": null,
    });
    let refund = books.put("refund", refund);
    books.emit("refund.created", &refund);
    let refunded = number(&charge, "amount_refunded") + amount;
    books.update(
        &id,
        "charge.refunded",
        json!({"amount_refunded": refunded, "refunded": amount == left}),
    );
    Ok(bare(books.of("refund", &refund)?))
}

/// Lists refunds or disputes, which belong to a charge and a payment.
fn of_charge(books: &Books, kind: &str, params: &Params<'_>, path: &str) -> Result<Value, Refusal> {
    params.only(&[
        "charge",
        "payment_intent",
        "limit",
        "starting_after",
        "ending_before",
        "expand",
    ])?;
    let (charge, intent) = (params.text("charge")?, params.text("payment_intent")?);
    books.page(kind, path, params, |object| {
        charge.is_none_or(|charge| object["charge"] == charge)
            && intent.is_none_or(|intent| object["payment_intent"] == intent)
    })
}

pub(super) fn refunds(
    books: &mut Books,
    params: &Params<'_>,
    path: &str,
) -> Result<Value, Refusal> {
    of_charge(books, "refund", params, path)
}

pub(super) fn disputes(
    books: &mut Books,
    params: &Params<'_>,
    path: &str,
) -> Result<Value, Refusal> {
    of_charge(books, "dispute", params, path)
}

/// The customer's bank takes the money back for now; the dispute's id.
pub(super) fn dispute(
    books: &mut Books,
    payment: &str,
    reason: &str,
) -> Result<String, StripeError> {
    let object = books.get(payment);
    let charge = match object.map(|object| string(object, "object")) {
        Some("charge") => payment,
        Some("payment_intent") => object.map_or("", |intent| string(intent, "latest_charge")),
        _ => return Err(StripeError::new("no such charge or payment intent")),
    };
    let charge = books
        .get(charge)
        .filter(|charge| charge["paid"] == true && charge["disputed"] == false)
        .cloned()
        .ok_or_else(|| StripeError::new("the charge was not paid, or is disputed already"))?;
    let id = string(&charge, "id").to_owned();
    books.set(&id, json!({"disputed": true}));
    let dispute = json!({
        "id": books.id("du"),
        "object": "dispute",
        "amount": charge["amount"],
        "balance_transactions": [],
        "charge": id,
        "created": books.now(),
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {},
        "evidence_details": {
            "due_by": books.now() + 7 * 86_400, "has_evidence": false,
            "past_due": false, "submission_count": 0,
        },
        "is_charge_refundable": false,
        "livemode": false,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "status": "needs_response",
    });
    let dispute = books.put("dispute", dispute);
    books.emit("charge.dispute.created", &dispute);
    books.emit("charge.dispute.funds_withdrawn", &dispute);
    Ok(dispute)
}

/// Decides a dispute.
pub(super) fn decide(books: &mut Books, dispute: &str, won: bool) -> Result<(), StripeError> {
    let open = books
        .of("dispute", dispute)
        .is_ok_and(|dispute| dispute["status"] == "needs_response");
    if !open {
        return Err(StripeError::new("no such dispute, or it is closed"));
    }
    books.set(dispute, json!({"status": if won { "won" } else { "lost" }}));
    if won {
        books.emit("charge.dispute.funds_reinstated", dispute);
    }
    books.emit("charge.dispute.closed", dispute);
    Ok(())
}

/// Gives a dispute up.
pub(super) fn give_up(books: &mut Books, _: &Params<'_>, id: &str) -> Result<Value, Refusal> {
    books.of("dispute", id)?;
    decide(books, id, false).map_err(|error| Refusal::new(400, "", error.to_string()))?;
    Ok(bare(books.of("dispute", id)?))
}
