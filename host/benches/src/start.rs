//! Row 18: from the start of the process to its first answer.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use async_trait::async_trait;
use axum::{Router, routing::get};
use tempfile::TempDir;

use crate::{
    process::{Process, free_port, own, serve},
    rounds::{Measured, Plan, Row, Side, Target, measure},
};

pub(crate) const START: Row = Row {
    number: 18,
    name: "start to first answer",
    unit: "start",
    baseline: "an empty axum server",
    target: Target::Within(Duration::from_millis(150)),
};

/// Answers on `/livez`, and does nothing else.
pub(crate) async fn empty_server(port: u16) -> anyhow::Result<()> {
    let router = Router::new().route("/livez", get(|| async { "ok" }));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    axum::serve(listener, router).await?;
    Ok(())
}

struct Empty;

#[async_trait]
impl Side for Empty {
    async fn run(&mut self, units: u64) -> anyhow::Result<()> {
        for _ in 0..units {
            let port = free_port()?;
            let mut command = Command::new(own()?);
            command.args(["empty-server", &port.to_string()]);
            Process::start(&mut command)?.first_answer(port)?;
        }
        Ok(())
    }

    /// Each unit is a process of its own, which is gone by then.
    fn cpu(&self) -> Option<Duration> {
        None
    }
}

struct Genvid {
    plugins: PathBuf,
    /// Database and compiled plugins of the start before.
    data: TempDir,
}

#[async_trait]
impl Side for Genvid {
    async fn run(&mut self, units: u64) -> anyhow::Result<()> {
        for _ in 0..units {
            let port = free_port()?;
            let mut command = serve("serve", port, self.data.path(), &self.plugins)?;
            Process::start(&mut command)?.first_answer(port)?;
        }
        Ok(())
    }

    fn cpu(&self) -> Option<Duration> {
        None
    }
}

pub(crate) async fn start(plan: &Plan, plugins: &Path) -> anyhow::Result<Measured> {
    let mut genvid = Genvid {
        plugins: plugins.to_owned(),
        data: TempDir::with_prefix("genvid-bench-")?,
    };
    measure(plan, START, 4, &mut Empty, &mut genvid).await
}
