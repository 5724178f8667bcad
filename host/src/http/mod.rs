//! Doors other than GraphQL: media, callbacks of vendors, links in mails, health.

mod account;
mod browsers;
mod client;
mod google;
mod health;
mod hooks;
mod intake;
pub mod listen;
mod mail;
mod media;
mod till;

use std::sync::Arc;

use axum::{
    Router,
    http::header,
    middleware,
    response::{IntoResponse, Redirect},
    routing::{get, post},
};
pub use browsers::Browsers;
pub use client::{ClientAddress, Peer};
use dashmap::DashSet;
use genvid_media::{BlobStore, Key};
use genvid_transport::Prevalidated;
pub use google::SignIn;
pub use health::Health;
use ipnet::IpNet;
pub use mail::PostOffice;

use crate::{
    accounts::sessions::Sessions, adapters::sql::Database, graphql, jobs::remote::Nudges,
    media::Links, payments, providers::Registry,
};

/// Everything that the doors lead to.
pub struct Parts {
    /// What runs GraphQL.
    pub executor: Prevalidated<graphql::Schema>,
    /// Who is calling.
    pub sessions: Sessions,
    /// Sign-in with Google.
    pub google: SignIn,
    /// What web pages may do.
    pub browsers: Browsers,
    /// Whose word about addresses is believed.
    pub proxies: Vec<IpNet>,
    /// How GraphQL is served.
    pub transport: genvid_transport::Options,
    /// The truth.
    pub database: Database,
    /// Files.
    pub blobs: Arc<dyn BlobStore>,
    /// Links to them.
    pub links: Links,
    /// Providers.
    pub registry: Registry,
    /// The workers' ears.
    pub nudges: Nudges,
    /// Links in mails, and what the mail vendor tells.
    pub post_office: PostOffice,
    /// What the payment vendor tells.
    pub payments: payments::Service,
    /// What health checks ask.
    pub health: Health,
}

/// What the doors share.
#[derive(Clone)]
struct Shared {
    database: Database,
    blobs: Arc<dyn BlobStore>,
    links: Links,
    registry: Registry,
    nudges: Nudges,
    /// Keys that somebody sends to now.
    arriving: Arc<DashSet<Key>>,
}

/// All doors.
pub fn router(parts: Parts) -> Router {
    let authenticator = graphql::auth::TokenAuthenticator::new(parts.sessions.clone());
    let proxies: Arc<[IpNet]> = parts.proxies.into();
    let graphql = genvid_transport::router(parts.executor, authenticator, parts.transport);
    let shared = Shared {
        database: parts.database,
        blobs: parts.blobs,
        links: parts.links,
        registry: parts.registry,
        nudges: parts.nudges,
        arriving: Arc::default(),
    };
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/graphql") }))
        .route("/graphql/schema.graphql", get(schema))
        .route(
            "/media/{*key}",
            get(media::serve)
                .put(intake::receive)
                .options(intake::preflight),
        )
        .route("/hooks/{provider}/{attempt}", post(hooks::receive))
        .with_state(shared)
        .merge(mail::router(parts.post_office))
        .merge(till::router(parts.payments))
        .merge(account::router(parts.sessions))
        .merge(google::router(parts.google))
        .merge(health::router(parts.health))
        .nest("/graphql", graphql.layer(parts.browsers.cors()))
        .layer(middleware::from_fn_with_state(proxies, client::note))
        .layer(middleware::map_response_with_state(
            parts.browsers.tls,
            browsers::harden,
        ))
}

/// The doors of a node that answers nobody but those who watch over it.
pub fn health_router(health: Health) -> Router {
    health::router(health).layer(middleware::map_response_with_state(false, browsers::harden))
}

async fn schema() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        graphql::sdl(),
    )
}
