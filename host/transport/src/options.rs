//! What the transport allows: sizes, counts and times.

use std::{sync::Arc, time::Duration};

use crate::{SchemaTypes, Shutdown};

/// Settings of one [`router`](crate::router). `Options::default()` is safe for the open internet.
#[derive(Clone, Debug)]
pub struct Options {
    /// Largest HTTP body in bytes; more is answered 413. Default 1 MiB.
    pub max_body_bytes: usize,
    /// How long a body may take to arrive; later is answered 408. Default 30 s.
    pub body_timeout: Duration,
    /// Largest JSON array of requests in one POST. 0, the default, refuses arrays; at most 10 is used.
    pub max_batch: usize,
    /// Largest document text in bytes. Default 100,000.
    pub max_query_bytes: usize,
    /// Limits on a document's shape, checked before anything runs.
    pub limits: DocumentLimits,
    /// The schema's types. With them variables are checked before anything runs, and a failed non-null field takes its
    /// nearest nullable parent with it, both as the GraphQL specification says. Default `None`: a variable of the wrong
    /// shape fails where it is used, and a failed field is `null`, whatever its type.
    pub types: Option<Arc<SchemaTypes>>,
    /// Memory for parsed documents, in estimated bytes. 0 switches the cache off. Default 16 MiB.
    pub document_cache_bytes: u64,
    /// How many documents clients may register under their SHA-256 (Apollo's automatic persisted queries).
    /// `None` switches the protocol off. Default 1,000.
    pub apq: Option<u64>,
    /// The only documents that are run, by their text or by its SHA-256 (`extensions.persistedQuery`). Default `None`:
    /// any document within the limits.
    pub stored: Option<Arc<[String]>>,
    /// How long a socket may take from upgrade to acknowledgement; later is closed with 4408. Default 10 s.
    pub init_timeout: Duration,
    /// A socket that was silent this long gets a WebSocket ping frame. Default 20 s.
    pub ping_interval: Duration,
    /// A socket that stays silent this long after a ping is dropped. Default 20 s.
    pub pong_timeout: Duration,
    /// A socket whose client reads nothing for this long while frames wait is closed with 1013. Default 20 s.
    pub write_timeout: Duration,
    /// Operations running at once on one socket; one more is answered with an `error` message. Default 50.
    pub max_operations_per_socket: usize,
    /// Largest message from a socket's client, in bytes; a larger one closes the socket with 1009. Default 64 KiB.
    pub max_message_bytes: usize,
    /// Sockets and event streams open at once; one more is answered 503. Default 10,000.
    pub max_sockets: usize,
    /// Sockets and event streams open at once under one [`Identity::key`](crate::Identity::key); one more socket is
    /// closed with 4429, one more stream answered 429. Default 50.
    pub max_sockets_per_key: usize,
    /// Which web pages may open sockets. Default: pages of the server's own host.
    pub allowed_origins: AllowedOrigins,
    /// How often an idle event stream sends a comment, so that proxies keep it. Default 15 s.
    pub sse_keep_alive: Duration,
    /// The page that browsers get; `None` switches it off. Default `None`.
    pub graphiql: Option<Graphiql>,
    /// Ends all sockets and streams when the server stops. Keep a clone.
    pub shutdown: Shutdown,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_body_bytes: 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            max_batch: 0,
            max_query_bytes: 100_000,
            limits: DocumentLimits::default(),
            types: None,
            document_cache_bytes: 16 * 1024 * 1024,
            apq: Some(1_000),
            stored: None,
            init_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            pong_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(20),
            max_operations_per_socket: 50,
            max_message_bytes: 64 * 1024,
            max_sockets: 10_000,
            max_sockets_per_key: 50,
            allowed_origins: AllowedOrigins::default(),
            sse_keep_alive: Duration::from_secs(15),
            graphiql: None,
            shutdown: Shutdown::default(),
        }
    }
}

/// Limits on the shape of a document. Fragments count at every place where they are spread, so a document cannot
/// hide work in them.
#[derive(Clone, Debug)]
pub struct DocumentLimits {
    /// Nesting of fields; `{ a { b } }` is 2. Default 15. Introspection has its own rule: 20 fields deep, and at most
    /// two of the lists `fields`, `inputFields`, `interfaces`, `possibleTypes` inside each other.
    pub depth: usize,
    /// Fields with an alias. Default 30.
    pub aliases: usize,
    /// Fields directly under the operation. Default 20.
    pub root_fields: usize,
    /// Directives, wherever they stand. Default 50.
    pub directives: usize,
    /// Fields in all. Default 1,000.
    pub fields: usize,
    /// Fragment definitions in the document. Default 100.
    pub fragments: usize,
    /// Operations in the document. Default 20.
    pub operations: usize,
    /// Lexical tokens of the text. Default 4,000.
    pub tokens: usize,
    /// Open brackets of any kind inside each other in the text. Default 60; the parser itself gives up at 64.
    pub brackets: usize,
}

impl Default for DocumentLimits {
    fn default() -> Self {
        Self {
            depth: 15,
            aliases: 30,
            root_fields: 20,
            directives: 50,
            fields: 1_000,
            fragments: 100,
            operations: 20,
            tokens: 4_000,
            brackets: 60,
        }
    }
}

/// Which values of `Origin` may open a WebSocket. A request without `Origin` does not come from a web page and always
/// may.
#[derive(Clone, Debug)]
pub enum AllowedOrigins {
    /// Any page. Only for servers that never read cookies.
    Any,
    /// Pages whose host and port equal the request's `Host`, and these origins (`https://app.example.com`).
    SameHostAnd(Vec<String>),
}

impl Default for AllowedOrigins {
    fn default() -> Self {
        Self::SameHostAnd(Vec::new())
    }
}

/// The GraphiQL page.
#[derive(Clone, Debug)]
pub struct Graphiql {
    /// Title of the page.
    pub title: String,
    /// Path under which the router is mounted, as the browser sees it.
    pub endpoint: String,
}

impl Default for Graphiql {
    fn default() -> Self {
        Self {
            title: "GraphiQL".to_owned(),
            endpoint: "/graphql".to_owned(),
        }
    }
}
