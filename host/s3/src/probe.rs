//! What a store can do, found out by trying it at the start.
//!
//! Stores that speak S3's protocol differ in two points that matter here: whether they keep
//! checksums, and whether `If-None-Match: *` stops a second write. Some refuse what they do
//! not know, some take the header and ignore it, so only an experiment tells. It shows wrong
//! keys, a missing bucket and missing permissions as well, before the first job meets them.
//!
//! S3 User Guide, "Checking object integrity" and "How to prevent object overwrites with
//! conditional writes".

use aws_sdk_s3::Client;
use aws_sdk_s3::types::ChecksumMode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::client::Failure;
use crate::options::S3Options;
use crate::upload::Target;

/// Below the prefix. No part of a key begins with a dot.
const NAME: &str = ".genvid/probe";
const BODY: &[u8] = b"Written at each start to learn what this store can do.\n";

/// What a store can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features {
    /// Does it check and keep SHA-256 checksums, of objects and of parts?
    pub(crate) checksums: bool,
    /// Does `If-None-Match: *` keep it from replacing an object, for both kinds of writing?
    pub(crate) conditional: bool,
}

/// Tries it out. Several hosts may do so at once: they write the same.
pub(crate) async fn probe(client: &Client, options: &S3Options) -> Result<Features, Failure> {
    let name = format!("{}{NAME}", options.prefix);
    let mut target = Target::new(client, options, name, "text/plain");
    let sum = Sha256::digest(BODY);
    let body = Bytes::from_static(BODY);

    target.checksums = true;
    if let Err(failure) = target.put(body.clone(), &sum).await {
        if !failure.is_refusal() {
            return Err(failure);
        }
        target.checksums = false;
        target.put(body.clone(), &sum).await?;
    }
    if target.checksums {
        let kept = client
            .head_object()
            .bucket(&target.bucket)
            .key(&target.name)
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await
            .map_err(|error| Failure::of("cannot look at an object", &error))?;
        target.checksums = kept.checksum_sha256() == Some(BASE64.encode(sum).as_str());
    }

    target.once = true;
    let mut conditional = refuses_to_replace(target.put(body.clone(), &sum).await)?;
    target.once = conditional;
    let mut in_parts = try_parts(&target, &body, &sum).await;
    if target.checksums && in_parts.as_ref().is_err_and(Failure::is_refusal) {
        target.checksums = false;
        in_parts = try_parts(&target, &body, &sum).await;
    }
    conditional &= in_parts?;
    Ok(Features {
        checksums: target.checksums,
        conditional,
    })
}

/// Writes in parts over what is there. Was that refused?
async fn try_parts(target: &Target, body: &Bytes, sum: &[u8]) -> Result<bool, Failure> {
    let upload = target.begin().await?;
    let ended = match target.part(&upload, 1, body.clone(), sum).await {
        Ok(part) => target.complete(&upload, vec![part]).await,
        Err(failure) => Err(failure),
    };
    if ended.is_err()
        && let Err(failure) = target.abort(&upload).await
    {
        tracing::warn!(error = %failure.error, "an upload of no use stays in the store");
    }
    match ended {
        Err(failure) if target.once => refuses_to_replace(Err(failure)),
        Err(failure) => Err(failure),
        Ok(()) => Ok(false),
    }
}

/// Reads the answer to a write that must not replace anything.
fn refuses_to_replace(answer: Result<(), Failure>) -> Result<bool, Failure> {
    match answer {
        Ok(()) => Ok(false),
        Err(failure) if failure.status == Some(412) => Ok(true),
        // Somebody else's experiment at the same moment; the store knows the condition.
        Err(failure) if failure.status == Some(409) => Ok(true),
        Err(failure) if failure.is_refusal() => Ok(false),
        Err(failure) => Err(failure),
    }
}
