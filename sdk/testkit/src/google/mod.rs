//! Google's sign-in: an OpenID provider (OpenID Connect Core 1.0 and Discovery 1.0, with PKCE of
//! RFC 7636). It has one person at a time, who agrees at once; and it can sign tokens that no client
//! may take. No plugin calls it: what stands behind it is a host's sign-in.

mod tokens;

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use axum::{
    Form, Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::Rng as _;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::server;
use tokens::Keys;

/// The only client that it knows.
const CLIENT_ID: &str = "sim-google-client.apps.example.com";
/// What the client shows at the token endpoint.
const CLIENT_SECRET: &str = "sim_google_client_secret";

/// Who sits before the browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// `sub`: stays the same for ever.
    pub subject: String,
    /// `email`.
    pub email: String,
    /// `email_verified`.
    pub email_verified: bool,
    /// `hd`: the domain of an organisation whose addresses Google itself gives out.
    pub hosted_domain: Option<String>,
    /// `name`.
    pub name: String,
}

impl Person {
    /// Somebody with a verified address.
    #[must_use]
    pub fn new(subject: &str, email: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            email: email.to_owned(),
            email_verified: true,
            hosted_domain: None,
            name: email.split('@').next().unwrap_or(email).to_owned(),
        }
    }
}

/// What is wrong with its answers from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignInTwist {
    /// Nothing.
    #[default]
    None,
    /// The person does not agree: `error=access_denied`.
    Denied,
    /// The answer to the browser names another issuer (RFC 9207).
    OtherAnswerer,
    /// The token endpoint fails.
    Broken,
    /// There is no ID token.
    NoToken,
    /// `alg` is `none`, and there is no signature.
    Unsigned,
    /// Signed with HS256 and the text of the public key.
    PublicKeyAsSecret,
    /// Signed by a key that is not published, under the name of one that is.
    OtherKey,
    /// Signed by a key that is not published, under its own name.
    UnknownKey,
    /// `iss` is somebody else.
    OtherIssuer,
    /// `aud` is another client.
    OtherAudience,
    /// `aud` is several clients, and `azp` another one.
    OtherParty,
    /// `nonce` is of another request.
    OtherNonce,
    /// There is no `nonce`.
    NoNonce,
    /// `exp` has passed.
    Expired,
    /// `iat` is tomorrow.
    FromTomorrow,
    /// The claims were changed after they were signed.
    Changed,
    /// The answer is larger than any that is meant.
    Huge,
}

/// A code that waits to be redeemed.
struct Code {
    redirect: String,
    challenge: String,
    nonce: String,
    person: Person,
}

struct Inner {
    url: String,
    keys: Keys,
    state: Mutex<Books>,
}

struct Books {
    person: Person,
    twist: SignInTwist,
    codes: HashMap<String, Code>,
    requests: BTreeMap<&'static str, u32>,
}

impl Inner {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, what: &'static str) -> SignInTwist {
        let mut books = self.books();
        *books.requests.entry(what).or_default() += 1;
        books.twist
    }
}

/// The provider, running. Dropping it stops it.
pub struct Google {
    inner: Arc<Inner>,
    stop: CancellationToken,
    _server: JoinSet<()>,
}

impl std::fmt::Debug for Google {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Google")
            .field("url", &self.inner.url)
            .finish_non_exhaustive()
    }
}

impl Google {
    /// Starts it on a free loopback port.
    ///
    /// # Errors
    /// When no port can be taken, or no key be made.
    pub async fn start() -> anyhow::Result<Self> {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let listener = TcpListener::bind(address).await.context("no port")?;
        let url = format!("http://{}", listener.local_addr()?);
        let inner = Arc::new(Inner {
            url,
            keys: tokio::task::spawn_blocking(Keys::new).await??,
            state: Mutex::new(Books {
                person: Person::new("10769150350006150715113082367", "ada@example.com"),
                twist: SignInTwist::None,
                codes: HashMap::new(),
                requests: BTreeMap::new(),
            }),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discover))
            .route("/certs", get(certificates))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(Arc::clone(&inner));
        let stop = CancellationToken::new();
        let mut servers = JoinSet::new();
        servers.spawn(server::serve(listener, router, stop.clone()));
        Ok(Self {
            inner,
            stop,
            _server: servers,
        })
    }

    /// The issuer: it stands for `https://accounts.google.com`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// The only client that it knows.
    #[must_use]
    pub fn client_id(&self) -> &'static str {
        CLIENT_ID
    }

    /// What that client shows at the token endpoint.
    #[must_use]
    pub fn client_secret(&self) -> &'static str {
        CLIENT_SECRET
    }

    /// Who signs in from now on.
    pub fn set_person(&self, person: Person) {
        self.inner.books().person = person;
    }

    /// What is wrong from now on.
    pub fn set_twist(&self, twist: SignInTwist) {
        self.inner.books().twist = twist;
    }

    /// How often something was asked for: `discovery`, `keys`, `authorize` or `token`.
    #[must_use]
    pub fn requests(&self, what: &str) -> u32 {
        self.inner.books().requests.get(what).copied().unwrap_or(0)
    }

    /// Signs with another key from now on, and publishes it beside the first one.
    pub fn rotate(&self) {
        self.inner.keys.rotate();
    }
}

impl Drop for Google {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn discover(State(google): State<Arc<Inner>>) -> Json<Value> {
    google.count("discovery");
    let url = &google.url;
    Json(json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/certs"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "email", "profile"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    }))
}

async fn certificates(State(google): State<Arc<Inner>>) -> Json<Value> {
    google.count("keys");
    Json(google.keys.published())
}

#[derive(Deserialize)]
struct Asked {
    client_id: String,
    redirect_uri: String,
    response_type: String,
    scope: String,
    state: String,
    nonce: String,
    code_challenge: String,
    code_challenge_method: String,
}

async fn authorize(State(google): State<Arc<Inner>>, Query(asked): Query<Asked>) -> Response {
    let twist = google.count("authorize");
    let good = asked.client_id == CLIENT_ID
        && asked.response_type == "code"
        && asked.scope.split(' ').any(|scope| scope == "openid")
        && asked.code_challenge_method == "S256"
        && asked.code_challenge.len() == 43
        && !asked.state.is_empty()
        && !asked.nonce.is_empty();
    let Ok(mut back) = Url::parse(&asked.redirect_uri) else {
        return refuse("redirect_uri_mismatch");
    };
    if !good {
        return refuse("invalid_request");
    }
    let issuer = match twist {
        SignInTwist::OtherAnswerer => "https://accounts.example.net",
        _ => google.url.as_str(),
    };
    let mut answer = back.query_pairs_mut();
    answer
        .append_pair("state", &asked.state)
        .append_pair("iss", issuer);
    if twist == SignInTwist::Denied {
        answer.append_pair("error", "access_denied");
    } else {
        let mut bytes = [0_u8; 24];
        rand::rng().fill_bytes(&mut bytes);
        let code = format!("4/{}", URL_SAFE_NO_PAD.encode(bytes));
        answer.append_pair("code", &code);
        let mut books = google.books();
        let person = books.person.clone();
        books.codes.insert(
            code,
            Code {
                redirect: asked.redirect_uri,
                challenge: asked.code_challenge,
                nonce: asked.nonce,
                person,
            },
        );
    }
    drop(answer);
    Redirect::to(back.as_str()).into_response()
}

#[derive(Deserialize)]
struct Redeemed {
    grant_type: String,
    code: String,
    redirect_uri: String,
    code_verifier: String,
    client_id: Option<String>,
    client_secret: Option<String>,
}

async fn token(
    State(google): State<Arc<Inner>>,
    headers: HeaderMap,
    Form(asked): Form<Redeemed>,
) -> Response {
    let twist = google.count("token");
    if twist == SignInTwist::Broken {
        return (StatusCode::BAD_GATEWAY, "<html>upstream").into_response();
    }
    let posted = (asked.client_id.as_deref(), asked.client_secret.as_deref());
    let basic = headers.get(header::AUTHORIZATION);
    let basic = basic.and_then(|value| value.to_str().ok());
    let shown =
        base64::engine::general_purpose::STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
    let known = posted == (Some(CLIENT_ID), Some(CLIENT_SECRET))
        || basic == Some(format!("Basic {shown}").as_str());
    if !known {
        return (
            StatusCode::UNAUTHORIZED,
            Json(json!({"error": "invalid_client"})),
        )
            .into_response();
    }
    // A code is good once.
    let Some(code) = google.books().codes.remove(&asked.code) else {
        return refuse("invalid_grant");
    };
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&asked.code_verifier));
    let good = asked.grant_type == "authorization_code"
        && asked.redirect_uri == code.redirect
        && challenge == code.challenge;
    if !good {
        return refuse("invalid_grant");
    }
    let token = google
        .keys
        .sign(twist, &google.url, CLIENT_ID, &code.nonce, &code.person);
    let mut answer = json!({
        "access_token": "ya29.simulated",
        "expires_in": 3_599,
        "scope": "openid email profile",
        "token_type": "Bearer",
        "id_token": token,
    });
    match twist {
        SignInTwist::NoToken => {
            answer
                .as_object_mut()
                .and_then(|answer| answer.remove("id_token"));
        }
        SignInTwist::Huge => answer["padding"] = json!("x".repeat(8 << 20)),
        _ => {}
    }
    Json(answer).into_response()
}

fn refuse(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response()
}
