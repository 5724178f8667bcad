//! From parameters to an async-graphql request that is ready to run.

use std::sync::Arc;

use async_graphql::{Request, Value, parser::types::OperationType};

use crate::{
    Identity, RequestId,
    documents::Documents,
    failure::Failure,
    nulls::{Expected, SchemaTypes},
    parameters::Parameters,
};

/// A request whose document is parsed, within the limits, and has the named operation and its required variables.
pub(crate) struct Prepared {
    pub(crate) request: Request,
    pub(crate) kind: OperationType,
    pub(crate) expected: Expected,
}

pub(crate) fn prepare(
    documents: &Documents,
    types: Option<&Arc<SchemaTypes>>,
    parameters: Parameters,
    identity: &Identity,
    request_id: &RequestId,
) -> Result<Prepared, Failure> {
    let extensions = parameters.extensions.unwrap_or_default();
    let document = documents.find(
        parameters.query.as_deref(),
        extensions.get("persistedQuery"),
    )?;
    let operation = document.operation(parameters.operation_name.as_deref())?;
    let kind = operation.ty;
    // A missing variable is a request error (GraphQL specification, section 6.1.2); async-graphql would only notice
    // where a field uses it.
    for definition in &operation.variable_definitions {
        let variable = &definition.node;
        let name = &variable.name.node;
        let absent = match parameters.variables.get(name) {
            None => variable.default_value.is_none(),
            Some(Value::Null) => true,
            Some(_) => false,
        };
        if absent && !variable.var_type.node.nullable {
            let message = format!(
                "Variable \"${name}\" of type \"{}\" is required",
                variable.var_type.node
            );
            return Err(Failure::validation(message, Some(variable.name.pos)));
        }
    }
    let text = parameters
        .query
        .unwrap_or_else(|| document.text.to_string());
    let mut request = Request::new(text)
        .variables(parameters.variables)
        .data(request_id.clone());
    request.operation_name = parameters.operation_name.clone();
    request.extensions = async_graphql::Extensions(extensions);
    request.set_parsed_query(document.parsed.clone());
    let expected = Expected {
        document,
        operation: parameters.operation_name,
        types: types.cloned(),
    };
    Ok(Prepared {
        request: (identity.data)(request),
        kind,
        expected,
    })
}
