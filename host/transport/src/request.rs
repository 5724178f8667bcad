//! From parameters to an async-graphql request that is ready to run.

use std::sync::Arc;

use async_graphql::{Request, parser::types::OperationType};

use crate::{
    Identity, RequestId,
    documents::Documents,
    failure::Failure,
    nulls::{Expected, SchemaTypes},
    parameters::Parameters,
    prevalidated::Validated,
    variables,
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
    variables::check(
        operation,
        &parameters.variables,
        types.map(|types| &**types),
    )?;
    let text = parameters
        .query
        .unwrap_or_else(|| document.text.to_string());
    let mut request = Request::new(text)
        .variables(parameters.variables)
        .data(request_id.clone());
    request.operation_name = parameters.operation_name.clone();
    request.extensions = async_graphql::Extensions(extensions);
    request.set_parsed_query(document.parsed.clone());
    if types.is_some() && document.is_validated() {
        request = request.data(Validated);
    }
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
