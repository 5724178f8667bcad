//! Server-sent events. The writing goes on when nobody listens any more.

use std::time::Duration;

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::request::Written;

/// Most pieces that a text is sent in.
const PIECES: usize = 200;
/// Least characters in a piece.
const LEAST: usize = 8;

/// The writing end of a stream of events.
#[derive(Clone)]
pub(super) struct Events(mpsc::Sender<Bytes>);

impl Events {
    /// Sends `data:` and, when it has a name, `event:`. A client that is gone is no error.
    pub(super) async fn send(&self, name: Option<&str>, data: &str) {
        let event = match name {
            Some(name) => format!("event: {name}\ndata: {data}\n\n"),
            None => format!("data: {data}\n\n"),
        };
        let _ = self.0.send(event.into()).await;
    }
}

/// An answer whose events are written by the other half.
pub(super) fn open() -> (Events, Response) {
    let (sender, receiver) = mpsc::channel(64);
    let body = Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, std::io::Error>));
    let head = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (Events(sender), (head, body).into_response())
}

/// The pieces of a text, and the pause between them.
pub(super) fn pieces(written: &Written) -> (Vec<String>, Duration) {
    let characters: Vec<char> = written.text.chars().collect();
    let size = characters.len().div_ceil(PIECES).max(LEAST);
    let pieces: Vec<String> = characters
        .chunks(size)
        .map(|piece| piece.iter().collect())
        .collect();
    let count = u32::try_from(pieces.len().max(1)).unwrap_or(u32::MAX);
    (pieces, written.write / count)
}

/// After how many characters the stream ends without its last words, if a fault says so.
pub(super) fn breaks_after(written: &Written) -> Option<usize> {
    let length = written.text.chars().count();
    written.twists.stream_breaks.map(|after| match after {
        u64::MAX => length / 2,
        after => usize::try_from(after).unwrap_or(length),
    })
}
