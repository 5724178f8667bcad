//! Puts `null` where a field failed.
//!
//! async-graphql 7.2 leaves a failed field out of its parent and never gives the parent up
//! (`src/resolver_utils/container.rs`, `do_resolve_container`). A client expects `null` for a nullable field, and for a
//! non-null one that the nearest nullable parent is `null` (GraphQL specification, section 6.4.4). Only responses with
//! errors are looked at.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{
    Name, PathSegment, Response, Value,
    indexmap::IndexMap,
    parser::{
        parse_schema,
        types::{
            BaseType, ExecutableDocument, OperationType, Selection, SelectionSet, Type, TypeKind,
            TypeSystemDefinition,
        },
    },
};

use crate::{documents::Document, variables::Input};

/// The types of a schema's fields and inputs, for [`Options::types`](crate::Options::types).
#[derive(Debug)]
pub struct SchemaTypes {
    query: String,
    mutation: String,
    subscription: String,
    fields: HashMap<String, HashMap<String, Type>>,
    pub(crate) inputs: HashMap<String, Input>,
}

/// The text is no schema.
#[derive(Debug, thiserror::Error)]
#[error("the schema text does not parse: {0}")]
pub struct SchemaTextError(String);

impl SchemaTypes {
    /// From a schema in its own language, as `Schema::sdl` gives it.
    ///
    /// # Errors
    /// When the text does not parse.
    pub fn from_sdl(text: &str) -> Result<Arc<Self>, SchemaTextError> {
        let document = parse_schema(text).map_err(|error| SchemaTextError(error.to_string()))?;
        let mut types = Self {
            query: "Query".to_owned(),
            mutation: "Mutation".to_owned(),
            subscription: "Subscription".to_owned(),
            fields: HashMap::new(),
            inputs: HashMap::new(),
        };
        for definition in document.definitions {
            match definition {
                TypeSystemDefinition::Schema(schema) => {
                    let name = |root: Option<async_graphql::Positioned<Name>>, otherwise: &str| {
                        root.map_or_else(|| otherwise.to_owned(), |name| name.node.to_string())
                    };
                    types.query = name(schema.node.query, "Query");
                    types.mutation = name(schema.node.mutation, "Mutation");
                    types.subscription = name(schema.node.subscription, "Subscription");
                }
                TypeSystemDefinition::Type(definition) => {
                    let name = definition.node.name.node.to_string();
                    let one_of = definition
                        .node
                        .directives
                        .iter()
                        .any(|each| each.node.name.node == "oneOf");
                    let fields = match definition.node.kind {
                        TypeKind::Object(object) => object.fields,
                        TypeKind::Interface(interface) => interface.fields,
                        TypeKind::InputObject(object) => {
                            types.inputs.insert(name, Input::object(object, one_of));
                            continue;
                        }
                        TypeKind::Enum(values) => {
                            let values = values
                                .values
                                .iter()
                                .map(|value| value.node.value.node.to_string());
                            types.inputs.insert(name, Input::Enum(values.collect()));
                            continue;
                        }
                        TypeKind::Scalar | TypeKind::Union(_) => continue,
                    };
                    let entry = types.fields.entry(name).or_default();
                    for field in fields {
                        entry.insert(field.node.name.node.to_string(), field.node.ty.node);
                    }
                }
                TypeSystemDefinition::Directive(_) => {}
            }
        }
        Ok(Arc::new(types))
    }

    fn root(&self, kind: OperationType) -> &str {
        match kind {
            OperationType::Query => &self.query,
            OperationType::Mutation => &self.mutation,
            OperationType::Subscription => &self.subscription,
        }
    }
}

/// What one operation's responses are held against.
pub(crate) struct Expected {
    pub(crate) document: Arc<Document>,
    pub(crate) operation: Option<String>,
    /// Without it every field counts as nullable.
    pub(crate) types: Option<Arc<SchemaTypes>>,
}

impl Expected {
    /// Corrects `data` for every error with a path.
    pub(crate) fn correct(&self, response: &mut Response) {
        let Ok(operation) = self.document.operation(self.operation.as_deref()) else {
            return;
        };
        let root = self
            .types
            .as_ref()
            .map_or("", |types| types.root(operation.ty));
        let walk = Walk {
            document: &self.document.parsed,
            types: self.types.as_deref(),
        };
        let sets = [(root, &operation.selection_set.node)];
        // First every failed field gets its null, then the non-null ones take their parents with them: in one pass a
        // later error could fill a parent again that an earlier one had given up.
        for error in response
            .errors
            .iter()
            .filter(|error| !error.path.is_empty())
        {
            walk.object(&mut response.data, &sets, &error.path, Pass::Fill);
        }
        for error in response
            .errors
            .iter()
            .filter(|error| !error.path.is_empty())
        {
            if walk.object(&mut response.data, &sets, &error.path, Pass::GiveUp) {
                response.data = Value::Null;
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Fill,
    GiveUp,
}

/// Selections that apply to one object, each with the type that it is written against.
type Sets<'a> = [(&'a str, &'a SelectionSet)];

struct Walk<'a> {
    document: &'a ExecutableDocument,
    types: Option<&'a SchemaTypes>,
}

impl<'a> Walk<'a> {
    /// Follows a path that starts at an object. Says whether the object itself must become `null`.
    fn object(&self, value: &mut Value, sets: &Sets<'a>, path: &[PathSegment], pass: Pass) -> bool {
        let [PathSegment::Field(key), rest @ ..] = path else {
            return false;
        };
        let mut ty: Option<&'a Type> = None;
        let mut inner: Vec<(&'a str, &'a SelectionSet)> = Vec::new();
        for (parent, set) in sets {
            self.find(parent, set, key, &mut ty, &mut inner);
        }
        if pass == Pass::Fill && matches!(value, Value::Null) {
            // An object all of whose fields failed.
            *value = Value::Object(IndexMap::new());
        }
        let Value::Object(fields) = value else {
            return false;
        };
        let key = Name::new(key);
        match pass {
            Pass::Fill => {
                let field = fields.entry(key).or_insert(Value::Null);
                if !rest.is_empty() {
                    self.inside(field, ty, &inner, rest, pass);
                }
                false
            }
            Pass::GiveUp => {
                let Some(field) = fields.get_mut(&key) else {
                    return false;
                };
                let failed = match rest {
                    [] => true,
                    _ if matches!(field, Value::Null) => return false,
                    _ => self.inside(field, ty, &inner, rest, pass),
                };
                if !failed {
                    return false;
                }
                *field = Value::Null;
                ty.is_some_and(|ty| !ty.nullable)
            }
        }
    }

    /// Follows a path inside a field's value. Says whether the whole value must become `null`.
    fn inside(
        &self,
        value: &mut Value,
        ty: Option<&'a Type>,
        sets: &Sets<'a>,
        path: &[PathSegment],
        pass: Pass,
    ) -> bool {
        let [PathSegment::Index(index), rest @ ..] = path else {
            return self.object(value, sets, path, pass);
        };
        let Value::List(items) = value else {
            return false;
        };
        let Some(item) = items.get_mut(*index) else {
            return false;
        };
        let item_type = match ty.map(|ty| &ty.base) {
            Some(BaseType::List(item)) => Some(&**item),
            _ => None,
        };
        let failed = if rest.is_empty() {
            matches!(item, Value::Null)
        } else {
            self.inside(item, item_type, sets, rest, pass)
        };
        if !failed || pass == Pass::Fill {
            return false;
        }
        *item = Value::Null;
        item_type.is_some_and(|ty| !ty.nullable)
    }

    /// Collects what a response key means in a selection set and the fragments it spreads.
    fn find(
        &self,
        parent: &'a str,
        set: &'a SelectionSet,
        key: &str,
        ty: &mut Option<&'a Type>,
        inner: &mut Vec<(&'a str, &'a SelectionSet)>,
    ) {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) if field.node.response_key().node == key => {
                    let found = self
                        .types
                        .and_then(|types| types.fields.get(parent))
                        .and_then(|fields| fields.get(field.node.name.node.as_str()));
                    *ty = ty.or(found);
                    let name = found.map_or("", |found| named(found));
                    inner.push((name, &field.node.selection_set.node));
                }
                Selection::Field(_) => {}
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.node.type_condition.as_ref();
                    let parent =
                        condition.map_or(parent, |condition| condition.node.on.node.as_str());
                    self.find(parent, &fragment.node.selection_set.node, key, ty, inner);
                }
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) =
                        self.document.fragments.get(&spread.node.fragment_name.node)
                    {
                        let parent = fragment.node.type_condition.node.on.node.as_str();
                        self.find(parent, &fragment.node.selection_set.node, key, ty, inner);
                    }
                }
            }
        }
    }
}

fn named(ty: &Type) -> &str {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(item) => named(item),
    }
}
