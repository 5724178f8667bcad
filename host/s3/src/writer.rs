//! Writing a blob: whole when it is small, in parts when it is not.

use std::io;
use std::mem;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::types::CompletedPart;
use bytes::{Bytes, BytesMut};
use genvid_media::blob::Error;
use genvid_media::{BlobWriter, Key, Stored};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use crate::client::Failure;
use crate::store::Inner;
use crate::upload::Target;

/// Size of every part but the last, in bytes. S3 takes 5 MiB to 5 GiB (S3 User Guide, "Amazon
/// S3 multipart upload limits").
pub const PART_BYTES: usize = 8 << 20;
/// Most parts of one object (same source).
pub(crate) const MAX_PARTS: u16 = 10_000;
/// Parts that are on their way at a time. With the one that is being filled, a writer holds
/// three parts at most.
const MAX_ON_THE_WAY: usize = 2;
/// How often a small blob is sent when the store says that another write is under way.
const MAX_CONFLICTS: usize = 3;

pub(crate) struct S3Writer {
    store: Arc<Inner>,
    key: Key,
    target: Target,
    size: u64,
    whole: Sha256,
    /// The part that is being filled.
    pending: BytesMut,
    pending_sum: Sha256,
    upload: Option<Upload>,
    spoiled: bool,
}

impl S3Writer {
    pub(crate) fn new(store: Arc<Inner>, key: &Key, target: Target) -> Self {
        Self {
            store,
            key: key.clone(),
            target,
            size: 0,
            whole: Sha256::new(),
            pending: BytesMut::new(),
            pending_sum: Sha256::new(),
            upload: None,
            spoiled: false,
        }
    }

    /// Puts the pending part on its way; waits while enough others are.
    async fn send_part(&mut self) -> io::Result<()> {
        // Not the writer's last words on an upload that is lost: its drop removes it.
        if self.upload.is_none() {
            self.upload = Some(Upload::begin(&self.store, &self.target).await?);
        }
        let body = mem::take(&mut self.pending).freeze();
        let sum = mem::take(&mut self.pending_sum).finalize();
        match &mut self.upload {
            Some(upload) => upload.send(body, sum.to_vec()).await,
            None => Err(spoiled()),
        }
    }

    async fn take(&mut self, mut chunk: Bytes) -> io::Result<()> {
        while !chunk.is_empty() {
            // Only when more follows: a blob of just one part is sent whole.
            if self.pending.len() == PART_BYTES {
                self.send_part().await?;
            }
            if let Some(upload) = &mut self.upload
                && self.pending.capacity() == 0
            {
                self.pending = upload.buffer();
            }
            let room = PART_BYTES - self.pending.len();
            let piece = chunk.split_to(room.min(chunk.len()));
            self.whole.update(&piece);
            self.pending_sum.update(&piece);
            self.pending.extend_from_slice(&piece);
        }
        Ok(())
    }

    /// Sends a small blob.
    async fn put(&mut self, sum: &[u8]) -> Result<(), Error> {
        let body = mem::take(&mut self.pending).freeze();
        let _turn = self.store.alone(&self.target.name).await;
        self.refuse_taken().await?;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.target.put(body.clone(), sum).await {
                Err(failure) if failure.status == Some(409) && tries < MAX_CONFLICTS => {}
                sent => return self.settle(sent).await,
            }
        }
    }

    /// Sends the last part and makes the blob of all.
    async fn complete(&mut self, sum: &[u8]) -> Result<(), Error> {
        self.send_part().await?;
        let mut upload = self.upload.take().ok_or_else(spoiled)?;
        upload.all_sent().await?;
        let _turn = self.store.alone(&self.target.name).await;
        self.refuse_taken().await?;
        let parts = mem::take(&mut upload.parts);
        let completed = self.target.complete(&upload.id, parts).await;
        let settled = self.settle(completed).await;
        if settled.is_ok() {
            upload.over = true;
            self.keep_sum(sum).await;
        }
        settled
    }

    /// Where the store does not watch for it, looks whether the key is taken.
    async fn refuse_taken(&self) -> Result<(), Error> {
        if !self.target.once && self.store.head(&self.target.name).await?.is_some() {
            return Err(Error::AlreadyExists(self.key.clone()));
        }
        Ok(())
    }

    /// What came of a write. After a failure only the store knows: an answer may be lost whose
    /// write was done, and its repetition then meets its own object.
    async fn settle(&self, answer: Result<(), Failure>) -> Result<(), Error> {
        let Err(failure) = answer else {
            return Ok(());
        };
        match self.store.head(&self.target.name).await {
            Ok(Some(about)) if about.write.as_ref() == Some(&self.target.write) => Ok(()),
            Ok(Some(_)) => Err(Error::AlreadyExists(self.key.clone())),
            Ok(None) | Err(_) => Err(failure.into()),
        }
    }

    /// Puts the checksum beside a blob that was sent in parts: metadata is fixed when an upload
    /// begins, and the checksum is known when it ends. The blob is complete without it, so a
    /// failure is only told.
    async fn keep_sum(&self, sum: &[u8]) {
        let mut beside = self.target.clone();
        beside.name = self.store.sum_name(&self.key);
        beside.mime = "text/plain".to_owned();
        // What a deleted blob left may be replaced.
        beside.once = false;
        // An empty object whose metadata is all: its own checksum is another.
        beside.checksums = false;
        if let Err(failure) = beside.put(Bytes::new(), sum).await {
            tracing::warn!(
                key = %self.key, error = %failure.error, "a blob's checksum is not kept"
            );
        }
    }
}

#[async_trait]
impl BlobWriter for S3Writer {
    async fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        if mem::replace(&mut self.spoiled, true) {
            return Err(spoiled());
        }
        self.size += chunk.len() as u64;
        let limit = self.store.options.max_bytes;
        if self.size > limit {
            self.upload = None;
            self.pending = BytesMut::new();
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                Error::TooLarge { limit },
            ));
        }
        let taken = self.take(chunk).await;
        if taken.is_err() {
            self.upload = None;
            self.pending = BytesMut::new();
        }
        // Also where a dropped call leaves it set.
        self.spoiled = taken.is_err();
        taken
    }

    async fn finish(mut self: Box<Self>) -> Result<Stored, Error> {
        if self.spoiled {
            return Err(spoiled().into());
        }
        let sum = mem::take(&mut self.whole).finalize();
        if self.upload.is_none() {
            self.put(&sum).await?;
        } else {
            self.complete(&sum).await?;
        }
        Ok(Stored {
            key: self.key.clone(),
            size: self.size,
            sha256: hex::encode(sum),
            mime: self.target.mime.clone(),
        })
    }
}

/// An upload in parts. Unless it is over, dropping it removes it from the store.
struct Upload {
    store: Arc<Inner>,
    target: Target,
    id: String,
    /// How many parts were put on their way.
    sent: i32,
    on_the_way: JoinSet<(Result<CompletedPart, Failure>, Bytes)>,
    parts: Vec<CompletedPart>,
    /// Buffers of parts that arrived, for the next ones. Buffers of this size that come and go
    /// leave holes which the allocator keeps, twice as much as is used.
    spare: Vec<BytesMut>,
    over: bool,
}

impl Upload {
    async fn begin(store: &Arc<Inner>, target: &Target) -> Result<Self, Failure> {
        let id = target.begin().await?;
        Ok(Self {
            store: Arc::clone(store),
            target: target.clone(),
            id,
            sent: 0,
            on_the_way: JoinSet::new(),
            parts: Vec::new(),
            spare: Vec::new(),
            over: false,
        })
    }

    async fn send(&mut self, body: Bytes, sum: Vec<u8>) -> io::Result<()> {
        while self.on_the_way.len() >= MAX_ON_THE_WAY {
            self.arrived().await?;
        }
        self.sent += 1;
        let (target, id, number) = (self.target.clone(), self.id.clone(), self.sent);
        self.on_the_way.spawn(async move {
            let part = target.part(&id, number, body.clone(), &sum).await;
            (part, body)
        });
        Ok(())
    }

    /// An empty buffer for a part.
    fn buffer(&mut self) -> BytesMut {
        self.spare
            .pop()
            .unwrap_or_else(|| BytesMut::with_capacity(PART_BYTES))
    }

    /// Waits for one part.
    async fn arrived(&mut self) -> io::Result<()> {
        match self.on_the_way.join_next().await {
            None => {}
            Some(Ok((part, body))) => {
                self.parts.push(part?);
                // Unless the client still holds it.
                if let Ok(mut buffer) = body.try_into_mut() {
                    buffer.clear();
                    self.spare.push(buffer);
                }
            }
            Some(Err(failure)) => return Err(io::Error::other(failure)),
        }
        Ok(())
    }

    /// Waits for every part, and puts them in their order.
    async fn all_sent(&mut self) -> io::Result<()> {
        while !self.on_the_way.is_empty() {
            self.arrived().await?;
        }
        self.parts.sort_by_key(|part| part.part_number);
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut on_the_way = mem::take(&mut self.on_the_way);
        let (target, id) = (self.target.clone(), mem::take(&mut self.id));
        let limit = self.store.options.part_timeout;
        self.store.runtime.spawn(async move {
            // A part that the store is still taking in when the upload is removed may stay, so
            // none is left on its way; breaking a request off would not tell where it got to.
            let ended = async { while on_the_way.join_next().await.is_some() {} };
            if tokio::time::timeout(limit, ended).await.is_err() {
                on_the_way.shutdown().await;
            }
            if let Err(failure) = target.abort(&id).await {
                tracing::warn!(
                    error = %failure.error,
                    "a broken upload stays in the store until it is swept"
                );
            }
        });
    }
}

fn spoiled() -> io::Error {
    io::Error::other("an earlier write to this blob failed")
}
