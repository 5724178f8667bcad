//! The GraphQL edge: authenticates, translates, calls one service, translates back.
//!
//! Rules that always hold:
//! - only this folder and the transport know async-graphql;
//! - errors are built in `error` alone, and codes come from the list in `codes`;
//! - a resolver asks one service; relations of jobs are read by `family`, once for a page;
//! - objects whose fields wait are `serial`: the engine puts fields that run side by side in
//!   the order in which they finish, and an answer should have the order of its question.
//!   Root fields stay side by side, since one may wait for a vendor;
//! - every list has a page size, a greatest one, and a cost in proportion;
//! - every type, field, argument and word is described for somebody who cannot see the code.

mod account;
mod administration;
mod api_key;
pub mod auth;
mod batch;
mod budget;
mod catalog;
pub mod codes;
mod connection;
mod context;
pub(crate) mod cookies;
mod cost;
mod credits;
mod enums;
mod error;
mod event;
mod family;
mod fields;
mod job;
mod job_mutations;
mod job_queries;
mod job_token;
mod payments;
mod problems;
mod project;
mod provider;
mod provider_secret;
mod quote;
mod scalars;
mod scopes;
mod script_template;
mod step;
mod upload;
mod user;
mod users;
mod webhook;

use std::{
    any::TypeId,
    sync::{Arc, LazyLock},
};

use async_graphql::{
    Data, MergedObject, MergedSubscription, Pos, SDLExportOptions, SchemaBuilder, ValidationMode,
};

pub use async_graphql::{Executor, Request, Response, Variables};
pub use context::Caller;
use futures::{FutureExt as _, StreamExt as _, stream::BoxStream};
use genvid_transport::Prevalidated;
use http::HeaderName;

use crate::{
    accounts::sessions::Sessions,
    billing, jobs, media, payments as money, projects,
    providers::{Catalog, Health, Registry, Secrets},
    rates::{Act, Rates, Refused, Subject},
    uploads, webhooks,
};

/// The services that the schema leads to.
#[derive(Clone)]
pub struct Services {
    /// Who is calling.
    pub sessions: Sessions,
    /// Credits.
    pub billing: billing::Service,
    /// Buying them.
    pub payments: money::Service,
    /// Products.
    pub projects: projects::Service,
    /// Scripts, voice tracks and videos to make.
    pub jobs: jobs::Service,
    /// Who makes them.
    pub registry: Registry,
    /// Their credentials.
    pub secrets: Secrets,
    /// How they do.
    pub health: Health,
    /// What can be chosen.
    pub catalog: Catalog,
    /// Links to results.
    pub links: media::Links,
    /// Pictures that users send.
    pub uploads: uploads::Service,
    /// What users are told by webhook.
    pub webhooks: webhooks::Service,
}

/// What one request may ask for. The shape of documents is limited by the transport.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Greatest cost: fields, those in lists counted by the list's page size.
    pub complexity: usize,
    /// May clients ask for the schema itself?
    pub introspection: bool,
}

/// Everything that can be asked.
#[derive(MergedObject, Default)]
struct Query(
    user::UserQueries,
    credits::CreditQueries,
    payments::PaymentQueries,
    project::ProjectQueries,
    job_queries::JobQueries,
    batch::BatchQueries,
    provider::ProviderQueries,
    catalog::CatalogQueries,
    script_template::ScriptQueries,
    webhook::WebhookQueries,
    administration::AdministrationQueries,
    users::UserListQueries,
    provider_secret::ProviderSecretQueries,
    api_key::ApiKeyQueries,
    account::AccountQueries,
);

/// Everything that can be changed. Each takes one `input` and answers a union of its success
/// and the problems that a client is expected to handle.
#[derive(MergedObject, Default)]
struct Mutation(
    project::ProjectMutations,
    upload::UploadMutations,
    quote::QuoteMutations,
    job_mutations::JobMutations,
    job_token::JobTokenMutations,
    batch::BatchMutations,
    webhook::WebhookMutations,
    payments::PaymentMutations,
    administration::AdministrationMutations,
    users::UserMutations,
    provider_secret::ProviderSecretMutations,
    api_key::ApiKeyMutations,
    account::AccountMutations,
);

/// Everything that can be followed.
#[derive(MergedSubscription, Default)]
struct Subscription(event::JobSubscriptions);

type Inner = async_graphql::Schema<Query, Mutation, Subscription>;

/// The schema over its services. Cheap to clone.
///
/// A request carries who is calling as `Request::data(Caller)`; without it nobody is signed
/// in.
#[derive(Clone)]
pub struct Schema {
    inner: Inner,
    /// The same, for requests that ask what they cost.
    measured: Late,
    rates: Rates,
}

/// A schema that is built when somebody needs it: building one is a good part of a start.
type Late = Arc<LazyLock<Inner, Box<dyn FnOnce() -> Inner + Send>>>;

impl Schema {
    fn for_request(&self, request: &Request) -> &Inner {
        match cost::is_asked(request) {
            true => LazyLock::force(&self.measured),
            false => &self.inner,
        }
    }

    /// Counts a request with an API key, whichever door it came through.
    async fn refuse(&self, request: &Request) -> Option<Response> {
        let caller = request.data.get(&TypeId::of::<Caller>())?;
        let key = caller.downcast_ref::<Caller>()?.key?;
        let subject = Subject::new("key", &key.to_string());
        let refused = self.rates.take(Act::ApiKey, &[subject]).await.err()?;
        let error = error::key_too_often(refused).into_server_error(Pos::default());
        let mut response = Response::from_errors(vec![error]);
        if let Refused::TooOften(standing) = refused {
            for (name, value) in context::headers(&standing, true) {
                if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), value.parse()) {
                    response.http_headers.insert(name, value);
                }
            }
        }
        Some(response)
    }
}

impl Executor for Schema {
    async fn execute(&self, request: Request) -> Response {
        match self.refuse(&request).await {
            Some(refused) => refused,
            None => self.for_request(&request).execute(request).await,
        }
    }

    fn execute_stream(
        &self,
        request: Request,
        session_data: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        let this = self.clone();
        let running = async move {
            match this.refuse(&request).await {
                Some(refused) => futures::stream::once(async { refused }).boxed(),
                None => {
                    let inner = this.for_request(&request);
                    Executor::execute_stream(inner, request, session_data)
                }
            }
        };
        running.flatten_stream().boxed()
    }
}

/// What the transports run: documents that were validated before are not validated again.
#[must_use]
pub fn executor(services: &Services, limits: Limits) -> Prevalidated<Schema> {
    let build = |mode| build(services.clone(), limits, mode);
    Prevalidated::new(build(ValidationMode::Strict), build(ValidationMode::Fast))
}

/// The schema over these services.
#[must_use]
pub fn schema(services: Services, limits: Limits) -> Schema {
    build(services, limits, ValidationMode::Strict)
}

fn build(services: Services, limits: Limits, mode: ValidationMode) -> Schema {
    let rates = services.sessions.rates().clone();
    let sightings = family::Sightings::new();
    let builder = move || {
        let builder = builder()
            .validation_mode(mode)
            .data(services.clone())
            .data(sightings.clone())
            .limit_complexity(limits.complexity);
        match limits.introspection {
            true => builder,
            false => builder.disable_introspection(),
        }
    };
    let cost = cost::Cost {
        maximum: limits.complexity,
    };
    Schema {
        inner: builder().finish(),
        measured: Arc::new(LazyLock::new(Box::new(move || {
            builder().extension(cost).finish()
        }))),
        rates,
    }
}

fn builder() -> SchemaBuilder<Query, Mutation, Subscription> {
    // No union names the interface of its own members, so it has to be named here.
    Inner::build(
        Query::default(),
        Mutation::default(),
        Subscription::default(),
    )
    .register_output_type::<problems::Problem>()
}

/// The schema as text, sorted, the same for every build: `graphql/schema.graphql`.
#[must_use]
pub fn sdl() -> String {
    let options = SDLExportOptions::new()
        .sorted_fields()
        .sorted_arguments()
        .sorted_enum_items()
        .include_specified_by()
        .prefer_single_line_descriptions()
        .use_space_ident()
        .indent_width(2);
    builder().finish().sdl_with_options(options)
}
