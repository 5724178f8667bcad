//! Vendors that are played by this host's test kit: starting them, and pointing a server at
//! them.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use genvid_testkit::{Options, Ports, Profile, Simulators, Vendor};

use super::{Simulate, ready::Ready, serve::stopped};
use crate::config::Settings;

/// An empty look-up at a simulator proves after so many seconds that nothing was accepted:
/// simulators record what they accept at once.
const SETTLE_SECONDS: u32 = 3;

pub(super) async fn simulate(options: Simulate) -> anyhow::Result<ExitCode> {
    let ports = match options.port {
        0 => Ports::default(),
        first => Ports {
            heygen: first,
            kling: first.saturating_add(1),
            elevenlabs: first.saturating_add(2),
            openai: first.saturating_add(3),
            stripe: first.saturating_add(4),
            resend: first.saturating_add(5),
        },
    };
    let simulators = start(&options.speed, options.data_dir, ports).await?;
    let mut urls = all_urls(&simulators);
    urls.insert("resend".to_owned(), simulators.urls().resend);
    println!("Simulated vendors:");
    for (id, url) in &urls {
        println!("  {id:<11} {url}");
    }
    if let Some(path) = &options.ready_file {
        let ready = Ready {
            pid: std::process::id(),
            simulators: urls,
            ..Ready::default()
        };
        ready.write(path)?;
    }
    println!(
        "Point a server at them: genvid serve --simulators FILE (see --ready-file). Ctrl-C stops."
    );
    stopped().await;
    simulators.stop().await;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn start(
    speed: &str,
    data_dir: Option<PathBuf>,
    ports: Ports,
) -> anyhow::Result<Simulators> {
    let profile = match speed {
        "instant" => Profile::instant(),
        "realistic" => Profile::realistic(),
        _ => Profile::demo(),
    };
    Simulators::start(Options {
        profile,
        data_dir,
        ports,
        ..Options::default()
    })
    .await
}

/// Of the vendors that plugins call, and of the payment vendor.
pub(super) fn all_urls(simulators: &Simulators) -> BTreeMap<String, String> {
    let mut urls = urls(simulators);
    urls.insert("stripe".to_owned(), simulators.urls().stripe);
    urls
}

/// Of the vendors that plugins call.
pub(super) fn urls(simulators: &Simulators) -> BTreeMap<String, String> {
    let urls = simulators.urls();
    [
        (Vendor::HeyGen, urls.heygen),
        (Vendor::Kling, urls.kling),
        (Vendor::ElevenLabs, urls.elevenlabs),
        (Vendor::OpenAi, urls.openai),
    ]
    .into_iter()
    .map(|(vendor, url)| (vendor.id().to_owned(), url))
    .collect()
}

/// Reroutes the vendors to simulators, with the keys that simulators take by default.
pub(super) fn reroute(settings: &mut Settings, simulators: &BTreeMap<String, String>) {
    if let Some(url) = simulators.get("stripe") {
        let keys = genvid_testkit::Keys::default();
        let payments = &mut settings.payments;
        payments.stripe_url.clone_from(url);
        payments.stripe_key = keys.stripe.into();
        payments.stripe_webhook_secret = keys.stripe_webhook.into();
    }
    for vendor in Vendor::ALL {
        let Some(url) = simulators.get(vendor.id()) else {
            continue;
        };
        let provider = settings
            .providers
            .entry(vendor.id().to_owned())
            .or_default();
        for host in Simulators::hosts(vendor) {
            provider.reroute.insert((*host).to_owned(), url.clone());
        }
        provider.settle_after_seconds.get_or_insert(SETTLE_SECONDS);
        for (name, secret) in default_secrets() {
            provider
                .secrets
                .entry(name)
                .or_insert_with(|| secret.into());
        }
    }
}

fn default_secrets() -> BTreeMap<String, String> {
    genvid_testkit::Keys::default().secrets()
}
