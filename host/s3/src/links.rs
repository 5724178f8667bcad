//! Links under which readers fetch from the store itself, and senders send to it.

use std::io;
use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use genvid_media::Key;
use genvid_media::links::Disposition;

use crate::store::S3Store;

/// Longest life of a presigned link (Signature Version 4, `X-Amz-Expires`: a week).
pub const MAX_LINK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl S3Store {
    /// A link that reads one blob, ranges of it included, for `lifetime`; a longer one than
    /// [`MAX_LINK`] is cut. The answer has `mime` as its type, if given, and `disposition`.
    /// With a CDN's address in the settings the link has neither, nor an end.
    ///
    /// Nothing is asked of the store: a link to what is not there can be made.
    ///
    /// # Errors
    /// When the SDK cannot sign.
    pub async fn link(
        &self,
        key: &Key,
        disposition: &Disposition,
        mime: Option<&str>,
        lifetime: Duration,
    ) -> io::Result<String> {
        let inner = self.inner();
        if let Some(base) = &inner.options.public_base_url {
            let base = base.as_str().trim_end_matches('/');
            return Ok(format!("{base}/{}", inner.name(key)));
        }
        let lifetime = lifetime.clamp(Duration::from_secs(1), MAX_LINK);
        let presigning = PresigningConfig::expires_in(lifetime).map_err(io::Error::other)?;
        let request = inner
            .presigner
            .get_object()
            .bucket(&inner.options.bucket)
            .key(inner.name(key))
            .response_content_disposition(disposition.header_value())
            .set_response_content_type(mime.map(str::to_owned))
            .presigned(presigning)
            .await
            .map_err(io::Error::other)?;
        Ok(request.uri().to_owned())
    }

    /// A link that takes in one blob by PUT, past this host, for `lifetime`; a longer one than
    /// [`MAX_LINK`] is cut. Type and length are signed: the store refuses others. It may be used
    /// more than once, so what was sent is to be taken elsewhere before it is relied upon.
    ///
    /// # Errors
    /// When the SDK cannot sign, or `size` is larger than a request can be.
    pub async fn intake(
        &self,
        key: &Key,
        mime: &str,
        size: u64,
        lifetime: Duration,
    ) -> io::Result<Intake> {
        let inner = self.inner();
        let lifetime = lifetime.clamp(Duration::from_secs(1), MAX_LINK);
        let presigning = PresigningConfig::expires_in(lifetime).map_err(io::Error::other)?;
        let size = i64::try_from(size).map_err(io::Error::other)?;
        let request = inner
            .presigner
            .put_object()
            .bucket(&inner.options.bucket)
            .key(inner.name(key))
            .content_type(mime)
            .content_length(size)
            .presigned(presigning)
            .await
            .map_err(io::Error::other)?;
        let headers = request
            .headers()
            .filter(|(name, _)| !matches!(*name, "host" | "content-length"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok(Intake {
            url: request.uri().to_owned(),
            headers,
        })
    }
}

/// Where a blob is sent to, by PUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intake {
    /// The address.
    pub url: String,
    /// Headers that the request must have, besides those that every client sends.
    pub headers: Vec<(String, String)>,
}
