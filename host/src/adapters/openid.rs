//! Google as an OpenID provider: its metadata (OpenID Connect Discovery 1.0), its token endpoint
//! through the crate `oauth2`, its keys, and its ID tokens, checked as OpenID Connect Core 1.0, section
//! 3.1.3.7, says.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use async_trait::async_trait;
use futures::{StreamExt as _, future::BoxFuture};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{Jwk, JwkSet},
};
use oauth2::{
    AsyncHttpClient, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    RequestTokenError, Scope, TokenUrl,
    basic::{
        BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
        BasicTokenType,
    },
};
use reqwest::{Client, redirect::Policy};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Url;

use crate::accounts::google::{Attempt, IdentityProvider, Person, ProviderError};

/// Google's issuer. Its tokens may also name it without the scheme, which its own documentation
/// allows: <https://developers.google.com/identity/openid-connect/openid-connect>.
pub const GOOGLE: &str = "https://accounts.google.com";
const GOOGLE_BARE: &str = "accounts.google.com";
/// Domains whose addresses Google gives out to anybody.
const GOOGLE_MAIL: [&str; 2] = ["gmail.com", "googlemail.com"];

/// Longest time of a request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer, in bytes.
const MAX_ANSWER: usize = 256 * 1_024;
/// How long metadata and keys are kept.
const KEPT: Duration = Duration::from_secs(3_600);
/// Keys are asked for at most this often, whatever tokens name. Only the provider's own tokens come here.
const AT_MOST: Duration = Duration::from_secs(1);
/// By how much clocks may differ, in seconds.
const LEEWAY: u64 = 60;

/// What the operator has registered at Google.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Who gives out identities, for example [`GOOGLE`].
    pub issuer: String,
    /// This installation's name there.
    pub client_id: String,
    /// What it shows at the token endpoint.
    pub client_secret: SecretString,
    /// Where browsers come back to, as it is registered.
    pub redirect: String,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
}

/// Metadata and keys, and since when.
#[derive(Default)]
struct Kept {
    metadata: Option<(Instant, Arc<Metadata>)>,
    keys: Option<(Instant, Arc<JwkSet>)>,
}

/// The provider.
pub struct OpenId {
    registered: Registered,
    web: Web,
    kept: Mutex<Kept>,
}

/// The way to the provider, with bounds on what comes back.
struct Web(Client);

impl Web {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, WebError> {
        let (parts, body) = request.into_parts();
        let mut request = self.0.request(parts.method, parts.uri.to_string());
        for (name, value) in &parts.headers {
            request = request.header(name, value);
        }
        let answer = request.body(body).send().await?;
        let mut built = http::Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            built = built.header(name, value);
        }
        let mut body = Vec::new();
        let mut chunks = answer.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(WebError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(built.body(body)?)
    }
}

impl<'c> AsyncHttpClient<'c> for Web {
    type Error = WebError;
    type Future = BoxFuture<'c, Result<HttpResponse, WebError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

/// What the token endpoint answers beside OAuth's own fields.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct IdToken {
    id_token: Option<String>,
}

impl ExtraTokenFields for IdToken {}

type TokenResponse = oauth2::StandardTokenResponse<IdToken, BasicTokenType>;
type OAuth = oauth2::Client<
    BasicErrorResponse,
    TokenResponse,
    BasicTokenIntrospectionResponse,
    oauth2::StandardRevocableToken,
    BasicRevocationErrorResponse,
    oauth2::EndpointSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointSet,
>;

#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    iat: i64,
    nonce: Option<String>,
    azp: Option<String>,
    email: Option<String>,
    #[serde(default)]
    email_verified: bool,
    hd: Option<String>,
    name: Option<String>,
}

/// Why a request to the provider came to nothing.
#[derive(Debug, thiserror::Error)]
enum WebError {
    #[error(transparent)]
    Request(#[from] reqwest::Error),
    #[error("the answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
    #[error("the request could not be built")]
    Build(#[from] http::Error),
}

impl OpenId {
    /// A client of the provider.
    ///
    /// # Errors
    /// When the system's certificates cannot be read.
    pub fn new(registered: Registered) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(concat!("Genvid/", env!("CARGO_PKG_VERSION")))
            // A token endpoint that leads elsewhere would get the secret there.
            .redirect(Policy::none())
            .timeout(TIMEOUT)
            .build()?;
        Ok(Self {
            registered,
            web: Web(client),
            kept: Mutex::default(),
        })
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, url: &str) -> anyhow::Result<T> {
        let request = http::Request::get(url).body(Vec::new())?;
        let answer = self.web.send(request).await?;
        let status = answer.status();
        anyhow::ensure!(status.is_success(), "{url} answered {status}");
        serde_json::from_slice(answer.body())
            .with_context(|| format!("{url} answered no such JSON"))
    }

    /// What is kept, for a look: nobody waits here for the provider.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn metadata(&self) -> anyhow::Result<Arc<Metadata>> {
        let before = self.kept().metadata.clone();
        if let Some((at, metadata)) = &before
            && at.elapsed() < KEPT
        {
            return Ok(Arc::clone(metadata));
        }
        let issuer = self.registered.issuer.trim_end_matches('/');
        let url = format!("{issuer}/.well-known/openid-configuration");
        let found: anyhow::Result<Metadata> = self.get(&url).await;
        let metadata = match (found, before) {
            (Ok(found), _) => Arc::new(found),
            // Addresses hardly ever change: the ones of before are better than none.
            (Err(error), Some((_, before))) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "Google's metadata cannot be read"
                );
                before
            }
            (Err(error), None) => return Err(error),
        };
        anyhow::ensure!(
            metadata.issuer == self.registered.issuer,
            "{url} speaks for another issuer"
        );
        let safe = issuer.starts_with("https://");
        for endpoint in [
            &metadata.authorization_endpoint,
            &metadata.token_endpoint,
            &metadata.jwks_uri,
        ] {
            anyhow::ensure!(
                !safe || endpoint.starts_with("https://"),
                "{url} names an address without TLS"
            );
        }
        self.kept().metadata = Some((Instant::now(), Arc::clone(&metadata)));
        Ok(metadata)
    }

    /// The key with this name. A key that is not known is looked for again: providers change them.
    async fn key(&self, metadata: &Metadata, name: &str) -> anyhow::Result<Option<Jwk>> {
        if let Some((at, keys)) = self.kept().keys.clone() {
            let found = keys.find(name).cloned();
            let enough = match found {
                Some(_) => KEPT,
                None => AT_MOST,
            };
            if at.elapsed() < enough {
                return Ok(found);
            }
        }
        let keys: Arc<JwkSet> = Arc::new(self.get(&metadata.jwks_uri).await?);
        let found = keys.find(name).cloned();
        self.kept().keys = Some((Instant::now(), keys));
        Ok(found)
    }

    fn oauth(&self, metadata: &Metadata) -> anyhow::Result<OAuth> {
        Ok(
            oauth2::Client::new(ClientId::new(self.registered.client_id.clone()))
                .set_client_secret(ClientSecret::new(
                    self.registered.client_secret.expose_secret().to_owned(),
                ))
                .set_auth_uri(AuthUrl::new(metadata.authorization_endpoint.clone())?)
                .set_token_uri(TokenUrl::new(metadata.token_endpoint.clone())?)
                .set_redirect_uri(RedirectUrl::new(self.registered.redirect.clone())?),
        )
    }

    /// Whom an ID token is about, if it is of this attempt.
    async fn check(
        &self,
        metadata: &Metadata,
        token: &str,
        attempt: &Attempt,
    ) -> Result<Person, ProviderError> {
        let untrue = |why: &str| ProviderError::Untrue(format!("ID token: {why}"));
        let header = decode_header(token).map_err(|error| untrue(&error.to_string()))?;
        if header.alg != Algorithm::RS256 {
            return Err(untrue("it is not signed with RS256"));
        }
        let name = header.kid.ok_or_else(|| untrue("it names no key"))?;
        let found = self
            .key(metadata, &name)
            .await
            .map_err(ProviderError::Failed)?;
        let key = found.ok_or_else(|| untrue("its key is not published"))?;
        let key = DecodingKey::from_jwk(&key).map_err(|error| untrue(&error.to_string()))?;
        let mut wanted = Validation::new(Algorithm::RS256);
        wanted.leeway = LEEWAY;
        wanted.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        wanted.set_audience(&[&self.registered.client_id]);
        let mut issuers = vec![self.registered.issuer.as_str()];
        if self.registered.issuer == GOOGLE {
            issuers.push(GOOGLE_BARE);
        }
        wanted.set_issuer(&issuers);
        let claims: Claims = decode(token.as_bytes(), &key, &wanted)
            .map_err(|error| untrue(&error.to_string()))?
            .claims;
        if claims.nonce.as_deref() != Some(attempt.nonce.as_str()) {
            return Err(untrue("its nonce is of another attempt"));
        }
        if (claims.azp.as_ref()).is_some_and(|party| *party != self.registered.client_id) {
            return Err(untrue("it was made for another client"));
        }
        let now = i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap_or(i64::MAX);
        if claims.iat > now.saturating_add_unsigned(LEEWAY) {
            return Err(untrue("it is from the future"));
        }
        let email = claims.email.ok_or_else(|| untrue("it has no address"))?;
        let domain = email.rsplit('@').next().unwrap_or_default().to_lowercase();
        Ok(Person {
            subject: claims.sub,
            email_verified: claims.email_verified,
            authoritative: claims.hd.is_some() || GOOGLE_MAIL.contains(&domain.as_str()),
            email,
            name: claims.name,
        })
    }
}

#[async_trait]
impl IdentityProvider for OpenId {
    fn issuer(&self) -> &str {
        &self.registered.issuer
    }

    async fn page(&self, attempt: &Attempt) -> Result<String, ProviderError> {
        let verifier = PkceCodeVerifier::new(attempt.verifier.clone());
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
        let page = async {
            let oauth = self.oauth(&*self.metadata().await?)?;
            let state = attempt.state.clone();
            let (page, _) = oauth
                .authorize_url(|| CsrfToken::new(state))
                .add_scopes(
                    ["openid", "email", "profile"].map(|scope| Scope::new(scope.to_owned())),
                )
                .set_pkce_challenge(challenge)
                .add_extra_param("nonce", &attempt.nonce)
                .url();
            anyhow::Ok(page)
        };
        Ok(Url::to_string(&page.await.map_err(ProviderError::Failed)?))
    }

    async fn redeem(&self, code: String, attempt: &Attempt) -> Result<Person, ProviderError> {
        let metadata = self.metadata().await.map_err(ProviderError::Failed)?;
        let oauth = self.oauth(&metadata).map_err(ProviderError::Failed)?;
        let answer = oauth
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(attempt.verifier.clone()))
            .request_async(&self.web)
            .await;
        let answer: TokenResponse = answer.map_err(|error| match error {
            // What the provider says of the code or of this client; never the code itself.
            RequestTokenError::ServerResponse(said) => {
                ProviderError::Untrue(format!("the token endpoint says {}", said.error()))
            }
            RequestTokenError::Request(error) => ProviderError::Failed(
                anyhow::Error::new(error).context("the token endpoint failed"),
            ),
            RequestTokenError::Parse(error, _) => ProviderError::Failed(
                anyhow::Error::new(error).context("the token endpoint answered no such JSON"),
            ),
            RequestTokenError::Other(why) => {
                ProviderError::Failed(anyhow::anyhow!("the token endpoint: {why}"))
            }
        })?;
        let token = answer.extra_fields().id_token.as_deref();
        let token =
            token.ok_or_else(|| ProviderError::Untrue("there is no ID token".to_owned()))?;
        self.check(&metadata, token, attempt).await
    }
}
