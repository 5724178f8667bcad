//! Reading an object to its end, over connections that break.

use std::io;
use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures::Stream;

use crate::client::Failure;
use crate::store::Inner;

/// How often the reading of one blob is taken up again.
const MAX_RESUMES: u32 = 5;
/// Wait before the first of them; doubles.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Asks for the bytes from `first` to `last`, both included; of the version with `etag`, if
/// there is one. `None` when there is no such object.
pub(crate) async fn get(
    inner: &Inner,
    name: &str,
    span: Option<(u64, u64)>,
    etag: Option<&str>,
) -> Result<Option<GetObjectOutput>, Failure> {
    let answer = inner
        .client
        .get_object()
        .bucket(&inner.options.bucket)
        .key(name)
        .set_range(span.map(|(first, last)| format!("bytes={first}-{last}")))
        .set_if_match(etag.map(str::to_owned))
        .send()
        .await
        .map_err(|error| Failure::of("cannot read an object", &error));
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(failure) if failure.status == Some(404) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Does an answer hold the range that begins there? `Content-Range` is `bytes 0-9/100` (RFC
/// 9110, section 14.4); a store that does not read ranges sends all bytes and no such header.
pub(crate) fn begins_at(range: &str, position: u64) -> bool {
    range
        .strip_prefix("bytes ")
        .and_then(|range| range.split('-').next())
        .is_some_and(|first| first.parse() == Ok(position))
}

/// Where reading stands.
pub(crate) struct Reading {
    pub(crate) inner: std::sync::Arc<Inner>,
    pub(crate) name: String,
    pub(crate) etag: Option<String>,
    /// The next byte.
    pub(crate) position: u64,
    /// The byte after the last one.
    pub(crate) end: u64,
    /// What the store is sending.
    pub(crate) body: ByteStream,
    /// How often it was taken up again.
    pub(crate) resumes: u32,
}

impl Reading {
    /// The bytes. Ends with an error, never early.
    pub(crate) fn stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        futures::stream::try_unfold(self, |mut reading| async move {
            let chunk = reading.next().await?;
            Ok(chunk.map(|chunk| (chunk, reading)))
        })
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while self.position < self.end {
            let error = match self.body.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(mut chunk)) => {
                    // A store that ignores ranges must not make more of the blob than it is.
                    let left = self.end - self.position;
                    chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    self.position += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                Some(Err(error)) => io::Error::other(error),
                None => io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("the blob ends {} bytes early", self.end - self.position),
                ),
            };
            self.resume(error).await?;
        }
        Ok(None)
    }

    /// Asks for the rest, or gives up with the error that made it necessary.
    async fn resume(&mut self, error: io::Error) -> io::Result<()> {
        if self.resumes >= MAX_RESUMES {
            return Err(error);
        }
        tracing::debug!(%error, name = self.name, at = self.position, "reading is taken up again");
        tokio::time::sleep(FIRST_WAIT * 2_u32.pow(self.resumes)).await;
        self.resumes += 1;
        let rest = Some((self.position, self.end - 1));
        match get(&self.inner, &self.name, rest, self.etag.as_deref()).await? {
            Some(answer)
                if answer
                    .content_range
                    .as_ref()
                    .is_some_and(|range| begins_at(range, self.position)) =>
            {
                self.body = answer.body;
                Ok(())
            }
            _ => Err(error),
        }
    }
}
