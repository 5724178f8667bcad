//! A scripted vendor for unit tests, on every target but `wasm32`.
//!
//! ```
//! use genvid_sdk::{http, testing::Vendor};
//!
//! let vendor = Vendor::new().expect("GET", "/v1/me", r#"{"name":"Ada"}"#);
//! let answer = http::get("https://api.acme.example/v1/me").send().unwrap();
//! assert_eq!(answer.status, 200);
//! assert_eq!(vendor.sent()[0].url, "https://api.acme.example/v1/me");
//! ```
//!
//! The plugin's calls on this thread are answered in the order of the expectations. A call
//! that was not expected fails the test, and so does an expectation that nobody used.

pub(crate) mod host;
mod reply;
mod sent;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

pub use reply::Reply;
pub use sent::Sent;

use crate::report::Level;
use crate::{Context, script, video, voice};

type Handler = Box<dyn FnMut(&Sent) -> Reply>;

struct Expectation {
    method: String,
    path: String,
    reply: Reply,
}

#[derive(Default)]
struct State {
    expected: VecDeque<Expectation>,
    handler: Option<Handler>,
    sent: Vec<Sent>,
    assets: Vec<(String, Vec<u8>)>,
    streams: Vec<host::Stream>,
    logs: Vec<(Level, String)>,
    text: String,
    now_ms: u64,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<RefCell<State>>>> = const { RefCell::new(None) };
}

/// The vendor of the current test thread, until it is dropped.
pub struct Vendor {
    state: Rc<RefCell<State>>,
}

impl Vendor {
    /// A vendor that expects nothing yet; it is 2026-11-22T00:00:00Z.
    ///
    /// # Panics
    /// When this thread already has one.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "it takes over the thread, which a default value should not"
    )]
    pub fn new() -> Self {
        let state = Rc::new(RefCell::new(State {
            now_ms: 1_795_305_600_000,
            ..State::default()
        }));
        CURRENT.with_borrow_mut(|current| {
            assert!(current.is_none(), "this thread already has a vendor");
            *current = Some(Rc::clone(&state));
        });
        Self { state }
    }

    /// The next call must have this method and this path. A `path` with `?` is compared with
    /// the query, one without is compared without it; a whole URL is compared whole.
    #[must_use]
    pub fn expect(self, method: &str, path: &str, reply: impl Into<Reply>) -> Self {
        self.state.borrow_mut().expected.push_back(Expectation {
            method: method.to_owned(),
            path: path.to_owned(),
            reply: reply.into(),
        });
        self
    }

    /// Answers whatever comes after the expectations.
    #[must_use]
    pub fn handle(self, handler: impl FnMut(&Sent) -> Reply + 'static) -> Self {
        self.state.borrow_mut().handler = Some(Box::new(handler));
        self
    }

    /// Sets the clock, in milliseconds since 1970.
    #[must_use]
    pub fn at_ms(self, now_ms: u64) -> Self {
        self.state.borrow_mut().now_ms = now_ms;
        self
    }

    /// Every request so far, in order.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        self.state.borrow().sent.clone()
    }

    /// The only request so far.
    ///
    /// # Panics
    /// When there was none, or more than one.
    #[must_use]
    pub fn only(&self) -> Sent {
        let sent = self.sent();
        assert_eq!(sent.len(), 1, "one request was expected: {sent:#?}");
        sent[0].clone()
    }

    /// The bytes of an asset that the plugin had saved.
    #[must_use]
    pub fn asset(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state.borrow();
        let (_, bytes) = state.assets.iter().find(|(known, _)| known == name)?;
        Some(bytes.clone())
    }

    /// The lines of the operator's log.
    #[must_use]
    pub fn logs(&self) -> Vec<(Level, String)> {
        self.state.borrow().logs.clone()
    }

    /// The live text, joined.
    #[must_use]
    pub fn text(&self) -> String {
        self.state.borrow().text.clone()
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        CURRENT.set(None);
        if std::thread::panicking() {
            return;
        }
        let unused: Vec<String> = self
            .state
            .borrow()
            .expected
            .iter()
            .map(|expected| format!("{} {}", expected.method, expected.path))
            .collect();
        assert!(unused.is_empty(), "expected, but never sent: {unused:?}");
    }
}

/// A context with client-ref `ref_1`, no callback and empty settings.
#[must_use]
pub fn context() -> Context {
    Context {
        client_ref: "ref_1".to_owned(),
        callback_url: None,
        settings: "{}".to_owned(),
    }
}

/// A silent portrait film in English with nothing else, to fill in.
#[must_use]
pub fn video_request() -> video::Request {
    video::Request {
        speech: video::Speech::Silent,
        prompt: None,
        language: "en".to_owned(),
        aspect: video::Aspect::Portrait,
        avatar: None,
        voice: None,
        images: Vec::new(),
        duration_ms: None,
        model: None,
        options: "{}".to_owned(),
    }
}

/// `Hello.` in English by voice `voice_1`, to fill in.
#[must_use]
pub fn voice_request() -> voice::Request {
    voice::Request {
        text: "Hello.".to_owned(),
        language: "en".to_owned(),
        voice: "voice_1".to_owned(),
        model: None,
        timing: false,
        options: "{}".to_owned(),
    }
}

/// A plain-text script in English, to fill in.
#[must_use]
pub fn script_request() -> script::Request {
    script::Request {
        instructions: "Write a script for a short film.".to_owned(),
        brief: "A bottle that keeps cold for 24 hours.".to_owned(),
        language: "en".to_owned(),
        max_seconds: None,
        schema: None,
        model: None,
        options: "{}".to_owned(),
    }
}
