//! The schema as the server tells it, and documents that ask for all of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::client::Client;

const TYPE: &str = "kind name ofType { kind name ofType { kind name ofType { kind name } } }";

/// Arguments that a field cannot do without.
const NEEDED: [(&str, &str); 1] = [("Provider.optionsSchema", "(kind: VIDEO)")];

/// The types by name.
pub(super) struct Shape(BTreeMap<String, Value>);

impl Shape {
    pub(super) async fn of(client: &Client) -> Self {
        let query = format!(
            "{{ __schema {{ types {{ kind name interfaces {{ name }} possibleTypes {{ name }}
                fields(includeDeprecated: true) {{ name type {{ {TYPE} }}
                    args {{ name type {{ {TYPE} }} }} }} }} }} }}"
        );
        let data = client.ask(&query, json!({})).await;
        let types = data["__schema"]["types"].as_array().expect("types");
        let named = |kind: &Value| (text(kind, "name").to_owned(), kind.clone());
        Self(types.iter().map(named).collect())
    }

    /// The fields of a type.
    pub(super) fn fields(&self, name: &str) -> Vec<String> {
        let all = self.fields_of(name);
        all.map(|field| text(field, "name").to_owned()).collect()
    }

    fn fields_of(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.0[name]["fields"].as_array().into_iter().flatten()
    }

    /// Every field of every object that can be met, but those of problems, which tell only about
    /// the request, and those of subscriptions, which cannot be asked for.
    pub(super) fn all_fields(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for (name, kind) in &self.0 {
            let mut interfaces = kind["interfaces"].as_array().into_iter().flatten();
            let is_problem =
                interfaces.any(|one| one["name"] == "Problem") || name == "FieldProblem";
            let is_own = name.starts_with("__") || name == "Subscription";
            if kind["kind"] == "OBJECT" && !is_problem && !is_own {
                all.extend(
                    self.fields(name)
                        .iter()
                        .map(|field| format!("{name}.{field}")),
                );
            }
        }
        all
    }

    /// A document that asks for all of a root field.
    pub(super) fn query(&self, field: &str, arguments: &str) -> String {
        let body = self.body("Query", field);
        format!("{{ {field}{arguments} {body} }}")
    }

    /// A document with a mutation that asks for all of its result.
    pub(super) fn mutation(&self, field: &str) -> String {
        let mut fields = self.fields_of("Mutation");
        let own = fields.find(|one| one["name"] == field).expect("a field");
        let body = self.body("Mutation", field);
        if own["args"][0].is_null() {
            return format!("mutation {{ {field} {body} }}");
        }
        let input = base(&own["args"][0]["type"]);
        format!("mutation($input: {input}!) {{ {field}(input: $input) {body} }}")
    }

    fn body(&self, root: &str, field: &str) -> String {
        let mut fields = self.fields_of(root);
        let field = fields.find(|one| one["name"] == field).expect("a field");
        self.select(&base(&field["type"]), &mut BTreeSet::new())
    }

    /// Everything of a type; each type once in a document.
    fn select(&self, name: &str, seen: &mut BTreeSet<String>) -> String {
        match text(&self.0[name], "kind") {
            "UNION" | "INTERFACE" => {
                let members = self.0[name]["possibleTypes"].as_array().expect("members");
                let mut body = "{ __typename".to_owned();
                if members.iter().any(|one| one["name"] == "NotFoundProblem")
                    || members
                        .iter()
                        .any(|one| one["name"] == "InvalidInputProblem")
                {
                    body += " ... on Problem { code message path }";
                }
                for member in members {
                    let member = text(member, "name");
                    if !member.ends_with("Problem") {
                        body += &format!(" ... on {member} {}", self.select(member, seen));
                    }
                }
                body + " }"
            }
            "OBJECT" => {
                if !seen.insert(name.to_owned()) {
                    return "{ __typename }".to_owned();
                }
                let mut body = "{ __typename".to_owned();
                for field in self.fields_of(name) {
                    let own = text(field, "name");
                    body += &format!(" {own}{}", arguments(name, field));
                    body += &self.select(&base(&field["type"]), seen);
                }
                body + " }"
            }
            _ => String::new(),
        }
    }

    /// Notes which fields an answer holds.
    pub(super) fn walk(&self, name: &str, value: &Value, reached: &mut BTreeSet<String>) {
        match value {
            Value::Array(all) => all.iter().for_each(|one| self.walk(name, one, reached)),
            Value::Object(all) => {
                let told = all.get("__typename").and_then(Value::as_str);
                let name = told.unwrap_or(name);
                if text(&self.0[name], "kind") != "OBJECT" {
                    return;
                }
                for field in self.fields_of(name) {
                    let own = text(field, "name");
                    if let Some(value) = all.get(own) {
                        reached.insert(format!("{name}.{own}"));
                        self.walk(&base(&field["type"]), value, reached);
                    }
                }
            }
            _ => {}
        }
    }
}

fn arguments(name: &str, field: &Value) -> String {
    let own = format!("{name}.{}", text(field, "name"));
    if let Some((_, needed)) = NEEDED.iter().find(|(known, _)| *known == own) {
        return (*needed).to_owned();
    }
    let mut all = field["args"].as_array().into_iter().flatten();
    let pages = all.any(|one| one["name"] == "first");
    if pages { "(first: 2)" } else { "" }.to_owned()
}

/// The name of a type without its lists and exclamation marks.
fn base(kind: &Value) -> String {
    match kind["name"].as_str() {
        Some(name) => name.to_owned(),
        None => base(&kind["ofType"]),
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}
