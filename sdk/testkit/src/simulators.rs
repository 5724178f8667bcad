//! Starts and stops the simulators.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use axum::Router;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    control::{self, Handle},
    desk::Desk,
    elevenlabs,
    gate::Face,
    heygen, kling,
    media::Studio,
    openai,
    options::{Options, Vendor},
    resend::{self, ResendHandle},
    server,
    stripe::{self, StripeHandle},
};

/// Sets Stripe's ids apart from those of the vendors.
const STRIPE_SEED: u64 = 0x5712_19e0_0000_0000;

/// Sets Resend's ids apart from those of the others.
const RESEND_SEED: u64 = 0x2e5e_4d00_0000_0000;

/// Where the simulators listen, for example `http://127.0.0.1:34567`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Urls {
    /// HeyGen's simulator.
    pub heygen: String,
    /// Kling's simulator.
    pub kling: String,
    /// ElevenLabs' simulator.
    pub elevenlabs: String,
    /// OpenAI's simulator.
    pub openai: String,
    /// Stripe's simulator.
    pub stripe: String,
    /// Resend's simulator.
    pub resend: String,
}

/// The four vendors' simulators, Stripe's and Resend's, running. Dropping them stops them too, without waiting.
#[derive(Debug)]
pub struct Simulators {
    handles: BTreeMap<Vendor, Handle>,
    stripe: StripeHandle,
    resend: ResendHandle,
    secrets: BTreeMap<String, String>,
    stop: CancellationToken,
    servers: JoinSet<()>,
}

impl Simulators {
    /// Starts all of them.
    ///
    /// # Errors
    ///
    /// When a port cannot be taken, the media folder cannot be made, or `ffmpeg` does not
    /// run.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let studio = Studio::open(&options.ffmpeg, options.data_dir.as_deref()).await?;
        let studio = Arc::new(studio);
        // Pictures, sounds and callbacks that callers name by URL. No proxy: they are local.
        let web = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .build()
            .context("no HTTP client")?;
        let stop = CancellationToken::new();
        let mut servers = JoinSet::new();
        let mut handles = BTreeMap::new();
        for vendor in Vendor::ALL {
            let (port, limit) = match vendor {
                Vendor::HeyGen => (options.ports.heygen, options.limits.heygen),
                Vendor::Kling => (options.ports.kling, options.limits.kling),
                Vendor::ElevenLabs => (options.ports.elevenlabs, options.limits.elevenlabs),
                Vendor::OpenAi => (options.ports.openai, options.limits.openai),
            };
            let (listener, url) = listen(options.bind, port, vendor.id()).await?;
            let desk = Arc::new(Desk::new(
                options.keys.clone(),
                options.profile.clone(),
                limit,
                options.seed ^ ((vendor as u64) << 32),
                studio.clone(),
                web.clone(),
            ));
            let (router, routes, face) = build(vendor, desk);
            let handle = Handle {
                vendor,
                face,
                routes: routes.into(),
                url: url.clone(),
            };
            let router = router.merge(control::routes(handle.clone()));
            handles.insert(vendor, handle);
            servers.spawn(server::serve(listener, router, stop.clone()));
            tracing::debug!(%vendor, %url, "simulator listens");
        }
        let (listener, url) = listen(options.bind, options.ports.stripe, "stripe").await?;
        let desk = Arc::new(Desk::new(
            options.keys.clone(),
            options.profile.clone(),
            0,
            options.seed ^ STRIPE_SEED,
            studio.clone(),
            web.clone(),
        ));
        let (router, stripe) = stripe::build(desk, url);
        let router = router.merge(stripe::control_routes(stripe.clone()));
        servers.spawn(server::serve(listener, router, stop.clone()));
        servers.spawn(stripe::tick(stripe.clone(), stop.clone()));
        let (listener, url) = listen(options.bind, options.ports.resend, "resend").await?;
        let desk = Arc::new(Desk::new(
            options.keys.clone(),
            options.profile.clone(),
            0,
            options.seed ^ RESEND_SEED,
            studio,
            web,
        ));
        let (router, resend) = resend::build(desk, url);
        let router = router.merge(resend::control_routes(resend.clone()));
        servers.spawn(server::serve(listener, router, stop.clone()));
        Ok(Self {
            handles,
            stripe,
            resend,
            secrets: options.keys.secrets(),
            stop,
            servers,
        })
    }

    /// Where each of them listens.
    #[must_use]
    pub fn urls(&self) -> Urls {
        let url = |vendor| self.handles[&vendor].url().to_owned();
        Urls {
            heygen: url(Vendor::HeyGen),
            kling: url(Vendor::Kling),
            elevenlabs: url(Vendor::ElevenLabs),
            openai: url(Vendor::OpenAi),
            stripe: self.stripe.url().to_owned(),
            resend: self.resend.url().to_owned(),
        }
    }

    /// The credentials that work, under the names in the plugins' manifests, for example
    /// `HEYGEN_API_KEY`.
    #[must_use]
    pub fn secrets(&self) -> BTreeMap<String, String> {
        self.secrets.clone()
    }

    /// Controls of one of them.
    #[must_use]
    pub fn vendor(&self, vendor: Vendor) -> Handle {
        self.handles[&vendor].clone()
    }

    /// Controls of Stripe's simulator.
    #[must_use]
    pub fn stripe(&self) -> StripeHandle {
        self.stripe.clone()
    }

    /// Controls of Resend's simulator.
    #[must_use]
    pub fn resend(&self) -> ResendHandle {
        self.resend.clone()
    }

    /// The hosts that a vendor's answers and documents name, and that therefore have to lead
    /// to its simulator: API hosts first, then media hosts.
    #[must_use]
    pub fn hosts(vendor: Vendor) -> &'static [&'static str] {
        match vendor {
            Vendor::HeyGen => &["api.heygen.com", heygen::MEDIA_HOST],
            Vendor::Kling => &[
                "api-singapore.klingai.com",
                "api-beijing.klingai.com",
                kling::MEDIA_HOST,
            ],
            Vendor::ElevenLabs => &[
                "api.elevenlabs.io",
                "api.us.elevenlabs.io",
                "api.eu.residency.elevenlabs.io",
                "api.in.residency.elevenlabs.io",
                "api.sg.residency.elevenlabs.io",
            ],
            Vendor::OpenAi => &["api.openai.com"],
        }
    }

    /// Hosts of the links in answers, each with the vendor whose simulator serves them.
    #[must_use]
    pub fn media_hosts() -> BTreeMap<&'static str, Vendor> {
        BTreeMap::from([
            (heygen::MEDIA_HOST, Vendor::HeyGen),
            (kling::MEDIA_HOST, Vendor::Kling),
        ])
    }

    /// Closes the ports and all connections.
    pub async fn stop(mut self) {
        self.halt();
        while self.servers.join_next().await.is_some() {}
    }

    fn halt(&self) {
        for handle in self.handles.values() {
            handle.face.desk().silence();
        }
        self.stripe.silence();
        self.resend.silence();
        self.stop.cancel();
    }
}

impl Drop for Simulators {
    fn drop(&mut self) {
        self.halt();
    }
}

/// A port and the address at which it is reached.
async fn listen(bind: IpAddr, port: u16, name: &str) -> anyhow::Result<(TcpListener, Arc<str>)> {
    let address = SocketAddr::new(bind, port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} for {name}"))?;
    let url = format!("http://{}", reachable(listener.local_addr()?));
    Ok((listener, url.into()))
}

/// An address that a client on this machine can call, also when all are listened on.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn build(vendor: Vendor, desk: Arc<Desk>) -> (Router, Vec<String>, Arc<dyn Face>) {
    match vendor {
        Vendor::HeyGen => heygen::build(desk),
        Vendor::Kling => kling::build(desk),
        Vendor::ElevenLabs => elevenlabs::build(desk),
        Vendor::OpenAi => openai::build(desk),
    }
}
