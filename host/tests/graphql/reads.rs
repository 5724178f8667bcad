//! A list costs as many statements as it has relations, however long it is.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::json;
use tracing::{
    Event, Instrument as _, Subscriber,
    field::{Field, Visit},
    info_span,
};
use tracing_subscriber::{
    Layer, layer::Context, layer::SubscriberExt as _, registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::harness::Bench;

/// Counts the statements that run inside a span of this name.
const COUNTED: &str = "counted";

struct Statements(Arc<AtomicUsize>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Statements {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let inside = context
            .event_scope(event)
            .is_some_and(|mut scope| scope.any(|span| span.name() == COUNTED));
        let mut statement = Statement(false);
        event.record(&mut statement);
        if inside && event.metadata().target() == "sqlx::query" && statement.0 {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Is it a read of tables? A fresh connection sends a few statements about itself first.
struct Statement(bool);

impl Visit for Statement {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 |= field.name() == "summary" && format!("{value:?}").contains("SELECT");
    }
}

const QUERY: &str = "query ($first: Int!) { jobs(first: $first) { nodes {
    id provider progress costMicroUsd videoUrl voiceUrl durationMs
    project { id name }
    error { charged }
    steps { kind error { charged } attempts { id error { charged } } }
    events(first: 2) { nodes { seq } pageInfo { hasNextPage } } } } }";

#[tokio::test]
async fn a_longer_list_costs_no_more_statements() {
    let counter = Arc::new(AtomicUsize::new(0));
    tracing_subscriber::registry()
        .with(Statements(Arc::clone(&counter)))
        .try_init()
        .expect("no other test of this program listens to the log");
    let bench = Bench::new().await;
    for number in 0..12 {
        let project = bench.create_project(&format!("Bottle {number}")).await;
        bench.accept_video(Some(&project)).await;
    }
    let mut counts = Vec::new();
    for first in [1, 12] {
        let before = counter.load(Ordering::SeqCst);
        let data = bench
            .data(QUERY, json!({ "first": first }))
            .instrument(info_span!(COUNTED))
            .await;
        let nodes = data["jobs"]["nodes"].as_array().expect("nodes");
        assert_eq!(nodes.len(), first);
        assert!(nodes.iter().all(|job| job["project"]["name"].is_string()));
        assert!(
            nodes
                .iter()
                .all(|job| job["events"]["nodes"] == json!([{ "seq": 1 }]))
        );
        counts.push(counter.load(Ordering::SeqCst) - before);
    }
    // The page itself, steps, attempts, media, projects, events.
    assert_eq!(counts, [6, 6]);
}
