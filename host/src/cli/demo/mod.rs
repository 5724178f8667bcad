//! `genvid demo`: the main path from nothing to a video file, through the public API.

mod client;
mod show;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, bail};
use clap::Args;
use futures::StreamExt;
use genvid_testkit::Ports;
use serde_json::{Value, json};

use super::{Common, simulators, start_log};
use crate::app::App;
use client::Client;
use show::Show;

const CREATE_PROJECT: &str = include_str!("../../../../graphql/operations/CreateProject.graphql");
const GENERATE_SCRIPT: &str = include_str!("../../../../graphql/operations/GenerateScript.graphql");
const GENERATE_VIDEO: &str = include_str!("../../../../graphql/operations/GenerateVideo.graphql");
const WATCH_JOB: &str = include_str!("../../../../graphql/operations/WatchJob.graphql");
const JOB: &str = include_str!("../../../../graphql/operations/Job.graphql");

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    common: Common,
    /// Folder for video.mp4, thumbnail.jpg and subtitles.srt.
    #[arg(long, value_name = "DIR", default_value = "demo-out")]
    out: PathBuf,
    /// One JSON object as the last line of standard output; everything else goes to standard
    /// error.
    #[arg(long)]
    json: bool,
    /// How quick the simulated vendors are.
    #[arg(long, value_name = "SPEED", default_value = "demo", value_parser = ["instant", "demo", "realistic"])]
    speed: String,
}

pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    match make(&options).await {
        Ok(report) => {
            if options.json {
                println!("{report}");
            } else {
                summary(&report, &options.out);
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if options.json => {
            println!("{}", json!({ "ok": false, "error": format!("{error:#}") }));
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error),
    }
}

async fn make(options: &Options) -> anyhow::Result<Value> {
    let began = Instant::now();
    let flags = [
        ("server.port", "0".to_owned()),
        ("development.user", "demo@localhost".to_owned()),
        ("development.lenient_links", "true".to_owned()),
        (
            "log.filter",
            options
                .common
                .log
                .clone()
                .unwrap_or_else(|| "warn".to_owned()),
        ),
    ];
    // Data of an earlier demo is nobody's; a folder that was asked for is kept.
    let scratch = tempfile::tempdir()?;
    let mut settings = options.common.settings(&flags)?;
    start_log(&settings);
    // What an earlier demo compiled and rendered is good for the next one.
    let cache = crate::config::user_cache();
    if options.common.data_dir.is_none() {
        settings.data.dir = scratch.path().join("data");
        settings.plugins.cache_dir = cache.join("plugins");
    }
    let mut show = Show::new();
    let simulators = simulators::start(
        &options.speed,
        Some(cache.join("simulators")),
        Ports::default(),
    )
    .await?;
    let played = simulators::urls(&simulators);
    simulators::reroute(&mut settings, &played);
    let app = App::start(settings).await?;
    show.say(&format!(
        "Server     {}/graphql (with simulated vendors)",
        app.url
    ));

    let made = film(options, &app, &played, &mut show).await;
    show.finish();
    app.stop().await?;
    simulators.stop().await;
    let mut report = made?;
    report["seconds"] = json!((began.elapsed().as_secs_f64() * 10.0).round() / 10.0);
    Ok(report)
}

async fn film(
    options: &Options,
    app: &App,
    played: &BTreeMap<String, String>,
    show: &mut Show,
) -> anyhow::Result<Value> {
    let token = app.token.clone().context("the server made no local user")?;
    let client = Client::new(&app.url, token)?;
    let project: Value = client
        .change(
            CREATE_PROJECT,
            "createProject",
            json!({
                "name": "Demo",
                "productName": "Aurora Bottle",
                "productDescription": "A steel water bottle that keeps drinks cold for 24 hours and weighs 240 grams.",
            }),
            "project",
        )
        .await?;

    show.say("\nScript");
    let wish = json!({
        "projectId": project["id"], "language": "en", "maxSeconds": 20,
        "idempotencyKey": "demo-script",
    });
    let job: Value = client
        .change(GENERATE_SCRIPT, "generateScript", wish, "job")
        .await?;
    let job = watch(&client, &job, show).await?;
    let script = job["script"]["text"]
        .as_str()
        .context("the script is missing")?
        .to_owned();
    show.say(&format!("  “{script}”"));

    show.say("\nVideo");
    let wish = json!({
        "projectId": project["id"], "script": script, "language": "en", "aspect": "PORTRAIT",
        "subtitles": "BURNED", "idempotencyKey": "demo-video",
    });
    let job: Value = client
        .change(GENERATE_VIDEO, "generateVideo", wish, "job")
        .await?;
    let job = watch(&client, &job, show).await?;

    tokio::fs::create_dir_all(&options.out).await?;
    for (field, name) in [
        ("videoUrl", "video.mp4"),
        ("thumbnailUrl", "thumbnail.jpg"),
        ("subtitlesUrl", "subtitles.srt"),
    ] {
        let url = job[field]
            .as_str()
            .with_context(|| format!("{field} is missing"))?;
        client.download(url, &options.out.join(name)).await?;
    }
    let mut calls = serde_json::Map::new();
    for (vendor, url) in played {
        let invoice = client.get_json(&format!("{url}/_sim/invoice")).await?;
        calls.insert(vendor.clone(), invoice["calls"].clone());
    }
    let path = std::path::absolute(options.out.join("video.mp4"))?;
    Ok(json!({
        "ok": true,
        "jobId": job["id"],
        "status": job["status"],
        "video": {
            "path": path, "durationMs": job["durationMs"], "width": job["width"], "height": job["height"],
        },
        "steps": job["steps"].as_array().into_iter().flatten().map(|step| json!({
            "kind": step["kind"], "status": step["status"], "provider": step["provider"],
        })).collect::<Vec<_>>(),
        "costMicroUsd": job["costMicroUsd"],
        "vendorCalls": calls,
    }))
}

/// Watches a job to its end and answers it.
async fn watch(client: &Client, job: &Value, show: &mut Show) -> anyhow::Result<Value> {
    let id = job["id"].as_str().context("the job has no id")?;
    let mut events = std::pin::pin!(client.watch(WATCH_JOB, id).await?);
    while let Some(event) = events.next().await {
        show.event(&event?);
    }
    let job = client.ask(JOB, json!({ "id": id })).await?["job"].clone();
    for step in job["steps"].as_array().into_iter().flatten() {
        for attempt in step["attempts"].as_array().into_iter().flatten() {
            let cost = attempt["costMicroUsd"].as_f64().unwrap_or(0.0) / 1_000_000.0;
            show.say(&format!(
                "  {:<10} by {} {}, ${cost:.4}",
                step["kind"].as_str().unwrap_or_default().to_lowercase(),
                attempt["provider"].as_str().unwrap_or_default(),
                attempt["charge"]
                    .as_str()
                    .unwrap_or_default()
                    .to_lowercase()
                    .replace('_', " "),
            ));
        }
    }
    if job["status"] != "SUCCEEDED" {
        bail!(
            "the job ended {}: {}",
            job["status"],
            job["error"]["message"]
        );
    }
    Ok(job)
}

fn summary(report: &Value, out: &Path) {
    let video = &report["video"];
    println!();
    println!(
        "Made {} ({} x {}, {:.1} s) with its thumbnail and subtitles in {} s.",
        out.join("video.mp4").display(),
        video["width"],
        video["height"],
        video["durationMs"].as_f64().unwrap_or(0.0) / 1_000.0,
        report["seconds"],
    );
    println!("The vendors were simulated, so the picture is a test card. How to go on:");
    println!("  genvid dev                                  try the API in GraphiQL");
    println!("  HEYGEN_API_KEY=… ELEVENLABS_API_KEY=… OPENAI_API_KEY=… genvid serve");
    println!("                                              the real vendors");
}
