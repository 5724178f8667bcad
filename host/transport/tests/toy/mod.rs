//! A schema and an authenticator that exercise the transport; shared by the tests and the example server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_graphql::{
    Context, Enum, Error, ErrorExtensions, ID, InputObject, Object, OneofObject, Result, Schema,
    SimpleObject, Subscription, ValidationMode,
    futures_util::{Stream, StreamExt, stream},
};
use genvid_transport::{Authenticator, Identity, Prevalidated, Refusal, RequestId, SchemaTypes};
use http::{StatusCode, header, request::Parts};
use serde_json::Value;
use tokio::time::{Instant, sleep};

pub(crate) type ToySchema = Schema<Query, Mutation, Events>;

/// What the schema counts, for tests to look at.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) increments: AtomicI32,
    pub(crate) open_streams: AtomicUsize,
    pub(crate) produced: AtomicUsize,
}

/// Who asks.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) String);

pub(crate) fn schema(counters: Arc<Counters>, mode: ValidationMode) -> ToySchema {
    Schema::build(Query, Mutation, Events)
        .data(counters)
        .validation_mode(mode)
        .finish()
}

/// As a server would build it.
pub(crate) fn executor(counters: &Arc<Counters>) -> Prevalidated<ToySchema> {
    Prevalidated::new(
        schema(Arc::clone(counters), ValidationMode::Strict),
        schema(Arc::clone(counters), ValidationMode::Fast),
    )
}

pub(crate) fn types() -> Arc<SchemaTypes> {
    let sdl = schema(Arc::default(), ValidationMode::Strict).sdl();
    SchemaTypes::from_sdl(&sdl).expect("async-graphql writes what it reads")
}

#[derive(Enum, Copy, Clone, PartialEq, Eq)]
enum Size {
    Small,
    Large,
}

#[derive(InputObject)]
struct Order {
    name: String,
    #[graphql(default = 1)]
    amount: i32,
    size: Option<Size>,
    price: Option<f64>,
    tags: Option<Vec<String>>,
    gift: Option<bool>,
    parts: Option<Vec<Order>>,
    pay: Option<Payment>,
}

#[derive(OneofObject)]
enum Payment {
    Card(String),
    Points(i32),
}

pub(crate) struct Query;

#[derive(SimpleObject, Default)]
struct Card {
    id: i32,
    title: String,
    status: String,
    progress: f64,
    owner: Option<String>,
    tags: Vec<String>,
    created_at: String,
    done: bool,
}

struct Nest(i32);

#[Object]
impl Nest {
    async fn depth(&self) -> i32 {
        self.0
    }
    async fn inner(&self) -> Nest {
        Nest(self.0 + 1)
    }
}

/// Fields that fail, under parents of every kind.
struct Family(i32);

#[Object]
impl Family {
    async fn id(&self) -> i32 {
        self.0
    }
    async fn coded(&self) -> Result<Option<i32>> {
        Err(forbidden())
    }
    async fn required(&self) -> Result<i32> {
        Err(forbidden())
    }
    /// Fails for even ids.
    async fn odd(&self) -> Result<i32> {
        if self.0 % 2 == 0 {
            Err(forbidden())
        } else {
            Ok(self.0)
        }
    }
    async fn child(&self) -> Option<Family> {
        Some(Family(self.0 + 1))
    }
    async fn sure(&self) -> Family {
        Family(self.0 + 1)
    }
    async fn children(&self) -> Vec<Family> {
        vec![Family(1), Family(2), Family(3)]
    }
    async fn maybes(&self) -> Vec<Option<Family>> {
        vec![Some(Family(1)), Some(Family(2)), Some(Family(3))]
    }
}

fn forbidden() -> Error {
    Error::new("Not yours").extend_with(|_, extensions| extensions.set("code", "FORBIDDEN"))
}

fn caller(context: &Context<'_>) -> String {
    context
        .data_opt::<Caller>()
        .map_or_else(|| "nobody".to_owned(), |caller| caller.0.clone())
}

#[Object]
impl Query {
    async fn hello(&self, #[graphql(default = "world")] name: String) -> String {
        format!("Hello, {name}")
    }
    async fn whoami(&self, context: &Context<'_>) -> String {
        caller(context)
    }
    async fn request_id(&self, context: &Context<'_>) -> Option<String> {
        context.data_opt::<RequestId>().map(|id| id.0.to_string())
    }
    async fn card(&self, id: i32) -> Card {
        Card {
            id,
            title: "A card".to_owned(),
            status: "RUNNING".to_owned(),
            progress: 0.5,
            ..Card::default()
        }
    }
    /// The order in words, to see what arrived.
    async fn order(&self, input: Order) -> String {
        let pay = match input.pay {
            Some(Payment::Card(card)) => card,
            Some(Payment::Points(points)) => points.to_string(),
            None => String::new(),
        };
        let size = input.size.map_or("", |size| {
            if size == Size::Small {
                "small"
            } else {
                "large"
            }
        });
        let tags = input.tags.unwrap_or_default().join("+");
        let parts = input.parts.map_or(0, |parts| parts.len());
        format!(
            "{} {} {size} {tags} {parts} {pay} {:?} {:?}",
            input.amount, input.name, input.price, input.gift
        )
    }
    async fn echo(&self, ids: Vec<ID>) -> Vec<ID> {
        ids
    }
    async fn nest(&self) -> Nest {
        Nest(1)
    }
    async fn uncoded(&self) -> Result<Option<i32>> {
        Err(Error::new("relation \"secrets\" does not exist"))
    }
    async fn coded(&self) -> Result<Option<i32>> {
        Err(forbidden())
    }
    async fn family(&self) -> Option<Family> {
        Some(Family(0))
    }
    async fn required(&self) -> Result<i32> {
        Err(Error::new("Nothing here")
            .extend_with(|_, extensions| extensions.set("code", "NOT_FOUND")))
    }
    async fn panics(&self, #[graphql(default = true)] now: bool) -> i32 {
        assert!(!now, "a resolver panics on purpose");
        0
    }
    async fn cookie(&self, context: &Context<'_>) -> bool {
        context.append_http_header("set-cookie", "a=1; HttpOnly");
        context.append_http_header("set-cookie", "b=2; HttpOnly");
        true
    }
    #[graphql(cache_control(max_age = 60))]
    async fn cached(&self) -> i32 {
        1
    }
    async fn open_streams(&self, context: &Context<'_>) -> Result<usize> {
        Ok(context
            .data::<Arc<Counters>>()?
            .open_streams
            .load(Ordering::SeqCst))
    }
    async fn short(&self, #[graphql(validator(max_length = 5))] text: String) -> String {
        text
    }
}

pub(crate) struct Mutation;

#[Object]
impl Mutation {
    async fn increment(&self, context: &Context<'_>) -> Result<i32> {
        Ok(context
            .data::<Arc<Counters>>()?
            .increments
            .fetch_add(1, Ordering::SeqCst)
            + 1)
    }
}

pub(crate) struct Events;

/// Counts a stream for as long as it lives.
struct Open(Arc<Counters>);

impl Open {
    fn new(context: &Context<'_>) -> Result<Self> {
        let counters = Arc::clone(context.data::<Arc<Counters>>()?);
        counters.open_streams.fetch_add(1, Ordering::SeqCst);
        Ok(Self(counters))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open_streams.fetch_sub(1, Ordering::SeqCst);
    }
}

#[Subscription]
impl Events {
    /// 1, 2, … `to`.
    async fn count(
        &self,
        context: &Context<'_>,
        to: i32,
        #[graphql(default)] every_ms: u64,
    ) -> Result<impl Stream<Item = i32>> {
        let open = Open::new(context)?;
        Ok(stream::iter(1..=to).then(move |number| {
            open.0.produced.fetch_add(1, Ordering::SeqCst);
            async move {
                if every_ms > 0 {
                    sleep(Duration::from_millis(every_ms)).await;
                }
                number
            }
        }))
    }
    /// As large as asked, as often as taken.
    async fn flood(
        &self,
        context: &Context<'_>,
        bytes: usize,
    ) -> Result<impl Stream<Item = String>> {
        let open = Open::new(context)?;
        let text = "x".repeat(bytes.min(1024 * 1024));
        Ok(stream::repeat_with(move || {
            open.0.produced.fetch_add(1, Ordering::SeqCst);
            text.clone()
        }))
    }
    /// Open and silent.
    async fn silence(&self, context: &Context<'_>) -> Result<impl Stream<Item = i32>> {
        let open = Open::new(context)?;
        Ok(stream::pending().inspect(move |_: &i32| {
            let _ = &open;
        }))
    }
    async fn refused(&self) -> Result<impl Stream<Item = i32>> {
        Err::<stream::Empty<i32>, _>(
            Error::new("No such job")
                .extend_with(|_, extensions| extensions.set("code", "NOT_FOUND")),
        )
    }
    async fn panicking(&self) -> impl Stream<Item = i32> {
        stream::iter(1..).map(|number| {
            if number < 3 {
                number
            } else {
                panic!("a stream panics on purpose")
            }
        })
    }
    async fn greeting(&self, context: &Context<'_>) -> impl Stream<Item = String> {
        let name = caller(context);
        stream::iter([name])
    }
}

/// Tokens: `good` and `other` are people, `short-MS` is a person for so many milliseconds, `slow` takes half a second,
/// `bad` is refused; without one the caller is nobody.
#[derive(Clone)]
pub(crate) struct Tokens;

impl Tokens {
    async fn identify(token: Option<&str>) -> Result<Identity, Refusal> {
        let Some(token) = token else {
            return Ok(Identity::anonymous());
        };
        let token = token.strip_prefix("Bearer ").unwrap_or(token);
        let (name, expires_at) = match token.split_once('-') {
            Some(("short", time)) => {
                let time = time.parse().map_err(|_| refusal())?;
                ("good", Some(Instant::now() + Duration::from_millis(time)))
            }
            _ => (token, None),
        };
        match name {
            "slow" => sleep(Duration::from_millis(500)).await,
            "good" | "other" => {}
            _ => return Err(refusal()),
        }
        let mut identity = Identity::with_data(Caller(name.to_owned()));
        identity.expires_at = expires_at;
        identity.key = Some(name.to_owned());
        Ok(identity)
    }
}

fn refusal() -> Refusal {
    let mut refusal = Refusal::new(
        StatusCode::UNAUTHORIZED,
        "UNAUTHENTICATED",
        "The token is not valid",
    );
    refusal.headers.insert(
        header::WWW_AUTHENTICATE,
        header::HeaderValue::from_static("Bearer"),
    );
    refusal
}

impl Authenticator for Tokens {
    async fn authenticate_http(&self, parts: &Parts) -> Result<Identity, Refusal> {
        let token = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        Self::identify(token).await
    }

    async fn authenticate_socket(
        &self,
        parts: &Parts,
        payload: &Value,
    ) -> Result<Identity, Refusal> {
        assert!(
            parts.headers.contains_key(header::UPGRADE),
            "the head of the upgrade request"
        );
        Self::identify(payload.get("authorization").and_then(Value::as_str)).await
    }
}
