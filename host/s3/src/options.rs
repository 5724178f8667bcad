//! What an operator says of the store.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::PART_BYTES;
use crate::writer::MAX_PARTS;

/// Longest prefix in bytes. Keys have at most 512, S3's names 1,024
/// (S3 User Guide, "Naming Amazon S3 objects").
const MAX_PREFIX: usize = 256;

/// Who asks the store.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Public half.
    pub access_key_id: String,
    /// Secret half.
    pub secret_access_key: SecretString,
    /// With temporary credentials only.
    pub session_token: Option<SecretString>,
}

/// Settings of an [`S3Store`](crate::S3Store).
#[derive(Clone, Debug)]
pub struct S3Options {
    /// Name of the bucket. It must exist.
    pub bucket: String,
    /// Region of the bucket. Other stores than AWS take any; `us-east-1` is usual.
    pub region: String,
    /// Address of the store; none for AWS's own of the region.
    pub endpoint: Option<Url>,
    /// Address under which readers reach the store, when it is another than the one that this
    /// host uses. Links are signed for it.
    pub public_endpoint: Option<Url>,
    /// Address of a CDN in front of the bucket. Links are then this, prefix and key, without a
    /// signature: they neither expire nor name the file, and whoever has one may read until
    /// the CDN says otherwise.
    pub public_base_url: Option<Url>,
    /// Name the bucket in the path (`host/bucket/key`) instead of the host
    /// (`bucket.host/key`)? Most stores besides AWS want it.
    pub path_style: bool,
    /// Put before every key, for example `genvid/`. All that lies under it is this store's.
    pub prefix: String,
    /// Who asks.
    pub credentials: Credentials,
    /// HTTP proxy for requests to the store. The environment's proxies are not used.
    pub proxy: Option<Url>,
    /// Largest blob in bytes; at most 10,000 parts of 8 MiB.
    pub max_bytes: u64,
    /// How often a request is tried before it fails, at least once.
    pub attempts: u32,
    /// Longest time to reach the store.
    pub connect_timeout: Duration,
    /// Longest time for the answer to one try, body not counted.
    pub request_timeout: Duration,
    /// Longest time for one try at sending a part or a small blob: 8 MiB.
    pub part_timeout: Duration,
}

/// Why settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// No bucket, or none that S3 could have.
    #[error("{0:?} is not the name of a bucket: 3 to 63 characters of a-z, 0-9, '.' and '-'")]
    Bucket(String),
    /// No region.
    #[error("{0:?} is not a region such as us-east-1")]
    Region(String),
    /// A prefix that could not stand before a key.
    #[error(
        "{0:?} is not a prefix: at most {MAX_PREFIX} characters of A-Z, a-z, 0-9, '.', '_', '-' \
         and '/', no slash in front and no part empty, '.' or '..'"
    )]
    Prefix(String),
    /// No key, or no secret.
    #[error("the credentials are incomplete: both access key id and secret access key are needed")]
    Credentials,
    /// An address that is not http or https.
    #[error("{0:?} is not an http or https address without query and fragment")]
    Address(String),
    /// Larger than S3 takes in parts of this size.
    #[error("blobs of {0} bytes do not fit into {MAX_PARTS} parts of {PART_BYTES} bytes")]
    TooLarge(u64),
}

impl S3Options {
    /// For a bucket at AWS, everything else as is usual: no prefix, names in the host, blobs of
    /// up to 2 GiB, four tries.
    pub fn new(bucket: &str, region: &str, credentials: Credentials) -> Self {
        Self {
            bucket: bucket.to_owned(),
            region: region.to_owned(),
            endpoint: None,
            public_endpoint: None,
            public_base_url: None,
            path_style: false,
            prefix: String::new(),
            credentials,
            proxy: None,
            max_bytes: 2 << 30,
            attempts: 4,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(60),
            part_timeout: Duration::from_secs(300),
        }
    }

    /// Checks what can be checked without the store, and gives the prefix its last slash.
    ///
    /// # Errors
    /// With the first setting that cannot be used.
    pub fn checked(mut self) -> Result<Self, OptionsError> {
        use secrecy::ExposeSecret as _;

        let named = |text: &str, least: usize| {
            (least..=63).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
        };
        if !named(&self.bucket, 3) {
            return Err(OptionsError::Bucket(self.bucket));
        }
        if !named(&self.region, 1) {
            return Err(OptionsError::Region(self.region));
        }
        if !self.prefix.is_empty() && !self.prefix.ends_with('/') {
            self.prefix.push('/');
        }
        if !is_prefix(&self.prefix) {
            return Err(OptionsError::Prefix(self.prefix));
        }
        if self.credentials.access_key_id.is_empty()
            || self
                .credentials
                .secret_access_key
                .expose_secret()
                .is_empty()
        {
            return Err(OptionsError::Credentials);
        }
        let addresses = [
            &self.endpoint,
            &self.public_endpoint,
            &self.public_base_url,
            &self.proxy,
        ];
        for address in addresses.into_iter().flatten() {
            let good = matches!(address.scheme(), "http" | "https")
                && address.has_host()
                && address.query().is_none()
                && address.fragment().is_none();
            if !good {
                return Err(OptionsError::Address(address.to_string()));
            }
        }
        if self.max_bytes > PART_BYTES as u64 * u64::from(MAX_PARTS) {
            return Err(OptionsError::TooLarge(self.max_bytes));
        }
        self.attempts = self.attempts.max(1);
        Ok(self)
    }
}

/// Names that need no escaping anywhere, so that prefix and key are the path of a link.
fn is_prefix(text: &str) -> bool {
    let Some(parts) = text.strip_suffix('/') else {
        return text.is_empty();
    };
    text.len() <= MAX_PREFIX
        && parts.split('/').all(|part| {
            !matches!(part, "" | "." | "..")
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        })
}
