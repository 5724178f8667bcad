//! The requests that write one object: whole, or in parts.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use crate::client::{Failure, with_data};
use crate::options::S3Options;

/// Metadata that holds the SHA-256 of the whole content, in hexadecimal digits.
pub(crate) const SHA256: &str = "genvid-sha256";
/// Metadata that says which write made the object, so that a writer whose answer got lost can
/// tell its own object from another's.
pub(crate) const WRITE: &str = "genvid-write";

/// An object that is to be written.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) client: Client,
    pub(crate) bucket: String,
    /// Prefix and key.
    pub(crate) name: String,
    pub(crate) mime: String,
    /// For [`WRITE`].
    pub(crate) write: String,
    /// Send SHA-256 checksums, which the store checks and keeps?
    pub(crate) checksums: bool,
    /// Refuse to replace an object?
    pub(crate) once: bool,
    /// Time limits of requests with data.
    data: Builder,
}

impl Target {
    pub(crate) fn new(client: &Client, options: &S3Options, name: String, mime: &str) -> Self {
        Self {
            client: client.clone(),
            bucket: options.bucket.clone(),
            name,
            mime: mime.to_owned(),
            write: uuid::Uuid::new_v4().simple().to_string(),
            checksums: false,
            once: false,
            data: with_data(options),
        }
    }

    /// Writes the whole object.
    pub(crate) async fn put(&self, body: Bytes, sha256: &[u8]) -> Result<(), Failure> {
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(&self.name)
            .content_type(&self.mime)
            // Read straight from the bucket, nothing that a stranger delivered runs as a page.
            .content_disposition("attachment")
            .metadata(WRITE, &self.write)
            .metadata(SHA256, hex::encode(sha256))
            .set_checksum_algorithm(self.checksums.then_some(ChecksumAlgorithm::Sha256))
            .set_checksum_sha256(self.checksums.then(|| BASE64.encode(sha256)))
            .set_if_none_match(self.once.then(|| "*".to_owned()))
            .body(ByteStream::from(body))
            .customize()
            .config_override(self.data.clone());
        // The signature covers the checksum's header, so it need not cover the bytes as well.
        let request = if self.checksums {
            request.disable_payload_signing()
        } else {
            request
        };
        request
            .send()
            .await
            .map_err(|error| Failure::of("cannot store an object", &error))?;
        Ok(())
    }

    /// Begins an upload in parts and tells its id.
    pub(crate) async fn begin(&self) -> Result<String, Failure> {
        const DOING: &str = "cannot begin an upload";
        let begun = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.name)
            .content_type(&self.mime)
            .content_disposition("attachment")
            .metadata(WRITE, &self.write)
            .set_checksum_algorithm(self.checksums.then_some(ChecksumAlgorithm::Sha256))
            .send()
            .await
            .map_err(|error| Failure::of(DOING, &error))?;
        match begun.upload_id {
            Some(id) if !id.is_empty() => Ok(id),
            _ => Err(Failure {
                status: None,
                error: std::io::Error::other(format!("{DOING}: the store gave it no id")),
            }),
        }
    }

    /// Sends part `number`, counted from 1.
    pub(crate) async fn part(
        &self,
        upload: &str,
        number: i32,
        body: Bytes,
        sha256: &[u8],
    ) -> Result<CompletedPart, Failure> {
        let checksum = self.checksums.then(|| BASE64.encode(sha256));
        let request = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(&self.name)
            .upload_id(upload)
            .part_number(number)
            .set_checksum_algorithm(self.checksums.then_some(ChecksumAlgorithm::Sha256))
            .set_checksum_sha256(checksum.clone())
            .body(ByteStream::from(body))
            .customize()
            .config_override(self.data.clone());
        let request = if self.checksums {
            request.disable_payload_signing()
        } else {
            request
        };
        let sent = request
            .send()
            .await
            .map_err(|error| Failure::of("cannot send a part", &error))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .set_checksum_sha256(checksum)
            .build())
    }

    /// Makes the object of its parts, which are in their order.
    pub(crate) async fn complete(
        &self,
        upload: &str,
        parts: Vec<CompletedPart>,
    ) -> Result<(), Failure> {
        self.client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.name)
            .upload_id(upload)
            .set_if_none_match(self.once.then(|| "*".to_owned()))
            .multipart_upload(
                CompletedMultipartUpload::builder()
                    .set_parts(Some(parts))
                    .build(),
            )
            .customize()
            // Putting many parts together takes the store minutes.
            .config_override(self.data.clone())
            .send()
            .await
            .map_err(|error| Failure::of("cannot complete an upload", &error))?;
        Ok(())
    }

    /// Removes an upload with what arrived of it.
    pub(crate) async fn abort(&self, upload: &str) -> Result<(), Failure> {
        abort(&self.client, &self.bucket, &self.name, upload).await
    }
}

/// Removes an upload with what arrived of it. No error when there is none.
pub(crate) async fn abort(
    client: &Client,
    bucket: &str,
    name: &str,
    upload: &str,
) -> Result<(), Failure> {
    let sent = client
        .abort_multipart_upload()
        .bucket(bucket)
        .key(name)
        .upload_id(upload)
        .send()
        .await
        .map_err(|error| Failure::of("cannot remove an upload", &error));
    match sent {
        Err(failure) if failure.status != Some(404) => Err(failure),
        _ => Ok(()),
    }
}
