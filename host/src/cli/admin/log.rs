//! `genvid admin log`.

use clap::Args;
use serde_json::json;

use super::{Output, open};

/// Most acts that are shown.
const MOST: u32 = 1_000;

#[derive(Args)]
pub(super) struct Log {
    /// At most so many, newest first.
    #[arg(long, value_name = "COUNT", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)))]
    first: u32,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(Log { first, output }: Log) -> anyhow::Result<()> {
    let settings = output.settings()?;
    let installer = open(&settings).await?;
    let acts = installer.database().list_acts(None, first).await?.items;
    let rows: Vec<_> = acts
        .iter()
        .map(|act| {
            json!({
                "id": act.id.to_string(),
                "at": act.at.to_string(),
                "actor": act.actor,
                "act": act.kind.as_str(),
                "subject": act.subject,
                "details": act.details,
            })
        })
        .collect();
    output.show(&json!(rows), || {
        if acts.is_empty() {
            return "Nothing was done yet.".to_owned();
        }
        let lines = acts.iter().map(|act| {
            let (at, act_word) = (act.at, act.kind.as_str());
            format!(
                "{at}  {:<18} {}  {}  {}",
                act_word, act.subject, act.details, act.actor
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    })
}
