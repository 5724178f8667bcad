//! JSON that satisfies a schema.

use serde_json::{Map, Value, json};

use super::{
    brief::{Brief, Language},
    prose,
};

/// Deepest nesting that is followed.
const DEPTH: usize = 24;

/// Where in the answer a value stands.
#[derive(Clone, Copy)]
struct Place<'name> {
    name: &'name str,
    /// Index and number of the items of the nearest list of scenes.
    scene: Option<(usize, usize)>,
    /// Index in the nearest list.
    index: usize,
    depth: usize,
}

/// An instance of the schema that talks about the brief.
pub(super) fn fill(schema: &Value, brief: &Brief) -> Value {
    let place = Place {
        name: "",
        scene: None,
        index: 0,
        depth: 0,
    };
    value(schema, schema, brief, place)
}

fn value(schema: &Value, root: &Value, brief: &Brief, place: Place<'_>) -> Value {
    if place.depth > DEPTH {
        return Value::Null;
    }
    let deeper = Place {
        depth: place.depth + 1,
        ..place
    };
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let target = target
            .strip_prefix('#')
            .and_then(|pointer| root.pointer(pointer));
        return target.map_or(Value::Null, |target| value(target, root, brief, deeper));
    }
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
        return choose(choices, brief, place);
    }
    for word in ["anyOf", "oneOf"] {
        if let Some(choices) = schema.get(word).and_then(Value::as_array) {
            let is_null = |choice: &&Value| choice.get("type").is_some_and(|kind| kind == "null");
            let choice = choices
                .iter()
                .find(|choice| !is_null(choice))
                .or(choices.first());
            return choice.map_or(Value::Null, |choice| value(choice, root, brief, deeper));
        }
    }
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        let mut whole = Map::new();
        for part in parts {
            match value(part, root, brief, deeper) {
                Value::Object(fields) => whole.extend(fields),
                other => return other,
            }
        }
        return Value::Object(whole);
    }
    match kind(schema) {
        "object" => object(schema, root, brief, deeper),
        "array" => array(schema, root, brief, deeper),
        "string" => Value::String(string(schema, brief, place)),
        "integer" => number(schema, brief, place, true),
        "number" => number(schema, brief, place, false),
        "boolean" => Value::Bool(true),
        _ => Value::Null,
    }
}

/// The schema's type; of several the first that is not `null`.
fn kind(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => kinds
            .iter()
            .filter_map(Value::as_str)
            .find(|kind| *kind != "null")
            .unwrap_or("null"),
        _ if schema.get("properties").is_some() => "object",
        _ if schema.get("items").is_some() => "array",
        _ => "string",
    }
}

fn choose(choices: &[Value], brief: &Brief, place: Place<'_>) -> Value {
    if place.name.contains("lang") {
        let wanted = match brief.language {
            Language::English => "en",
            Language::Chinese => "zh",
        };
        let fits = |choice: &&Value| choice.as_str().is_some_and(|word| word.starts_with(wanted));
        if let Some(choice) = choices.iter().find(fits) {
            return choice.clone();
        }
    }
    let useful: Vec<&Value> = choices.iter().filter(|choice| !choice.is_null()).collect();
    match useful.is_empty() {
        true => Value::Null,
        // Scenes take the choices in turn.
        false => useful[place.index % useful.len()].clone(),
    }
}

fn object(schema: &Value, root: &Value, brief: &Brief, place: Place<'_>) -> Value {
    let mut fields = Map::new();
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            let inside = Place { name, ..place };
            fields.insert(name.clone(), value(property, root, brief, inside));
        }
    }
    Value::Object(fields)
}

fn limit(schema: &Value, name: &str) -> Option<usize> {
    schema
        .get(name)
        .and_then(Value::as_u64)
        .and_then(|limit| usize::try_from(limit).ok())
}

fn array(schema: &Value, root: &Value, brief: &Brief, place: Place<'_>) -> Value {
    let lower = place.name.to_lowercase();
    let scenes = ["scene", "shot", "segment", "beat", "part"];
    let is_scenes = scenes.iter().any(|word| lower.contains(word));
    let wanted = if is_scenes { prose::scenes(brief) } else { 3 };
    let least = limit(schema, "minItems").unwrap_or(0).min(1_000);
    let most = limit(schema, "maxItems").unwrap_or(usize::MAX).max(least);
    let count = wanted.clamp(least, most);
    let items = schema
        .get("items")
        .cloned()
        .unwrap_or_else(|| json!({"type": "string"}));
    let list = (0..count)
        .map(|index| {
            let inside = Place {
                index,
                scene: if is_scenes {
                    Some((index, count))
                } else {
                    place.scene
                },
                ..place
            };
            value(&items, root, brief, inside)
        })
        .collect();
    Value::Array(list)
}

fn string(schema: &Value, brief: &Brief, place: Place<'_>) -> String {
    match schema.get("format").and_then(Value::as_str) {
        Some("date") => return "2026-01-15".into(),
        Some("date-time") => return "2026-01-15T09:00:00Z".into(),
        Some("uri" | "url") => return "https://example.com/".into(),
        Some("email") => return "hello@example.com".into(),
        Some("uuid") => return "00000000-0000-4000-8000-000000000000".into(),
        _ => {}
    }
    let text = words(brief, place);
    let least = limit(schema, "minLength").unwrap_or(0).min(100_000);
    let most = limit(schema, "maxLength").unwrap_or(usize::MAX);
    let mut text: String = text.chars().take(most).collect();
    let mut length = text.chars().count();
    while length < least {
        text.push('.');
        length += 1;
    }
    text
}

fn words(brief: &Brief, place: Place<'_>) -> String {
    let name = place.name.to_lowercase();
    let has = |list: &[&str]| list.iter().any(|word| name.contains(word));
    if has(&["lang", "locale"]) {
        return match brief.language {
            Language::English => "en".into(),
            Language::Chinese => "zh-CN".into(),
        };
    }
    if has(&["hashtag", "tag", "keyword"]) {
        return prose::tag(brief, place.index);
    }
    if has(&["title", "headline", "name"]) && place.scene.is_none() {
        return prose::title(brief);
    }
    if has(&["call_to_action", "calltoaction", "cta"]) {
        return prose::call_to_action(brief);
    }
    if has(&["hook", "opening"]) {
        return prose::hook(brief);
    }
    if has(&[
        "visual",
        "prompt",
        "image",
        "picture",
        "camera",
        "action",
        "shot",
        "description",
    ]) {
        let (index, count) = place.scene.unwrap_or((0, 1));
        return prose::visual(brief, index, count);
    }
    let spoken = [
        "narration",
        "script",
        "voice",
        "text",
        "line",
        "dialog",
        "speech",
        "content",
        "body",
        "say",
    ];
    if has(&spoken) {
        return match place.scene {
            Some((index, count)) => prose::line(brief, index, count),
            None => prose::narration(brief, brief.seconds),
        };
    }
    match place.scene {
        // A list of bare texts, such as `scenes: string[]`.
        Some((index, count)) if has(&["scene", "segment", "beat", "part"]) => {
            prose::line(brief, index, count)
        }
        _ => prose::other(brief, place.name),
    }
}

fn number(schema: &Value, brief: &Brief, place: Place<'_>, whole: bool) -> Value {
    let name = place.name.to_lowercase();
    let has = |list: &[&str]| list.iter().any(|word| name.contains(word));
    let scale = if has(&["ms", "milli"]) { 1_000.0 } else { 1.0 };
    let is_time = has(&["second", "duration", "length", "time", "_ms"]);
    let index = f64::from(u32::try_from(place.index).unwrap_or(0));
    let wanted = match place.scene {
        Some((scene, count)) if is_time => {
            let line = prose::line(brief, scene, count);
            let spoken = crate::media::Timeline::of(&line, 1.0).seconds;
            // Scenes last as long as their words, and no longer together than asked for.
            let share = f64::from(brief.seconds) / f64::from(u32::try_from(count).unwrap_or(1));
            spoken.min(share).max(1.0) * scale
        }
        None if is_time => f64::from(brief.seconds) * scale,
        _ => index + 1.0,
    };
    let get = |name: &str| schema.get(name).and_then(Value::as_f64);
    let step = if whole { 1.0 } else { 0.1 };
    let low = get("minimum").or(get("exclusiveMinimum").map(|low| low + step));
    let high = get("maximum").or(get("exclusiveMaximum").map(|high| high - step));
    let mut wanted = if whole {
        wanted.round()
    } else {
        (wanted * 10.0).round() / 10.0
    };
    if let Some(multiple) = get("multipleOf").filter(|multiple| *multiple > 0.0) {
        wanted = (wanted / multiple).ceil() * multiple;
    }
    if let Some(high) = high {
        wanted = wanted.min(if whole { high.floor() } else { high });
    }
    if let Some(low) = low {
        wanted = wanted.max(if whole { low.ceil() } else { low });
    }
    if whole {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "bounded by the schema or small"
        )]
        let whole = wanted as i64;
        return json!(whole);
    }
    json!(wanted)
}

/// Why a schema may not be used with `strict`: every object needs
/// `additionalProperties: false` and all of its properties in `required`, and the root must
/// be an object.
pub(crate) fn strict_problem(schema: &Value) -> Option<String> {
    if schema.get("type").is_none_or(|kind| kind != "object") {
        return Some("schema must be a JSON Schema of 'type: \"object\"'".into());
    }
    strict_inside(schema, "", 0)
}

fn strict_inside(schema: &Value, context: &str, depth: usize) -> Option<String> {
    if depth > DEPTH {
        return None;
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            return Some(format!(
                "In context=({context}), 'additionalProperties' is required to be supplied and \
                 to be false."
            ));
        }
        let required = schema.get("required").and_then(Value::as_array);
        for (name, property) in properties {
            let listed = required.is_some_and(|names| names.iter().any(|other| other == name));
            if !listed {
                return Some(format!(
                    "In context=({context}), 'required' is required to be supplied and to be an \
                     array including every key in properties. Missing '{name}'."
                ));
            }
            let inside = format!("{context}'properties', '{name}'");
            if let Some(problem) = strict_inside(property, &inside, depth + 1) {
                return Some(problem);
            }
        }
    }
    if let Some(items) = schema.get("items") {
        return strict_inside(items, &format!("{context}'items'"), depth + 1);
    }
    for word in ["anyOf", "$defs", "definitions"] {
        let parts: Vec<&Value> = match schema.get(word) {
            Some(Value::Array(parts)) => parts.iter().collect(),
            Some(Value::Object(parts)) => parts.values().collect(),
            _ => continue,
        };
        let inside = format!("{context}'{word}'");
        let problem = parts
            .into_iter()
            .find_map(|part| strict_inside(part, &inside, depth + 1));
        if problem.is_some() {
            return problem;
        }
    }
    None
}
