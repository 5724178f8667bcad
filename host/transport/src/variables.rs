//! Variables against their declared types, before anything runs (GraphQL specification, section 6.1.2).

use std::collections::{HashMap, HashSet};

use async_graphql::{
    Value, Variables,
    parser::types::{BaseType, InputObjectType, OperationDefinition, Type},
};

use crate::{SchemaTypes, failure::Failure};

/// An input type that has a shape; scalars of the schema's own are for the schema to read.
#[derive(Debug)]
pub(crate) enum Input {
    Enum(HashSet<String>),
    Object {
        fields: HashMap<String, InputField>,
        one_of: bool,
    },
}

#[derive(Debug)]
pub(crate) struct InputField {
    ty: Type,
    has_default: bool,
}

impl Input {
    pub(crate) fn object(object: InputObjectType, one_of: bool) -> Self {
        let fields = object.fields.into_iter().map(|field| {
            let has_default = field.node.default_value.is_some();
            (
                field.node.name.node.to_string(),
                InputField {
                    ty: field.node.ty.node,
                    has_default,
                },
            )
        });
        Self::Object {
            fields: fields.collect(),
            one_of,
        }
    }
}

/// Without the schema's types only missing variables are found.
pub(crate) fn check(
    operation: &OperationDefinition,
    variables: &Variables,
    types: Option<&SchemaTypes>,
) -> Result<(), Failure> {
    for definition in &operation.variable_definitions {
        let variable = &definition.node;
        let ty = &variable.var_type.node;
        let problem = match variables.get(&variable.name.node) {
            None if variable.default_value.is_none() && !ty.nullable => {
                Some((String::new(), required(ty)))
            }
            None => None,
            Some(Value::Null) if !ty.nullable => Some((String::new(), required(ty))),
            Some(value) => types.and_then(|types| problem(types, ty, value)),
        };
        if let Some((path, problem)) = problem {
            let message = format!("Variable \"${}{path}\": {problem}", variable.name.node);
            return Err(Failure::validation(message, Some(definition.pos)));
        }
    }
    Ok(())
}

fn required(ty: &Type) -> String {
    format!("a value of type \"{ty}\" is required")
}

/// The first problem of a value: where below it, and what.
fn problem(types: &SchemaTypes, ty: &Type, value: &Value) -> Option<(String, String)> {
    if matches!(value, Value::Null) {
        return (!ty.nullable).then(|| (String::new(), required(ty)));
    }
    let name = match (&ty.base, value) {
        (BaseType::List(item), Value::List(values)) => {
            return values.iter().enumerate().find_map(|(index, value)| {
                problem(types, item, value)
                    .map(|(path, problem)| (format!("[{index}]{path}"), problem))
            });
        }
        // One value stands for a list of one (section 3.11).
        (BaseType::List(item), value) => return problem(types, item, value),
        (BaseType::Named(name), _) => name.as_str(),
    };
    let wrong = || {
        Some((
            String::new(),
            format!("a value of type \"{ty}\" is expected"),
        ))
    };
    match (name, types.inputs.get(name)) {
        (_, Some(Input::Enum(values))) => match value {
            Value::String(text) if values.contains(text) => None,
            Value::Enum(name) if values.contains(name.as_str()) => None,
            _ => wrong(),
        },
        (_, Some(Input::Object { fields, one_of })) => {
            let Value::Object(given) = value else {
                return wrong();
            };
            if *one_of
                && (given.len() != 1 || given.values().any(|value| matches!(value, Value::Null)))
            {
                return Some((
                    String::new(),
                    "exactly one field is expected, and not null".to_owned(),
                ));
            }
            for name in given.keys() {
                if !fields.contains_key(name.as_str()) {
                    return Some((format!(".{name}"), format!("\"{ty}\" has no such field")));
                }
            }
            fields.iter().find_map(|(name, field)| {
                let problem = match given.get(name.as_str()) {
                    None if field.has_default || field.ty.nullable => None,
                    None => Some((String::new(), required(&field.ty))),
                    Some(value) => problem(types, &field.ty, value),
                };
                problem.map(|(path, problem)| (format!(".{name}{path}"), problem))
            })
        }
        ("Boolean", None) if !matches!(value, Value::Boolean(_)) => wrong(),
        ("String", None) if !matches!(value, Value::String(_)) => wrong(),
        ("Int", None) if !matches!(value, Value::Number(number) if number.is_i64() || number.is_u64()) => {
            wrong()
        }
        ("Float", None) if !matches!(value, Value::Number(_)) => wrong(),
        ("ID", None) => match value {
            Value::String(_) => None,
            Value::Number(number) if number.is_i64() || number.is_u64() => None,
            _ => wrong(),
        },
        _ => None,
    }
}
