//! A guest's request body, planned so that its length is known and its assets are read only
//! while it is sent, with constant memory, as often as needed.

use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt};

use super::exchange::Outgoing;
use super::headers::is_mime;
use crate::assets::AssetStore;
use crate::contract::generated::genvid::provider::http::{Body, FormPart, FormValue};

/// Most assets in one body.
const ASSETS: usize = 32;

/// Most parts in one form.
const PARTS: usize = 64;

/// Longest body, in bytes.
const LONGEST: u64 = 2 << 30;

/// What goes out.
#[derive(Default)]
pub(crate) struct Plan {
    pieces: Vec<Piece>,
    length: u64,
    /// Media type, when the body has one of its own.
    pub(crate) mime: Option<String>,
}

#[derive(Clone)]
enum Piece {
    Bytes(Bytes),
    Asset {
        name: String,
        size: u64,
        base64: bool,
    },
}

/// Why a body cannot be sent.
#[derive(Debug)]
pub(crate) enum PlanError {
    /// The guest did something that is not allowed.
    Refused(String),
    /// The job has no such asset.
    NoAsset(String),
    /// The host's storage failed.
    Storage(io::Error),
}

impl Plan {
    pub(crate) async fn new(body: Body, assets: &dyn AssetStore) -> Result<Self, PlanError> {
        let mut plan = Self::default();
        match body {
            Body::Empty => {}
            Body::Text(text) => {
                plan.mime = Some("text/plain; charset=utf-8".to_owned());
                plan.push(text.into());
            }
            Body::Bytes(bytes) => {
                plan.mime = Some("application/octet-stream".to_owned());
                plan.push(bytes.into());
            }
            Body::Asset(name) => {
                plan.mime = Some(plan.asset(assets, name, false).await?);
            }
            Body::JsonWithAssets(text) => {
                plan.mime = Some("application/json".to_owned());
                plan.json(text, assets).await?;
            }
            Body::Form(parts) => plan.form(parts, assets).await?,
        }
        if plan.length > LONGEST {
            return Err(PlanError::Refused(
                "the body is longer than 2 GiB".to_owned(),
            ));
        }
        Ok(plan)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0 && self.mime.is_none()
    }

    /// The body from its beginning.
    pub(crate) fn body(&self, assets: &Arc<dyn AssetStore>) -> Outgoing {
        if self.length == 0 {
            Outgoing::empty()
        } else {
            Outgoing::new(self.stream(assets), self.length)
        }
    }

    pub(crate) fn stream(
        &self,
        assets: &Arc<dyn AssetStore>,
    ) -> BoxStream<'static, io::Result<Bytes>> {
        if let [Piece::Bytes(bytes)] = self.pieces.as_slice() {
            return stream::iter([Ok(bytes.clone())]).boxed();
        }
        let assets = Arc::clone(assets);
        stream::iter(self.pieces.clone())
            .then(move |piece| open(piece, Arc::clone(&assets)))
            .flat_map(|opened| match opened {
                Ok(stream) => stream,
                Err(error) => stream::iter([Err(error)]).boxed(),
            })
            .boxed()
    }

    fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.length = self.length.saturating_add(bytes.len() as u64);
            self.pieces.push(Piece::Bytes(bytes));
        }
    }

    /// Adds an asset and answers its media type.
    async fn asset(
        &mut self,
        assets: &dyn AssetStore,
        name: String,
        base64: bool,
    ) -> Result<String, PlanError> {
        let (size, mime) = look(assets, &name).await?;
        self.count()?;
        let length = if base64 {
            size.div_ceil(3).saturating_mul(4)
        } else {
            size
        };
        self.length = self.length.saturating_add(length);
        self.pieces.push(Piece::Asset { name, size, base64 });
        Ok(mime)
    }

    fn count(&self) -> Result<(), PlanError> {
        let count = self
            .pieces
            .iter()
            .filter(|piece| matches!(piece, Piece::Asset { .. }))
            .count();
        if count >= ASSETS {
            return Err(PlanError::Refused(format!(
                "more than {ASSETS} assets in one body"
            )));
        }
        Ok(())
    }

    /// Replaces the string values that name assets; everything else stays byte by byte.
    async fn json(&mut self, text: String, assets: &dyn AssetStore) -> Result<(), PlanError> {
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&text) {
            return Err(PlanError::Refused(format!(
                "`json-with-assets` is not JSON: {error}"
            )));
        }
        let text = Bytes::from(text);
        let mut done = 0;
        for (start, end) in string_values(&text) {
            let value = &text[start..end];
            let (name, data_url) = match value.strip_prefix(b"asset:base64:") {
                Some(name) => (name, false),
                None => match value.strip_prefix(b"asset:data-url:") {
                    Some(name) => (name, true),
                    None => continue,
                },
            };
            let name = String::from_utf8_lossy(name).into_owned();
            self.push(text.slice(done..start));
            if data_url {
                let (_, mime) = look(assets, &name).await?;
                self.push(format!("data:{mime};base64,").into());
            }
            self.asset(assets, name, true).await?;
            done = end;
        }
        self.push(text.slice(done..));
        Ok(())
    }

    /// `multipart/form-data` by RFC 7578, names escaped as the WHATWG's "multipart/form-data
    /// encoding algorithm" does it.
    async fn form(
        &mut self,
        parts: Vec<FormPart>,
        assets: &dyn AssetStore,
    ) -> Result<(), PlanError> {
        if parts.len() > PARTS {
            return Err(PlanError::Refused(format!(
                "more than {PARTS} parts in one form"
            )));
        }
        let boundary = boundary();
        for part in parts {
            let mut head = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"",
                escape(&part.name)
            );
            if let Some(filename) = &part.filename {
                head.push_str(&format!("; filename=\"{}\"", escape(filename)));
            }
            let mime = match (part.mime, &part.value) {
                (Some(mime), _) if is_mime(&mime) => Some(mime),
                (Some(_), _) => {
                    let why = "a form part's media type is not as `image/png`";
                    return Err(PlanError::Refused(why.to_owned()));
                }
                (None, FormValue::Asset(name)) => Some(look(assets, name).await?.1),
                (None, FormValue::Text(_)) => None,
            };
            if let Some(mime) = mime {
                head.push_str(&format!("\r\nContent-Type: {mime}"));
            }
            head.push_str("\r\n\r\n");
            self.push(head.into());
            match part.value {
                FormValue::Text(text) => self.push(text.into()),
                FormValue::Asset(name) => {
                    self.asset(assets, name, false).await?;
                }
            }
            self.push(Bytes::from_static(b"\r\n"));
        }
        self.push(format!("--{boundary}--\r\n").into());
        self.mime = Some(format!("multipart/form-data; boundary={boundary}"));
        Ok(())
    }
}

/// Size and media type of an asset.
async fn look(assets: &dyn AssetStore, name: &str) -> Result<(u64, String), PlanError> {
    let missing = || PlanError::NoAsset(crate::text::cut_bytes(name, 100).to_owned());
    let fine = (1..=200).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    if !fine {
        return Err(missing());
    }
    let asset = assets
        .open(name)
        .await
        .map_err(PlanError::Storage)?
        .ok_or_else(missing)?;
    let mime = if is_mime(&asset.mime) {
        asset.mime
    } else {
        "application/octet-stream".to_owned()
    };
    Ok((asset.size, mime))
}

async fn open(
    piece: Piece,
    assets: Arc<dyn AssetStore>,
) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
    match piece {
        Piece::Bytes(bytes) => Ok(stream::iter([Ok(bytes)]).boxed()),
        Piece::Asset { name, size, base64 } => {
            let asset = assets
                .open(&name)
                .await?
                .filter(|asset| asset.size == size)
                .ok_or_else(|| io::Error::other("an asset is gone or has changed"))?;
            Ok(if base64 {
                encoded(asset.body)
            } else {
                asset.body
            })
        }
    }
}

/// Base64 of a stream. Up to two bytes wait for the next chunk, because three make a group.
fn encoded(body: BoxStream<'static, io::Result<Bytes>>) -> BoxStream<'static, io::Result<Bytes>> {
    stream::unfold(
        (body, BytesMut::new(), false),
        |(mut body, mut rest, ended)| async move {
            if ended {
                return None;
            }
            loop {
                match body.next().await {
                    Some(Ok(chunk)) => {
                        rest.extend_from_slice(&chunk);
                        let whole = rest.len() / 3 * 3;
                        if whole > 0 {
                            let text = STANDARD.encode(rest.split_to(whole));
                            return Some((Ok(Bytes::from(text)), (body, rest, false)));
                        }
                    }
                    Some(Err(error)) => return Some((Err(error), (body, rest, true))),
                    None if rest.is_empty() => return None,
                    None => {
                        let text = STANDARD.encode(rest.split());
                        return Some((Ok(Bytes::from(text)), (body, rest, true)));
                    }
                }
            }
        },
    )
    .boxed()
}

/// Where the string values of a JSON text are, without their quotes; the names of members are
/// left out. The text must be valid JSON.
fn string_values(text: &[u8]) -> Vec<(usize, usize)> {
    let mut values = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if text[at] != b'"' {
            at += 1;
            continue;
        }
        let start = at + 1;
        at = start;
        while at < text.len() && text[at] != b'"' {
            at += if text[at] == b'\\' { 2 } else { 1 };
        }
        let end = at.min(text.len());
        at += 1;
        let next = text.get(at..).unwrap_or_default();
        let next = next.iter().find(|byte| !byte.is_ascii_whitespace());
        if next != Some(&b':') {
            values.push((start, end));
        }
    }
    values
}

fn escape(text: &str) -> String {
    text.replace('"', "%22")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A boundary that nobody can guess, so that no part can contain it on purpose. The standard
/// library seeds each hasher from the operating system's randomness.
fn boundary() -> String {
    use std::hash::{BuildHasher, RandomState};
    let (left, right) = (RandomState::new(), RandomState::new());
    format!("genvid-{:016x}{:016x}", left.hash_one(0), right.hash_one(1))
}
