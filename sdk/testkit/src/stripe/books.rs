//! What the account holds: its objects, its events and its time.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use serde_json::{Map, Value, json};

use super::{
    API_VERSION,
    form::Params,
    hooks::Hooks,
    refusals::{absent, invalid, unknown},
};
use crate::{desk::Desk, refusal::Refusal};

/// Newest events that are kept.
const KEPT_EVENTS: usize = 10_000;
/// Levels that `expand` follows.
const EXPAND_DEPTH: usize = 4;

/// The first answer to an idempotency key.
pub(super) struct Replay {
    pub(super) path: String,
    pub(super) params: Value,
    pub(super) at: i64,
    pub(super) answer: Result<Value, Refusal>,
}

/// One account. Objects are kept as they are shown; names that begin with `_` are the
/// simulator's own and never leave it.
pub(super) struct Books {
    desk: Arc<Desk>,
    /// Where the simulator listens: its pages lie there.
    pub(super) url: Arc<str>,
    objects: HashMap<String, Value>,
    shelves: BTreeMap<&'static str, Vec<String>>,
    events: VecDeque<String>,
    /// Seconds between the real time and the account's.
    ahead: i64,
    /// The moment at which something falls due, while that is dealt with.
    moment: Option<i64>,
    /// Id and idempotency key of the request that is being dealt with.
    pub(super) request: Option<(String, Option<String>)>,
    pub(super) replays: HashMap<String, Replay>,
    pub(super) hooks: Hooks,
    pub(super) invoices: u64,
}

impl Books {
    pub(super) fn new(desk: Arc<Desk>, url: Arc<str>) -> Self {
        Self {
            hooks: Hooks::new(desk.clone()),
            desk,
            url,
            objects: HashMap::new(),
            shelves: BTreeMap::new(),
            events: VecDeque::new(),
            ahead: 0,
            moment: None,
            request: None,
            replays: HashMap::new(),
            invoices: 0,
        }
    }

    /// The account's time, seconds since 1970.
    pub(super) fn now(&self) -> i64 {
        self.moment
            .unwrap_or_else(|| chrono::Utc::now().timestamp() + self.ahead)
    }

    pub(super) fn go_ahead(&mut self, seconds: i64) {
        self.ahead += seconds;
    }

    /// Does something at its own moment.
    pub(super) fn at(&mut self, moment: i64, deed: impl FnOnce(&mut Self)) {
        let before = self.moment.replace(moment);
        deed(self);
        self.moment = before;
    }

    pub(super) fn id(&self, prefix: &str) -> String {
        format!("{prefix}_{}", self.desk.token(24))
    }

    /// Keeps a new object.
    pub(super) fn put(&mut self, kind: &'static str, object: Value) -> String {
        let id = string(&object, "id").to_owned();
        self.shelves.entry(kind).or_default().push(id.clone());
        self.objects.insert(id.clone(), object);
        id
    }

    pub(super) fn take_away(&mut self, kind: &'static str, id: &str) {
        self.objects.remove(id);
        if let Some(shelf) = self.shelves.get_mut(kind) {
            shelf.retain(|kept| kept != id);
        }
    }

    pub(super) fn get(&self, id: &str) -> Option<&Value> {
        self.objects.get(id)
    }

    /// An object of that kind; the kind is what its `object` says.
    pub(super) fn of(&self, kind: &str, id: &str) -> Result<&Value, Refusal> {
        let object = self.get(id).filter(|object| object["object"] == kind);
        object.ok_or_else(|| absent(kind, id))
    }

    /// An object that a parameter names.
    pub(super) fn named(&self, kind: &str, id: &str, param: &str) -> Result<&Value, Refusal> {
        self.of(kind, id).map_err(|_| unknown(kind, id, param))
    }

    /// All of a kind, oldest first.
    pub(super) fn all(&self, kind: &str) -> impl DoubleEndedIterator<Item = &Value> {
        let shelf = self.shelves.get(kind).map_or(&[][..], Vec::as_slice);
        shelf.iter().filter_map(|id| self.objects.get(id))
    }

    pub(super) fn ids(&self, kind: &str) -> Vec<String> {
        self.shelves.get(kind).cloned().unwrap_or_default()
    }

    /// Sets fields without an event; what they were before, those that differ.
    pub(super) fn set(&mut self, id: &str, changes: Value) -> Map<String, Value> {
        let mut previous = Map::new();
        let (Some(Value::Object(object)), Value::Object(changes)) =
            (self.objects.get_mut(id), changes)
        else {
            return previous;
        };
        for (name, value) in changes {
            let before = object.insert(name.clone(), value.clone());
            let before = before.unwrap_or(Value::Null);
            if before != value && !name.starts_with('_') {
                previous.insert(name, before);
            }
        }
        previous
    }

    /// Sets fields, and tells it when one is another than before.
    pub(super) fn update(&mut self, id: &str, event: &str, changes: Value) {
        let previous = self.set(id, changes);
        if !previous.is_empty() {
            self.tell(event, id, Some(Value::Object(previous)));
        }
    }

    /// An event with the object as it is now.
    pub(super) fn emit(&mut self, event: &str, id: &str) {
        self.tell(event, id, None);
    }

    fn tell(&mut self, kind: &str, id: &str, previous: Option<Value>) {
        let mut data = json!({"object": self.get(id).map_or(Value::Null, bare)});
        if let Some(previous) = previous {
            data["previous_attributes"] = previous;
        }
        let request = self.request.as_ref();
        let event = json!({
            "id": self.id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now(),
            "data": data,
            "livemode": false,
            "pending_webhooks": self.hooks.listeners(kind),
            "request": {
                "id": request.map(|(id, _)| id),
                "idempotency_key": request.and_then(|(_, key)| key.clone()),
            },
            "type": kind,
        });
        self.hooks.post(&event);
        let id = self.put("event", event);
        self.events.push_back(id);
        if self.events.len() > KEPT_EVENTS
            && let Some(oldest) = self.events.pop_front()
        {
            self.take_away("event", &oldest);
        }
    }

    /// A page of a list, newest first.
    pub(super) fn page(
        &self,
        kind: &str,
        path: &str,
        params: &Params<'_>,
        keep: impl Fn(&Value) -> bool,
    ) -> Result<Value, Refusal> {
        let limit = params.within("limit", 1..=100)?.unwrap_or(10);
        let limit = usize::try_from(limit).unwrap_or(10);
        let all: Vec<&Value> = self.all(kind).rev().filter(|object| keep(object)).collect();
        let place = |field: &str| -> Result<Option<usize>, Refusal> {
            let Some(id) = params.text(field)? else {
                return Ok(None);
            };
            let place = all.iter().position(|object| object["id"] == id);
            place.map(Some).ok_or_else(|| unknown(kind, id, field))
        };
        let (after, before) = (place("starting_after")?, place("ending_before")?);
        let (from, to) = match (after, before) {
            (Some(_), Some(_)) => {
                let message = "You cannot use both starting_after and ending_before.";
                return Err(invalid("ending_before", message));
            }
            (Some(after), None) => (after + 1, all.len().min(after + 1 + limit)),
            (None, Some(before)) => (before.saturating_sub(limit), before),
            (None, None) => (0, all.len().min(limit)),
        };
        let has_more = if before.is_some() {
            from > 0
        } else {
            to < all.len()
        };
        let data: Vec<Value> = all[from..to].iter().map(|object| bare(object)).collect();
        Ok(json!({"object": "list", "data": data, "has_more": has_more, "url": path}))
    }

    /// Puts whole objects in the place of their ids, as `expand[]` asks.
    pub(super) fn expand(&self, mut shown: Value, wanted: &[String]) -> Result<Value, Refusal> {
        for path in wanted {
            let names: Vec<&str> = path.split('.').collect();
            if names.len() > EXPAND_DEPTH || !self.expand_one(&mut shown, &names) {
                let message = format!("This property cannot be expanded ({path}).");
                return Err(invalid("expand", &message));
            }
        }
        Ok(shown)
    }

    /// False when there is no such property.
    fn expand_one(&self, target: &mut Value, names: &[&str]) -> bool {
        let Some((name, rest)) = names.split_first() else {
            return true;
        };
        if let Value::Array(items) = target {
            return items.iter_mut().all(|item| self.expand_one(item, names));
        }
        if let Some(list) = self.left_out(target, name) {
            target[*name] = list;
        }
        let Some(value) = target.get_mut(*name) else {
            return false;
        };
        match value {
            Value::String(id) => match self.get(id) {
                Some(object) => *value = bare(object),
                None => return false,
            },
            Value::Null => return true,
            _ => {}
        }
        self.expand_one(value, rest)
    }

    /// Lists that are shown only when they are asked for.
    fn left_out(&self, target: &Value, name: &str) -> Option<Value> {
        let id = string(target, "id");
        let data: Vec<Value> = match (string(target, "object"), name) {
            ("checkout.session", "line_items") => lines(self.get(id)?),
            ("invoice", "payments") => self.belonging("invoice_payment", "invoice", id),
            ("charge", "refunds") => self.belonging("refund", "charge", id),
            ("customer", "subscriptions") => self.belonging("subscription", "customer", id),
            _ => return None,
        };
        Some(json!({"object": "list", "data": data, "has_more": false, "url": ""}))
    }

    fn belonging(&self, kind: &str, field: &str, id: &str) -> Vec<Value> {
        let mine = |object: &&Value| object[field] == id;
        self.all(kind).rev().filter(mine).map(bare).collect()
    }
}

/// The items that a checkout session sells.
pub(super) fn lines(session: &Value) -> Vec<Value> {
    let lines = session["_lines"].as_array();
    lines.cloned().unwrap_or_default()
}

/// An object without the simulator's own fields.
pub(super) fn bare(object: &Value) -> Value {
    match object {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !name.starts_with('_'))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        other => other.clone(),
    }
}

/// A text field; empty when there is none.
pub(super) fn string<'value>(object: &'value Value, name: &str) -> &'value str {
    object[name].as_str().unwrap_or_default()
}

/// A number; 0 when there is none.
pub(super) fn number(object: &Value, name: &str) -> i64 {
    object[name].as_i64().unwrap_or_default()
}
