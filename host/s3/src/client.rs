//! The SDK's client: where it asks, how long it waits, how often it tries, and what its
//! errors mean.

use std::io;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Config, Credentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId as _;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Builder as HttpBuilder, Connector, tls};
use secrecy::ExposeSecret as _;
use url::Url;

use crate::options::S3Options;
use crate::store::OpenError;

/// A client for the store as this host reaches it.
pub(crate) fn client(options: &S3Options) -> Result<Client, OpenError> {
    let proxy = match &options.proxy {
        None => ProxyConfig::disabled(),
        Some(address) => ProxyConfig::all(address.as_str())
            .map_err(|error| OpenError::Proxy(error.to_string()))?,
    };
    // The SDK's own default would take proxies from the environment, which is not read here.
    let http = HttpBuilder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder()
            .proxy_config(proxy.clone())
            .tls_provider(tls::Provider::Rustls(
                tls::rustls_provider::CryptoMode::AwsLc,
            ));
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.build()
    });
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(options.connect_timeout)
        .operation_attempt_timeout(options.request_timeout)
        .build();
    let config = base(options, options.endpoint.as_ref())
        .http_client(http)
        .retry_config(RetryConfig::standard().with_max_attempts(options.attempts))
        .timeout_config(timeouts)
        .build();
    Ok(Client::from_conf(config))
}

/// A client that signs links for the address that readers use. It sends nothing.
pub(crate) fn presigner(options: &S3Options) -> Client {
    let address = options.public_endpoint.as_ref();
    Client::from_conf(base(options, address.or(options.endpoint.as_ref())).build())
}

/// What changes for a request that carries up to a part of data.
pub(crate) fn with_data(options: &S3Options) -> Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(options.connect_timeout)
        .operation_attempt_timeout(options.part_timeout)
        .build();
    Config::builder().timeout_config(timeouts)
}

fn base(options: &S3Options, endpoint: Option<&Url>) -> Builder {
    let credentials = &options.credentials;
    let credentials = Credentials::new(
        credentials.access_key_id.clone(),
        credentials.secret_access_key.expose_secret(),
        credentials
            .session_token
            .as_ref()
            .map(|token| token.expose_secret().to_owned()),
        None,
        "settings",
    );
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(options.region.clone()))
        .credentials_provider(credentials)
        .force_path_style(options.path_style)
        // Checksums that the SDK adds by itself travel as trailers of chunked bodies, which
        // other stores do not read; the ones that are sent are set by hand.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = endpoint {
        config = config.endpoint_url(endpoint.as_str().trim_end_matches('/'));
    }
    config
}

/// A request that did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Status of the store's answer, if it gave one.
    pub(crate) status: Option<u16>,
    /// For callers and logs: what was being done, S3's code and words, the request's id. Never
    /// the request itself, whose headers hold a signature.
    pub(crate) error: io::Error,
}

impl Failure {
    pub(crate) fn of<E>(doing: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let status = error
            .raw_response()
            .map(|response| response.status().as_u16());
        let (kind, detail) = match error {
            SdkError::TimeoutError(_) => (io::ErrorKind::TimedOut, "no answer in time".to_owned()),
            SdkError::DispatchFailure(failure) => {
                let kind = if failure.is_timeout() {
                    io::ErrorKind::TimedOut
                } else {
                    io::ErrorKind::ConnectionAborted
                };
                let cause = failure.as_connector_error().map(|error| error as _);
                (kind, chain(cause))
            }
            answered => {
                let kind = match status {
                    Some(401 | 403) => io::ErrorKind::PermissionDenied,
                    Some(404) => io::ErrorKind::NotFound,
                    _ => io::ErrorKind::Other,
                };
                let mut detail = match (answered.code(), answered.message()) {
                    (Some(code), Some(message)) => format!("{code}: {message}"),
                    (Some(code), None) => code.to_owned(),
                    _ if status.is_some_and(|status| status >= 300) => "refused".to_owned(),
                    _ => chain(Some(answered)),
                };
                if let Some(status) = status {
                    detail.push_str(&format!(" (status {status}"));
                    if let Some(id) = error.request_id() {
                        detail.push_str(&format!(", request {id}"));
                    }
                    detail.push(')');
                }
                (kind, detail)
            }
        };
        Self {
            status,
            error: io::Error::new(kind, format!("{doing}: {detail}")),
        }
    }

    /// Did the store say that it does not do this, as opposed to failing at it?
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.status, Some(400 | 405 | 411 | 415 | 422 | 501))
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl From<Failure> for genvid_media::blob::Error {
    fn from(failure: Failure) -> Self {
        failure.error.into()
    }
}

/// An error and its causes in one line.
fn chain(error: Option<&(dyn std::error::Error + 'static)>) -> String {
    let lines: Vec<_> = std::iter::successors(error, |error| error.source())
        .map(ToString::to_string)
        .collect();
    if lines.is_empty() {
        "the connection failed".to_owned()
    } else {
        lines.join(": ")
    }
}
