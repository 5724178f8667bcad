//! Serves the toy schema, for the conformance scripts and for looking at GraphiQL:
//! `cargo run --workspace --example toy -- 127.0.0.1:4000`, then `http://127.0.0.1:4000/graphql`.
//!
//! Stops on Ctrl-C: sockets are closed with 1001 and event streams end.

#[path = "../tests/toy/mod.rs"]
mod toy;

use std::{sync::Arc, time::Duration};

use axum::serve::ListenerExt;
use genvid_transport::{Graphiql, Options, Shutdown};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:4000".to_owned());
    let shutdown = Shutdown::new();
    let options = Options {
        types: Some(toy::types()),
        graphiql: Some(Graphiql::default()),
        init_timeout: Duration::from_secs(2),
        shutdown: shutdown.clone(),
        ..Options::default()
    };
    let app = axum::Router::new().nest(
        "/graphql",
        genvid_transport::router(toy::executor(&Arc::default()), toy::Tokens, options),
    );
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("http://{}/graphql", listener.local_addr()?);
    // Small frames leave at once instead of waiting for the acknowledgement of the one before.
    let listener = listener.tap_io(|connection| {
        // A connection that is gone already fails when it is read.
        let _ = connection.set_nodelay(true);
    });
    let stop = {
        let shutdown = shutdown.clone();
        async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                shutdown.close();
            }
        }
    };
    axum::serve(listener, app)
        .with_graceful_shutdown(stop)
        .await?;
    shutdown.drained().await;
    Ok(())
}
