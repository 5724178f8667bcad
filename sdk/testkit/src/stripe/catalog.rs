//! Customers, products and prices.

use serde_json::{Value, json};

use super::{
    books::{Books, bare, string},
    form::Params,
    refusals::{invalid, missing},
};
use crate::refusal::Refusal;

/// The largest amount that Stripe takes: eight digits.
pub(super) const MOST: i64 = 99_999_999;

/// Fields that the request gives, over those that there are.
fn texts(params: &Params<'_>, fields: &[&str]) -> Result<Value, Refusal> {
    let mut changes = json!({});
    for field in fields {
        if let Some(text) = params.text(field)? {
            changes[*field] = json!(text);
        }
    }
    Ok(changes)
}

/// A customer without any more.
pub(super) fn new_customer(books: &mut Books, email: Option<&str>) -> String {
    let customer = json!({
        "id": books.id("cus"),
        "object": "customer",
        "address": null,
        "balance": 0,
        "created": books.now(),
        "currency": null,
        "customer_account": null,
        "default_source": null,
        "delinquent": false,
        "description": null,
        "discount": null,
        "email": email,
        "invoice_settings": {
            "custom_fields": null, "default_payment_method": null, "footer": null,
            "rendering_options": null,
        },
        "livemode": false,
        "metadata": {},
        "name": null,
        "phone": null,
        "preferred_locales": [],
        "shipping": null,
        "tax_exempt": "none",
        "test_clock": null,
    });
    books.put("customer", customer)
}

const CUSTOMER: [&str; 7] = [
    "email",
    "name",
    "description",
    "phone",
    "metadata",
    "expand",
    "preferred_locales",
];

pub(super) fn create_customer(
    books: &mut Books,
    params: &Params<'_>,
    _: &str,
) -> Result<Value, Refusal> {
    params.only(&CUSTOMER)?;
    let mut changes = texts(params, &["email", "name", "description", "phone"])?;
    changes["metadata"] = params.metadata(&Value::Null)?;
    changes["preferred_locales"] = json!(params.texts("preferred_locales")?);
    let id = new_customer(books, None);
    books.set(&id, changes);
    books.emit("customer.created", &id);
    Ok(bare(books.of("customer", &id)?))
}

pub(super) fn change_customer(
    books: &mut Books,
    params: &Params<'_>,
    id: &str,
) -> Result<Value, Refusal> {
    params.only(&CUSTOMER)?;
    let metadata = books.of("customer", id)?["metadata"].clone();
    let mut changes = texts(params, &["email", "name", "description", "phone"])?;
    changes["metadata"] = params.metadata(&metadata)?;
    if params.has("preferred_locales") {
        changes["preferred_locales"] = json!(params.texts("preferred_locales")?);
    }
    books.update(id, "customer.updated", changes);
    Ok(bare(books.of("customer", id)?))
}

/// Removes a customer and ends what they subscribed to.
pub(super) fn remove_customer(
    books: &mut Books,
    _: &Params<'_>,
    id: &str,
) -> Result<Value, Refusal> {
    books.of("customer", id)?;
    for subscription in books.ids("subscription") {
        let mine = books
            .get(&subscription)
            .is_some_and(|subscription| subscription["customer"] == id);
        if mine {
            super::cycle::end(books, &subscription, "cancellation_requested");
        }
    }
    books.emit("customer.deleted", id);
    books.take_away("customer", id);
    Ok(json!({"id": id, "object": "customer", "deleted": true}))
}

pub(super) fn customers(
    books: &mut Books,
    params: &Params<'_>,
    path: &str,
) -> Result<Value, Refusal> {
    params.only(&[
        "email",
        "limit",
        "starting_after",
        "ending_before",
        "expand",
    ])?;
    let email = params.text("email")?;
    books.page("customer", path, params, |customer| {
        email.is_none_or(|email| customer["email"] == email)
    })
}

fn new_product(books: &mut Books, name: &str, more: Value) -> String {
    let now = books.now();
    let product = json!({
        "id": books.id("prod"),
        "object": "product",
        "active": true,
        "created": now,
        "default_price": null,
        "description": null,
        "images": [],
        "livemode": false,
        "marketing_features": [],
        "metadata": {},
        "name": name,
        "package_dimensions": null,
        "shippable": null,
        "statement_descriptor": null,
        "tax_code": null,
        "tax_details": null,
        "type": "service",
        "unit_label": null,
        "updated": now,
        "url": null,
    });
    let id = books.put("product", product);
    books.set(&id, more);
    id
}

fn product_fields(params: &Params<'_>, metadata: &Value) -> Result<Value, Refusal> {
    let mut changes = texts(params, &["name", "description", "unit_label"])?;
    changes["metadata"] = params.metadata(metadata)?;
    if let Some(active) = params.flag("active")? {
        changes["active"] = json!(active);
    }
    if params.has("images") {
        changes["images"] = json!(params.texts("images")?);
    }
    Ok(changes)
}

const PRODUCT: [&str; 7] = [
    "name",
    "description",
    "unit_label",
    "metadata",
    "active",
    "images",
    "expand",
];

pub(super) fn create_product(
    books: &mut Books,
    params: &Params<'_>,
    _: &str,
) -> Result<Value, Refusal> {
    params.only(&PRODUCT)?;
    let name = params.required("name")?;
    let more = product_fields(params, &Value::Null)?;
    let id = new_product(books, name, more);
    books.emit("product.created", &id);
    Ok(bare(books.of("product", &id)?))
}

pub(super) fn change_product(
    books: &mut Books,
    params: &Params<'_>,
    id: &str,
) -> Result<Value, Refusal> {
    params.only(&PRODUCT)?;
    let metadata = books.of("product", id)?["metadata"].clone();
    let changes = product_fields(params, &metadata)?;
    books.update(id, "product.updated", changes);
    let now = books.now();
    books.set(id, json!({"updated": now}));
    Ok(bare(books.of("product", id)?))
}

pub(super) fn products(
    books: &mut Books,
    params: &Params<'_>,
    path: &str,
) -> Result<Value, Refusal> {
    params.only(&[
        "active",
        "limit",
        "starting_after",
        "ending_before",
        "expand",
    ])?;
    let active = params.flag("active")?;
    books.page("product", path, params, |product| {
        active.is_none_or(|active| product["active"] == active)
    })
}

/// How often a price is due.
fn recurring(params: &Params<'_>) -> Result<Value, Refusal> {
    let Some(recurring) = params.child("recurring")? else {
        return Ok(Value::Null);
    };
    recurring.only(&["interval", "interval_count", "usage_type"])?;
    recurring.word("usage_type", &["licensed"])?;
    let interval = recurring.word("interval", &["day", "week", "month", "year"])?;
    let interval = interval.ok_or_else(|| missing(&recurring.name("interval")))?;
    // Up to three years.
    let most = match interval {
        "day" => 1_095,
        "week" => 156,
        "month" => 36,
        _ => 3,
    };
    Ok(json!({
        "interval": interval,
        "interval_count": recurring.within("interval_count", 1..=most)?.unwrap_or(1),
        "meter": null,
        "trial_period_days": null,
        "usage_type": "licensed",
    }))
}

/// A price by the fields of `POST /v1/prices` and of `price_data`.
pub(super) fn new_price(books: &mut Books, params: &Params<'_>) -> Result<String, Refusal> {
    let currency = params.required("currency")?.to_lowercase();
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(invalid(&params.name("currency"), "Invalid currency."));
    }
    let amount = params.within("unit_amount", 0..=MOST)?;
    let amount = amount.ok_or_else(|| missing(&params.name("unit_amount")))?;
    let recurring = recurring(params)?;
    let tax_behavior = params.word("tax_behavior", &["exclusive", "inclusive", "unspecified"])?;
    let product = match (params.text("product")?, params.child("product_data")?) {
        (Some(_), Some(_)) => {
            let message = "You may only specify one of product and product_data.";
            return Err(invalid(&params.name("product_data"), message));
        }
        (Some(id), None) => {
            books.named("product", id, &params.name("product"))?;
            id.to_owned()
        }
        (None, Some(data)) => {
            data.only(&["name", "description", "images", "metadata", "unit_label"])?;
            let name = data.required("name")?;
            let more = product_fields(&data, &Value::Null)?;
            new_product(books, name, more)
        }
        (None, None) => return Err(missing(&params.name("product"))),
    };
    let kind = if recurring.is_null() {
        "one_time"
    } else {
        "recurring"
    };
    let price = json!({
        "id": books.id("price"),
        "object": "price",
        "active": true,
        "billing_scheme": "per_unit",
        "created": books.now(),
        "currency": currency,
        "custom_unit_amount": null,
        "livemode": false,
        "lookup_key": params.text("lookup_key")?,
        "metadata": params.metadata(&Value::Null)?,
        "nickname": params.text("nickname")?,
        "product": product,
        "recurring": recurring,
        "tax_behavior": tax_behavior.unwrap_or("unspecified"),
        "tiers_mode": null,
        "transform_quantity": null,
        "type": kind,
        "unit_amount": amount,
        "unit_amount_decimal": amount.to_string(),
    });
    Ok(books.put("price", price))
}

pub(super) fn create_price(
    books: &mut Books,
    params: &Params<'_>,
    _: &str,
) -> Result<Value, Refusal> {
    params.only(&[
        "currency",
        "unit_amount",
        "product",
        "product_data",
        "recurring",
        "lookup_key",
        "metadata",
        "nickname",
        "tax_behavior",
        "expand",
    ])?;
    if let Some(key) = params.text("lookup_key")?
        && books.all("price").any(|price| price["lookup_key"] == key)
    {
        let message = format!("A price already uses that lookup key: {key}");
        return Err(invalid("lookup_key", &message));
    }
    let id = new_price(books, params)?;
    books.emit("price.created", &id);
    Ok(bare(books.of("price", &id)?))
}

pub(super) fn change_price(
    books: &mut Books,
    params: &Params<'_>,
    id: &str,
) -> Result<Value, Refusal> {
    params.only(&["active", "metadata", "nickname", "expand"])?;
    let metadata = books.of("price", id)?["metadata"].clone();
    let mut changes = texts(params, &["nickname"])?;
    changes["metadata"] = params.metadata(&metadata)?;
    if let Some(active) = params.flag("active")? {
        changes["active"] = json!(active);
    }
    books.update(id, "price.updated", changes);
    Ok(bare(books.of("price", id)?))
}

pub(super) fn prices(books: &mut Books, params: &Params<'_>, path: &str) -> Result<Value, Refusal> {
    params.only(&[
        "active",
        "product",
        "currency",
        "type",
        "lookup_keys",
        "limit",
        "starting_after",
        "ending_before",
        "expand",
    ])?;
    let active = params.flag("active")?;
    let (product, currency) = (params.text("product")?, params.text("currency")?);
    let kind = params.word("type", &["one_time", "recurring"])?;
    let keys = params.texts("lookup_keys")?;
    books.page("price", path, params, |price| {
        active.is_none_or(|active| price["active"] == active)
            && product.is_none_or(|product| price["product"] == product)
            && currency.is_none_or(|currency| price["currency"] == currency)
            && kind.is_none_or(|kind| price["type"] == kind)
            && (keys.is_empty() || keys.iter().any(|key| key == string(price, "lookup_key")))
    })
}
