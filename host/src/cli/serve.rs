//! Running the server.

use std::process::ExitCode;

use genvid_testkit::Ports;
use tokio::signal::unix::{SignalKind, signal};

use super::{Dev, Serve, ready::Ready, simulators, start_log};
use crate::app::App;

/// Mail address of the local user of `genvid dev`.
const LOCAL_USER: &str = "dev@localhost";

pub(super) async fn serve(options: Serve) -> anyhow::Result<ExitCode> {
    let mut flags = options.listen.flags();
    flags.extend(
        options
            .role
            .iter()
            .map(|role| ("server.role", role.clone())),
    );
    flags.extend(
        options
            .local_user
            .iter()
            .map(|user| ("development.user", user.clone())),
    );
    flags.extend(
        options
            .local_token
            .iter()
            .map(|token| ("development.token", token.clone())),
    );
    if options.simulators.is_some() && options.local_user.is_none() {
        flags.push(("development.user", LOCAL_USER.to_owned()));
    }
    let mut settings = options.common.settings(&flags)?;
    start_log(&settings);
    let mut played = std::collections::BTreeMap::new();
    if let Some(file) = &options.simulators {
        played = Ready::read(file)?.simulators;
        simulators::reroute(&mut settings, &played);
        settings.development.lenient_links = true;
        tracing::warn!("vendors are simulated; nothing is really made or billed");
    }
    let role = settings.server.role;
    let app = App::start(settings).await?;
    let ready = Ready {
        simulators: played,
        ..Ready::of_server(&app.url, app.token.clone())
    };
    if let Some(path) = &options.listen.ready_file {
        ready.write(path)?;
    }
    if role.answers() {
        println!("GraphQL   {}/graphql", app.url);
    } else {
        println!("Health    {}/readyz", app.url);
    }
    if let Some(token) = &app.token {
        println!("Token     {token}");
    }
    stopped().await;
    app.stop().await?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn dev(options: Dev) -> anyhow::Result<ExitCode> {
    let mut flags = options.listen.flags();
    flags.push(("development.user", LOCAL_USER.to_owned()));
    flags.push(("development.lenient_links", "true".to_owned()));
    flags.push(("development.mailbox", "true".to_owned()));
    let mut settings = options.common.settings(&flags)?;
    start_log(&settings);
    std::fs::create_dir_all(&settings.data.dir)?;
    let media = settings.data.dir.join("simulators");
    let simulators = simulators::start(&options.speed, Some(media), Ports::default()).await?;
    let played = simulators::all_urls(&simulators);
    simulators::reroute(&mut settings, &played);
    let app = App::start(settings).await?;
    let door = format!("{}/api/payments/webhook", app.url);
    simulators.stripe().listen(&door, &[]);
    let ready = Ready {
        simulators: played.clone(),
        ..Ready::of_server(&app.url, app.token.clone())
    };
    if let Some(path) = &options.listen.ready_file {
        ready.write(path)?;
    }
    let token = app.token.clone().unwrap_or_default();
    println!("GraphiQL  {}/graphql#token={token}", app.url);
    println!("GraphQL   {}/graphql", app.url);
    println!("Token     {token}");
    println!("          (send it as `Authorization: Bearer …`)");
    println!("Mail      {}/dev/mail", app.url);
    println!("Payments  simulated: see createCheckout");
    println!("Vendors   simulated; nothing is really made or billed:");
    for (id, url) in &played {
        println!("          {id:<11} {url}");
    }
    println!("Ctrl-C stops.");
    stopped().await;
    app.stop().await?;
    simulators.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Waits for Ctrl-C or SIGTERM.
pub(super) async fn stopped() {
    let interrupted = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be listened to");
            // Without either signal the process can still be killed.
            let _ = interrupted.await;
        }
    }
    tracing::info!("stopping");
}
