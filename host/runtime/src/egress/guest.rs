//! The contract's `http` interface.

use std::sync::Arc;

use bytes::Bytes;

use super::events::Parser;
use super::extract::Extractor;
use super::headers;
use super::request::{Begun, Job, error, lost, refused};
use crate::assets::AssetWriter;
use crate::contract::generated::genvid::provider::http as guest;
use crate::contract::types::{Error, ErrorKind};
use crate::plugin::Granted;
use crate::state::CallState;

/// How much of an answer that is not kept comes back.
const REFUSED_BODY: usize = 64 * 1024;

/// Streams of events that one call may have open.
const STREAMS: usize = 8;

/// Most bytes of one stream of events, as a multiple of the largest answer.
const STREAM_FACTOR: u64 = 32;

/// What a call has open.
#[derive(Default)]
pub(crate) struct CallEgress {
    streams: Vec<Stream>,
}

struct Stream {
    begun: Begun,
    parser: Parser,
    left: u64,
    /// Nothing comes any more: ended well, or with this error.
    over: Option<Result<(), Error>>,
}

impl CallState {
    fn job(&self) -> (Arc<Granted>, Job) {
        let job = Job {
            meter: Arc::clone(&self.meter),
            assets: Arc::clone(&self.call.assets),
            deadline: self.deadline,
        };
        (Arc::clone(&self.plugin), job)
    }
}

impl guest::Host for CallState {
    async fn send(
        &mut self,
        request: guest::Request,
    ) -> wasmtime::Result<Result<guest::Response, Error>> {
        let (plugin, job) = self.job();
        Ok(send(&plugin, &job, request).await)
    }

    async fn save(
        &mut self,
        request: guest::Request,
        part: guest::Part,
    ) -> wasmtime::Result<Result<guest::Saved, Error>> {
        let (plugin, job) = self.job();
        Ok(save(&plugin, &job, request, part).await)
    }

    async fn open_events(
        &mut self,
        request: guest::Request,
    ) -> wasmtime::Result<Result<guest::Opened, Error>> {
        if self.egress.streams.len() >= STREAMS {
            return Ok(Err(refused(format!(
                "more than {STREAMS} streams of events in one call"
            ))));
        }
        let (plugin, job) = self.job();
        let mut begun = match plugin.egress().begin(&job, request).await {
            Ok(begun) => begun,
            Err(error) => return Ok(Err(error)),
        };
        if !begun.answer.head.status.is_success() {
            return Ok(refusal(&mut begun).await.map(guest::Opened::Refused));
        }
        // The vendor has taken the request and works on it; a stream that breaks off takes
        // this back.
        begun.complete();
        let limit = u64::from(plugin.egress().limits.response_kib) << 10;
        let handle = u32::try_from(self.egress.streams.len()).unwrap_or(u32::MAX);
        self.egress.streams.push(Stream {
            begun,
            parser: Parser::new(usize::try_from(limit).unwrap_or(usize::MAX)),
            left: limit.saturating_mul(STREAM_FACTOR),
            over: None,
        });
        Ok(Ok(guest::Opened::Events(handle)))
    }

    async fn next_event(
        &mut self,
        events: u32,
    ) -> wasmtime::Result<Result<Option<guest::Event>, Error>> {
        let stream = usize::try_from(events)
            .ok()
            .and_then(|index| self.egress.streams.get_mut(index));
        Ok(match stream {
            Some(stream) => stream.next().await,
            None => Err(refused(format!("{events} is no handle of this call"))),
        })
    }
}

impl Stream {
    async fn next(&mut self) -> Result<Option<guest::Event>, Error> {
        loop {
            if let Some(event) = self.parser.next() {
                let scrubber = &self.begun.scrubber;
                return Ok(Some(guest::Event {
                    name: event.name.map(|name| scrubber.text(name)),
                    data: scrubber.text(event.data),
                    id: event.id.map(|id| scrubber.text(id)),
                }));
            }
            match &self.over {
                Some(Ok(())) => return Ok(None),
                Some(Err(error)) => return Err(error.clone()),
                None => {}
            }
            let fed = match self.begun.chunk().await {
                Ok(None) => {
                    self.over = Some(Ok(()));
                    continue;
                }
                Ok(Some(chunk)) => self.feed(&chunk),
                Err(error) => Err(error),
            };
            if let Err(error) = fed {
                if !self.begun.safe {
                    self.begun.meter.broke_off();
                }
                self.over = Some(Err(error));
            }
        }
    }

    fn feed(&mut self, chunk: &Bytes) -> Result<(), Error> {
        let safe = self.begun.safe;
        self.left = self
            .left
            .checked_sub(chunk.len() as u64)
            .ok_or_else(|| lost(safe, "the stream of events is too long".to_owned()))?;
        self.parser
            .feed(chunk)
            .map_err(|why| lost(safe, why.to_string()))
    }
}

async fn send(
    plugin: &Granted,
    job: &Job,
    request: guest::Request,
) -> Result<guest::Response, Error> {
    let egress = plugin.egress();
    let mut begun = egress.begin(job, request).await?;
    let limit = (egress.limits.response_kib as usize) << 10;
    let body = whole(&mut begun, limit).await?;
    begun.complete();
    Ok(response(&begun, body))
}

/// Reads a body to its end.
async fn whole(begun: &mut Begun, limit: usize) -> Result<Vec<u8>, Error> {
    let too_large = |safe: bool| {
        let kind = if safe {
            ErrorKind::NotPermitted
        } else {
            ErrorKind::OutcomeUnknown
        };
        error(
            kind,
            format!("the answer is larger than {} KiB", limit >> 10),
        )
    };
    let announced = begun
        .answer
        .announced()
        .and_then(|length| usize::try_from(length).ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(begun.safe));
    }
    let mut body = Vec::with_capacity(announced.unwrap_or_default());
    while let Some(chunk) = begun.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(too_large(begun.safe));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An answer that is not kept: the beginning of its body is enough.
async fn refusal(begun: &mut Begun) -> Result<guest::Response, Error> {
    // So much more that no secret stands only in part at the end and stays.
    let enough = REFUSED_BODY + begun.scrubber.longest();
    let mut body: Vec<u8> = Vec::new();
    while body.len() < enough
        && let Some(chunk) = begun.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(enough);
    begun.complete();
    let mut response = response(begun, body);
    match &mut response.body {
        guest::Content::Text(text) => {
            let end = crate::text::cut_bytes(text, REFUSED_BODY).len();
            text.truncate(end);
        }
        guest::Content::Bytes(bytes) => bytes.truncate(REFUSED_BODY),
    }
    Ok(response)
}

fn response(begun: &Begun, body: Vec<u8>) -> guest::Response {
    let head = &begun.answer.head;
    let textual = match headers::mime_of(&head.headers) {
        Some(mime) => headers::is_textual(&mime),
        // Without a media type an empty body is text, so that guests need no special case.
        None => body.is_empty(),
    };
    let text = if textual {
        String::from_utf8(body).map_err(|error| error.into_bytes())
    } else {
        Err(body)
    };
    let content = match text {
        Ok(text) => guest::Content::Text(begun.scrubber.text(text)),
        Err(bytes) => guest::Content::Bytes(begun.scrubber.bytes(bytes)),
    };
    guest::Response {
        status: head.status.as_u16(),
        headers: begun.scrubber.headers(headers::to_guest(&head.headers)),
        body: content,
    }
}

async fn save(
    plugin: &Granted,
    job: &Job,
    request: guest::Request,
    part: guest::Part,
) -> Result<guest::Saved, Error> {
    let egress = plugin.egress();
    let rest_limit = (egress.limits.response_kib as usize) << 10;
    let extractor = match &part {
        guest::Part::Whole => None,
        guest::Part::JsonBase64(pointer) => {
            Some(Extractor::new(pointer, rest_limit).map_err(|why| refused(why.to_string()))?)
        }
    };
    let mut begun = egress.begin(job, request).await?;
    if !begun.answer.head.status.is_success() {
        return refusal(&mut begun).await.map(guest::Saved::Refused);
    }
    let mime = match &extractor {
        // The JSON says nothing about what the string holds.
        Some(_) => None,
        None => headers::mime_of(&begun.answer.head.headers),
    };
    let mime = mime.unwrap_or_else(|| "application/octet-stream".to_owned());
    let safe = begun.safe;
    // The vendor has done its work by now: a failure here must not look like a refusal.
    let storage = |why: std::io::Error| lost(safe, format!("the answer cannot be stored: {why}"));
    let mut writer = job.assets.create(&mime).await.map_err(storage)?;
    let stored = store(
        &mut begun,
        extractor,
        writer.as_mut(),
        egress.max_saved_bytes,
    )
    .await?;
    let asset = writer.finish().await.map_err(storage)?;
    begun.complete();
    Ok(guest::Saved::Kept(guest::Kept {
        asset,
        mime,
        size: stored.size,
        rest: stored.rest.map(|rest| begun.scrubber.text(rest)),
        headers: begun
            .scrubber
            .headers(headers::to_guest(&begun.answer.head.headers)),
    }))
}

struct Stored {
    size: u64,
    rest: Option<String>,
}

async fn store(
    begun: &mut Begun,
    mut extractor: Option<Extractor>,
    writer: &mut dyn AssetWriter,
    limit: u64,
) -> Result<Stored, Error> {
    let safe = begun.safe;
    let broken = |why: super::extract::ExtractError| error(ErrorKind::Unexpected, why.to_string());
    let mut size = 0_u64;
    while let Some(chunk) = begun.chunk().await? {
        let piece = match &mut extractor {
            None => chunk,
            Some(extractor) => match extractor.feed(&chunk) {
                Ok(piece) => Bytes::from(piece),
                Err(why) => {
                    begun.complete();
                    return Err(broken(why));
                }
            },
        };
        if piece.is_empty() {
            continue;
        }
        size += piece.len() as u64;
        if size > limit {
            return Err(lost(
                safe,
                format!("the answer is larger than {limit} bytes"),
            ));
        }
        writer
            .write(piece)
            .await
            .map_err(|why| lost(safe, format!("the answer cannot be stored: {why}")))?;
    }
    let rest = match extractor.map(Extractor::finish) {
        None => None,
        Some(Ok(rest)) => Some(rest),
        Some(Err(why)) => {
            begun.complete();
            return Err(broken(why));
        }
    };
    Ok(Stored { size, rest })
}
