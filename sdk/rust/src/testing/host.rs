//! The host's imports, played by the scripted vendor of the thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use base64::Engine as _;
use serde_json::Value;

use super::reply::{Kind, Reply};
use super::sent::Sent;
use super::{CURRENT, State};
use crate::http::{Content, Event, Kept, Opened, Part, Request, Response, Saved, find_header};
use crate::report::Level;
use crate::{Error, Result};

/// An open stream of events.
pub(super) struct Stream {
    events: VecDeque<Event>,
    error: Option<Error>,
}

fn state() -> Rc<RefCell<State>> {
    CURRENT
        .with_borrow(Clone::clone)
        .expect("a test makes a `Vendor` before it runs the plugin")
}

/// Records the request and takes the answer that was scripted for it.
fn answer(request: &Request, part: Option<&Part>) -> Kind {
    let state = state();
    let sent = Sent::new(request, part);
    state.borrow_mut().sent.push(sent.clone());
    let expected = state.borrow_mut().expected.pop_front();
    if let Some(expected) = expected {
        assert!(
            sent.fits(&expected.method, &expected.path),
            "expected {} {}, but the plugin sent {} {}",
            expected.method,
            expected.path,
            sent.method,
            sent.url
        );
        return expected.reply.kind;
    }
    // The handler may look at the vendor, so the state must not be borrowed meanwhile.
    let handler = state.borrow_mut().handler.take();
    let Some(mut handler) = handler else {
        panic!("not expected: {} {}", sent.method, sent.url);
    };
    let Reply { kind } = handler(&sent);
    state.borrow_mut().handler = Some(handler);
    kind
}

pub(crate) fn send(request: &Request) -> Result<Response> {
    match answer(request, None) {
        Kind::Response(response) => Ok(response),
        Kind::Error(error) => Err(error),
        Kind::Events(..) => panic!("the plugin does not read {} as events", request.url),
    }
}

pub(crate) fn save(request: &Request, part: &Part) -> Result<Saved> {
    let response = match answer(request, Some(part)) {
        Kind::Response(response) if response.is_success() => response,
        Kind::Response(response) => return Ok(Saved::Refused(response)),
        Kind::Error(error) => return Err(error),
        Kind::Events(..) => panic!("the plugin does not read {} as events", request.url),
    };
    let mime = find_header(&response.headers, "content-type")
        .unwrap_or("application/octet-stream")
        .to_owned();
    let (bytes, rest) = match part {
        Part::Whole => (
            match response.body {
                Content::Text(text) => text.into_bytes(),
                Content::Bytes(bytes) => bytes,
            },
            None,
        ),
        Part::JsonBase64(pointer) => {
            let (bytes, rest) = cut_base64(&response, pointer)?;
            (bytes, Some(rest))
        }
    };
    let state = state();
    let mut state = state.borrow_mut();
    let asset = format!("asset_{}", state.assets.len() + 1);
    let size = bytes.len() as u64;
    state.assets.push((asset.clone(), bytes));
    Ok(Saved::Kept(Kept {
        asset,
        // The media type of what is inside is not known from the JSON around it.
        mime: match part {
            Part::Whole => mime,
            Part::JsonBase64(_) => "application/octet-stream".to_owned(),
        },
        size,
        rest,
        headers: response.headers,
    }))
}

fn cut_base64(response: &Response, pointer: &str) -> Result<(Vec<u8>, String)> {
    let lost =
        |why: &str| Error::outcome_unknown(format!("no base64 at {pointer} of the answer: {why}"));
    let mut json: Value =
        serde_json::from_str(response.text()).map_err(|error| lost(&error.to_string()))?;
    let (parent, field) = pointer.rsplit_once('/').ok_or_else(|| lost("no pointer"))?;
    let taken = json
        .pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .and_then(|object| object.remove(field));
    let Some(Value::String(text)) = taken else {
        return Err(lost("no string there"));
    };
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(|error| lost(&error.to_string()))?;
    Ok((bytes, json.to_string()))
}

pub(crate) fn open_events(request: &Request) -> Result<Opened> {
    match answer(request, None) {
        Kind::Events(events, error) => {
            let state = state();
            let mut state = state.borrow_mut();
            state.streams.push(Stream {
                events: events.into(),
                error,
            });
            Ok(Opened::Events(
                u32::try_from(state.streams.len() - 1).expect("a test opens a few streams"),
            ))
        }
        Kind::Response(response) => {
            assert!(
                !response.is_success(),
                "script a 2xx answer to {} with `Reply::events`",
                request.url
            );
            Ok(Opened::Refused(response))
        }
        Kind::Error(error) => Err(error),
    }
}

pub(crate) fn next_event(handle: u32) -> Result<Option<Event>> {
    let state = state();
    let mut state = state.borrow_mut();
    let stream = state
        .streams
        .get_mut(handle as usize)
        .expect("handles come from open_events");
    match stream.events.pop_front() {
        Some(event) => Ok(Some(event)),
        None => stream.error.take().map_or(Ok(None), Err),
    }
}

pub(crate) fn log(level: Level, message: &str) {
    state().borrow_mut().logs.push((level, message.to_owned()));
}

pub(crate) fn text(delta: &str) {
    state().borrow_mut().text.push_str(delta);
}

pub(crate) fn now_ms() -> u64 {
    state().borrow().now_ms
}
