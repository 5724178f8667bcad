//! A door through which a program reads one stored blob, for as long as it runs.
//!
//! ffmpeg reads files and addresses. A blob of a store without local files gets an address: a
//! port of this machine's loopback and a path that nobody can guess, where range requests are
//! answered from [`BlobStore::open`], piece by piece. So nothing has to be copied to the disk
//! before it is looked at, however large it is.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::blob::{Blob, BlobStore, ByteRange, Error, Span, not_found};
use crate::key::Key;

/// Connections at a time. ffmpeg opens the next one before it closes the last.
const MOST_VISITS: usize = 8;
/// How long a request's head may take.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// A blob of at most so many bytes is fetched once and answered from memory: a store is asked
/// for a voice or a thumbnail in one request instead of a dozen.
const SMALL: u64 = 1024 * 1024;
/// What is kept of an answer that the program is slow to take, in bytes.
const AHEAD: usize = 256 * 1024;

/// Hands out one blob. Dropping it closes the port and every connection.
#[derive(Debug)]
pub(crate) struct Door {
    url: String,
    trouble: Arc<Trouble>,
    _keeper: AbortOnDropHandle<()>,
}

/// The first failure of the store. A program that reads half a film cannot tell a store that
/// failed from a film that was cut short; whoever opened the door can.
#[derive(Debug, Default)]
struct Trouble(Mutex<Option<io::Error>>);

impl Trouble {
    fn note(&self, error: io::Error) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
    }
}

struct Room {
    store: Arc<dyn BlobStore>,
    key: Key,
    path: String,
    trouble: Arc<Trouble>,
    /// The whole content of a small blob, once it was read.
    small: OnceLock<Bytes>,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

impl Door {
    /// Opens a door to a blob. Whether the blob is there shows when it is read.
    pub(crate) async fn open(store: Arc<dyn BlobStore>, key: Key) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let path = format!("/{}", uuid::Uuid::new_v4().simple());
        let url = format!("http://{address}{path}");
        let trouble = Arc::new(Trouble::default());
        let room = Arc::new(Room {
            store,
            key,
            path,
            trouble: Arc::clone(&trouble),
            small: OnceLock::new(),
        });
        let keeper = AbortOnDropHandle::new(tokio::spawn(keep(listener, room)));
        Ok(Self {
            url,
            trouble,
            _keeper: keeper,
        })
    }

    /// Where the blob is read.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The store's first failure since the last call, if it failed.
    pub(crate) fn trouble(&self) -> Option<io::Error> {
        let mut first = self
            .trouble
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        first.take()
    }
}

/// Lets visitors in until the door is dropped, and them with it.
async fn keep(listener: TcpListener, room: Arc<Room>) {
    let mut visits = JoinSet::new();
    loop {
        tokio::select! {
            visit = listener.accept(), if visits.len() < MOST_VISITS => match visit {
                Ok((stream, _)) => {
                    visits.spawn(attend(stream, Arc::clone(&room)));
                }
                Err(error) => {
                    tracing::warn!(%error, "a program cannot reach its film");
                    // Out of file handles, for example: another look at once would spin.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = visits.join_next(), if !visits.is_empty() => {}
        }
    }
}

async fn attend(stream: TcpStream, room: Arc<Room>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let room = Arc::clone(&room);
        async move { Ok::<_, Infallible>(room.answer(&request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(AHEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        // Programs hang up as soon as they have seen enough.
        tracing::trace!(%error, "a program left");
    }
}

impl Room {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        // What is not this blob is nothing: no list, no redirect, no other store.
        if request.uri().path() != self.path || request.uri().query().is_some() {
            return plain(StatusCode::NOT_FOUND);
        }
        let whole = match *request.method() {
            Method::GET => true,
            Method::HEAD => false,
            _ => return plain(StatusCode::METHOD_NOT_ALLOWED),
        };
        let range = request
            .headers()
            .get(header::RANGE)
            .and_then(|range| range.to_str().ok())
            .and_then(ByteRange::from_header);
        if let Some(content) = self.small.get() {
            return self.small_part(content, range, whole);
        }
        // From the first byte on is everything, which a store finds in fewer requests.
        let asked = range.filter(|range| *range != ByteRange::From(0, None));
        let blob = match self.store.open(&self.key, asked).await {
            Ok(Some(blob)) => blob,
            Ok(None) => {
                self.trouble.note(not_found(&self.key));
                return plain(StatusCode::NOT_FOUND);
            }
            Err(Error::RangeNotSatisfiable { size }) => return outside(size),
            Err(error) => {
                self.trouble.note(match error {
                    Error::Io(error) => error,
                    other => io::Error::other(other),
                });
                return plain(StatusCode::BAD_GATEWAY);
            }
        };
        if asked.is_none() && (1..=SMALL).contains(&blob.size) {
            let pieces: io::Result<Vec<Bytes>> = blob.body.try_collect().await;
            return match pieces {
                Ok(pieces) => {
                    let content = self.small.get_or_init(|| pieces.concat().into());
                    self.small_part(content, range, whole)
                }
                Err(error) => {
                    self.trouble.note(error);
                    plain(StatusCode::BAD_GATEWAY)
                }
            };
        }
        let span = match range {
            // Of nothing there is no first byte either.
            Some(_) if blob.size == 0 => return outside(0),
            Some(_) => Some(blob.span.unwrap_or(Span {
                start: 0,
                end: blob.size - 1,
            })),
            None => None,
        };
        self.part(blob, span, whole)
    }

    fn small_part(&self, content: &Bytes, range: Option<ByteRange>, whole: bool) -> Response<Body> {
        let size = content.len() as u64;
        let span = match range.map(|range| range.resolve(size)).transpose() {
            Ok(span) => span,
            Err(_) => return outside(size),
        };
        let mut answer = head(size, span);
        if whole {
            // A small blob's places fit into memory, and so into its sizes.
            let place = |byte: u64| usize::try_from(byte).unwrap_or(usize::MAX);
            let part = span.map_or_else(
                || content.clone(),
                |Span { start, end }| content.slice(place(start)..=place(end)),
            );
            let body = Full::new(part).map_err(|never| match never {});
            *answer.body_mut() = body.boxed_unsync();
        }
        answer
    }

    fn part(&self, blob: Blob, span: Option<Span>, whole: bool) -> Response<Body> {
        let mut answer = head(blob.size, span);
        if whole {
            let trouble = Arc::clone(&self.trouble);
            let frames = blob.body.map(move |piece| match piece {
                Ok(piece) => Ok(Frame::data(piece)),
                Err(error) => {
                    let kind = error.kind();
                    trouble.note(error);
                    Err(kind.into())
                }
            });
            *answer.body_mut() = StreamBody::new(frames.into_stream()).boxed_unsync();
        }
        answer
    }
}

fn head(size: u64, span: Option<Span>) -> Response<Body> {
    let mut answer = plain(StatusCode::OK);
    if let Some(Span { start, end }) = span {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        set(
            &mut answer,
            header::CONTENT_RANGE,
            &format!("bytes {start}-{end}/{size}"),
        );
    }
    let bytes = span.map_or(size, Span::bytes);
    set(&mut answer, header::CONTENT_LENGTH, &bytes.to_string());
    set(&mut answer, header::ACCEPT_RANGES, "bytes");
    // The stored type is a stranger's word; programs look at the content.
    set(
        &mut answer,
        header::CONTENT_TYPE,
        "application/octet-stream",
    );
    answer
}

fn plain(status: StatusCode) -> Response<Body> {
    let nothing = Empty::new().map_err(|never| match never {});
    let mut answer = Response::new(nothing.boxed_unsync());
    *answer.status_mut() = status;
    answer
}

fn outside(size: u64) -> Response<Body> {
    let mut answer = plain(StatusCode::RANGE_NOT_SATISFIABLE);
    set(
        &mut answer,
        header::CONTENT_RANGE,
        &format!("bytes */{size}"),
    );
    answer
}

fn set(answer: &mut Response<Body>, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}
