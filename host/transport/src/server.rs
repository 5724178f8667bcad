//! The HTTP door: methods, bodies, statuses.

use std::{panic::AssertUnwindSafe, sync::Arc};

use async_graphql::{Executor, parser::types::OperationType};
use axum::{Router, body::Body as HttpBody, extract::State, response::Response, routing};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use http_body_util::BodyExt;

use crate::{
    Authenticator, Identity, Options, RequestId, codes,
    documents::Documents,
    failure::{self, Body, ErrorsBody, Failure},
    graphiql,
    negotiation::{self, Media},
    parameters::{Parameters, Payload},
    request::{Prepared, prepare},
    slots::Slots,
    sse, websocket,
};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A body over the limit is still read up to this many times the limit: a client that is cut off while it sends
/// mostly reports a broken connection instead of the answer.
const DISCARDED_BODIES: usize = 8;
/// The largest array of requests, whatever the options say.
const MAX_BATCH: usize = 10;

/// What all doors share.
pub(crate) struct Core<E, A> {
    pub(crate) executor: E,
    pub(crate) authenticator: A,
    pub(crate) documents: Documents,
    pub(crate) slots: Arc<Slots>,
    pub(crate) options: Options,
}

/// The routes of one GraphQL endpoint, relative to where it is mounted:
/// `Router::new().nest("/graphql", router(…))`.
///
/// - `POST /`, `GET /`: GraphQL over HTTP, WebSocket upgrade, event stream, GraphiQL, by method and headers.
/// - `GET /assets/{name}`: the scripts and styles of the GraphiQL page, when [`Options::graphiql`] is set.
pub fn router<E: Executor, A: Authenticator>(
    executor: E,
    authenticator: A,
    options: Options,
) -> Router {
    let core = Arc::new(Core {
        executor,
        authenticator,
        documents: Documents::new(&options),
        slots: Slots::new(options.max_sockets, options.max_sockets_per_key),
        options,
    });
    let mut router = Router::new().route("/", routing::any(serve::<E, A>));
    if core.options.graphiql.is_some() {
        router = router.route("/assets/{name}", routing::get(graphiql::asset));
    }
    router.with_state(core)
}

async fn serve<E: Executor, A: Authenticator>(
    State(core): State<Arc<Core<E, A>>>,
    request: axum::extract::Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let request_id = RequestId::of(&parts.headers);
    let upgrade = parts
        .headers
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let mut response = if upgrade && parts.method == Method::GET {
        websocket::upgrade(core, parts).await
    } else {
        http(core, parts, body, &request_id).await
    };
    if let Ok(value) = HeaderValue::from_str(&request_id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

async fn http<E: Executor, A: Authenticator>(
    core: Arc<Core<E, A>>,
    parts: Parts,
    body: HttpBody,
    request_id: &RequestId,
) -> Response {
    if parts.method != Method::GET && parts.method != Method::POST {
        let failure = Failure::http(
            StatusCode::METHOD_NOT_ALLOWED,
            codes::METHOD_NOT_ALLOWED,
            "GraphQL requests are GET or POST",
        );
        return refuse(
            Media::Json,
            failure.with_header(header::ALLOW, HeaderValue::from_static("GET, POST")),
        );
    }
    let page = core
        .options
        .graphiql
        .as_ref()
        .filter(|_| parts.method == Method::GET);
    let media = match (negotiation::accept(&parts.headers, page.is_some()), page) {
        (Some(Media::Html), Some(page)) => return graphiql::page(page),
        (Some(media), _) => media,
        (None, _) => {
            let failure = Failure::http(
                StatusCode::NOT_ACCEPTABLE,
                codes::NOT_ACCEPTABLE,
                "Answers are application/graphql-response+json, application/json or text/event-stream",
            );
            return refuse(Media::Json, failure);
        }
    };
    match accept(&core, &parts, body, request_id, media).await {
        Ok(response) => response,
        // Before the operation is known to be well formed HTTP, an event stream does not open.
        Err(failure) if media == Media::EventStream && failure.document => sse::refuse(&failure),
        Err(failure) => refuse(media, failure),
    }
}

async fn accept<E: Executor, A: Authenticator>(
    core: &Arc<Core<E, A>>,
    parts: &Parts,
    body: HttpBody,
    request_id: &RequestId,
    media: Media,
) -> Result<Response, Failure> {
    let get = parts.method == Method::GET;
    if !get && !negotiation::is_json(&parts.headers) {
        return Err(Failure::http(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            codes::UNSUPPORTED_MEDIA_TYPE,
            "The body must be application/json in UTF-8",
        ));
    }
    let identity = core.authenticator.authenticate_http(parts).await?;
    let payload = if get {
        Payload::Single(Parameters::from_query(parts.uri.query())?)
    } else {
        let body = read(parts, body, &core.options).await?;
        Payload::from_body(&body, core.options.max_batch.min(MAX_BATCH))?
    };
    match payload {
        Payload::Single(parameters) => {
            let prepared = prepare(
                &core.documents,
                core.options.types.as_ref(),
                parameters,
                &identity,
                request_id,
            )?;
            if get && prepared.kind == OperationType::Mutation {
                let failure = Failure::http(
                    StatusCode::METHOD_NOT_ALLOWED,
                    codes::METHOD_NOT_ALLOWED,
                    "Mutations need POST",
                );
                return Err(failure.with_header(header::ALLOW, HeaderValue::from_static("POST")));
            }
            if media == Media::EventStream {
                return sse::open(core, prepared, &identity, request_id);
            }
            refuse_subscription(&prepared)?;
            Ok(answer(media, get, run(core, prepared, request_id).await))
        }
        Payload::Batch(_) if media == Media::EventStream => Err(Failure::bad_request(
            "An event stream carries one operation",
        )),
        Payload::Batch(items) => Ok(batch(core, items, &identity, request_id).await),
    }
}

fn refuse_subscription(prepared: &Prepared) -> Result<(), Failure> {
    if prepared.kind == OperationType::Subscription {
        return Err(Failure::bad_request(
            "Subscriptions run over a WebSocket (graphql-transport-ws) or with \"Accept: text/event-stream\"",
        ));
    }
    Ok(())
}

/// One after the other, so that an array costs no more at any moment than one request.
async fn batch<E: Executor, A: Authenticator>(
    core: &Core<E, A>,
    items: Vec<Parameters>,
    identity: &Identity,
    request_id: &RequestId,
) -> Response {
    let mut body = vec![b'['];
    for parameters in items {
        if body.len() > 1 {
            body.push(b',');
        }
        let prepared = prepare(
            &core.documents,
            core.options.types.as_ref(),
            parameters,
            identity,
            request_id,
        )
        .and_then(|prepared| refuse_subscription(&prepared).map(|()| prepared));
        body.extend(match prepared {
            Ok(prepared) => encode(&Body(&run(core, prepared, request_id).await.response)),
            Err(failure) => encode(&ErrorsBody {
                errors: &failure.errors,
            }),
        });
    }
    body.push(b']');
    write(Media::Json, StatusCode::OK, body)
}

/// The outcome of one operation.
struct Outcome {
    response: async_graphql::Response,
    panicked: bool,
}

async fn run<E: Executor, A>(
    core: &Core<E, A>,
    prepared: Prepared,
    request_id: &RequestId,
) -> Outcome {
    match AssertUnwindSafe(core.executor.execute(prepared.request))
        .catch_unwind()
        .await
    {
        Ok(mut response) => {
            failure::finish(&mut response, &prepared.expected, request_id);
            Outcome {
                response,
                panicked: false,
            }
        }
        // The panic hook has logged it.
        Err(_) => Outcome {
            response: async_graphql::Response::from_errors(vec![failure::internal(request_id)]),
            panicked: true,
        },
    }
}

fn answer(media: Media, get: bool, outcome: Outcome) -> Response {
    let Outcome { response, panicked } = outcome;
    let status = if panicked {
        StatusCode::INTERNAL_SERVER_ERROR
    } else if response.http_headers.contains_key(header::RETRY_AFTER) {
        // Something was asked for too often; the body says what.
        StatusCode::TOO_MANY_REQUESTS
    } else if media == Media::GraphqlResponse && failure::is_request_error(&response) {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    };
    let mut answer = write(media, status, encode(&Body(&response)));
    if get
        && response.is_ok()
        && let Some(value) = response
            .cache_control
            .value()
            .and_then(|value| HeaderValue::from_str(&value).ok())
    {
        answer.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    let mut last = None;
    for (name, value) in response.http_headers {
        last = name.or(last);
        if let Some(name) = &last {
            answer.headers_mut().append(name.clone(), value);
        }
    }
    answer
}

/// Answers a request that did not run.
pub(crate) fn refuse(media: Media, failure: Failure) -> Response {
    let media = if media == Media::GraphqlResponse {
        media
    } else {
        Media::Json
    };
    let status = if failure.document && media == Media::Json {
        StatusCode::OK
    } else {
        failure.status
    };
    let mut response = write(
        media,
        status,
        encode(&ErrorsBody {
            errors: &failure.errors,
        }),
    );
    response.headers_mut().extend(*failure.headers);
    response
}

fn encode(value: &impl serde::Serialize) -> Vec<u8> {
    // Neither errors nor GraphQL values have anything that JSON cannot hold; should that change, say so as JSON.
    serde_json::to_vec(value).unwrap_or_else(|error| {
        tracing::error!(%error, "response cannot be encoded");
        br#"{"errors":[{"message":"Internal error","extensions":{"code":"INTERNAL"}}]}"#.to_vec()
    })
}

fn write(media: Media, status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(HttpBody::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media.content_type());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

async fn read(parts: &Parts, body: HttpBody, options: &Options) -> Result<Bytes, Failure> {
    let limit = options.max_body_bytes;
    let announced = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let too_large = || {
        Failure::http(
            StatusCode::PAYLOAD_TOO_LARGE,
            codes::PAYLOAD_TOO_LARGE,
            format!("The body is over {limit} bytes"),
        )
    };
    let discarded = limit.saturating_mul(DISCARDED_BODIES);
    if announced.is_some_and(|length| length > discarded) {
        return Err(too_large());
    }
    let collect = async {
        let mut body = body;
        let mut collected =
            BytesMut::with_capacity(announced.unwrap_or(0).min(limit).min(64 * 1024));
        let mut length = 0_usize;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Failure::bad_request("The body broke off"))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            length = length.saturating_add(data.len());
            if length <= limit {
                collected.extend_from_slice(&data);
            } else if length > discarded {
                break;
            } else {
                collected = BytesMut::new();
            }
        }
        if length > limit {
            Err(too_large())
        } else {
            Ok(collected.freeze())
        }
    };
    tokio::time::timeout(options.body_timeout, collect)
        .await
        .unwrap_or_else(|_| {
            Err(Failure::http(
                StatusCode::REQUEST_TIMEOUT,
                codes::REQUEST_TIMEOUT,
                "The body took too long",
            ))
        })
}
