//! `genvid batch`: many films from a table, as a client of the public API.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

use crate::config;

/// Columns with text as it is.
const TEXTS: [&str; 7] = [
    "script",
    "language",
    "provider",
    "avatarId",
    "voiceProvider",
    "voiceId",
    "subtitles",
];
/// Columns with several values, divided by `|`.
const LISTS: [&str; 3] = ["aspects", "excludeProviders", "images"];
/// Largest table, in bytes.
const MAX_BYTES: u64 = 16 << 20;
/// Waits between two looks.
const LOOK: Duration = Duration::from_secs(2);

const BATCH: &str = "id name counts { total waiting refused underWay succeeded failed canceled }";
const ITEMS: &str = "items(first: 100, after: $after) { pageInfo { hasNextPage endCursor }
    nodes { index job { id status videoUrl error { code message } credits { captured } }
      refusal { code message path } } }";

#[derive(Args)]
pub(super) struct Batch {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ask for the films of a table (CSV), one line each.
    ///
    /// The first line names the columns, which are the fields of `generateVideos`' items:
    /// script, language, aspects (such as PORTRAIT|SQUARE: a film for each, with one voice),
    /// provider, excludeProviders, avatarId, voiceProvider, voiceId, images, maxSeconds, subtitles,
    /// options (JSON), reuse. Values of lists are divided by |. An empty field is left out. All
    /// lines are checked before anything is sent.
    #[command(
        after_help = "Example:\n  GENVID_TOKEN=gv_… genvid batch create --file films.csv --project prj_… --max-credits 5000 --watch\n\n  films.csv:\n    script,language,aspects\n    \"Cold water, all day.\",en,PORTRAIT|SQUARE\n    \"整天冰凉。\",zh-CN,PORTRAIT"
    )]
    Create {
        /// The table: UTF-8, at most 16 MB.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// The project of the films.
        #[arg(long, value_name = "PROJECT")]
        project: String,
        /// What the batch is called.
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// The most that all of them may cost.
        #[arg(long, value_name = "CREDITS")]
        max_credits: Option<u32>,
        /// Makes it happen once; without it, the same table for the same project is the same
        /// batch.
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// Say what it may cost, and start nothing.
        #[arg(long)]
        dry_run: bool,
        /// Wait until all films are done.
        #[arg(long)]
        watch: bool,
        #[command(flatten)]
        api: Api,
    },
    /// Show how a batch stands.
    Show {
        /// The batch (bat_…).
        id: String,
        /// Wait until all films are done.
        #[arg(long)]
        watch: bool,
        #[command(flatten)]
        api: Api,
    },
    /// Try the failed films of a batch again.
    Retry {
        /// The batch (bat_…).
        id: String,
        /// Wait until all films are done.
        #[arg(long)]
        watch: bool,
        #[command(flatten)]
        api: Api,
    },
    /// Stop a batch.
    Cancel {
        /// The batch (bat_…).
        id: String,
        #[command(flatten)]
        api: Api,
    },
}

/// Where the server is, and who asks.
#[derive(Args)]
struct Api {
    /// Address of the server. GENVID_TOKEN has the token or API key, or the file that
    /// GENVID_TOKEN_FILE names.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// JSON instead of words.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(Batch { command }: Batch) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create {
            file,
            project,
            name,
            max_credits,
            key,
            dry_run,
            watch,
            api,
        } => {
            let items = read(&file)?;
            let key = key.unwrap_or_else(|| own_key(&project, &items));
            let input = json!({
                "projectId": project, "name": name, "items": items, "idempotencyKey": key,
                "maxCredits": max_credits,
            });
            let remote = Remote::new(api)?;
            if dry_run {
                return remote.quote(&input).await;
            }
            let batch = remote
                .change("generateVideos", "GenerateVideos", &input)
                .await?;
            let id = batch["batch"]["id"].as_str().unwrap_or_default().to_owned();
            remote.follow(&id, watch).await
        }
        Command::Show { id, watch, api } => Remote::new(api)?.follow(&id, watch).await,
        Command::Retry { id, watch, api } => {
            let remote = Remote::new(api)?;
            let input = json!({"batchId": id});
            remote.change("retryBatch", "RetryBatch", &input).await?;
            remote.follow(&id, watch).await
        }
        Command::Cancel { id, api } => {
            let remote = Remote::new(api)?;
            let input = json!({"batchId": id});
            remote.change("cancelBatch", "CancelBatch", &input).await?;
            remote.follow(&id, false).await
        }
    }
}

/// The same for the same table and project.
fn own_key(project: &str, items: &[Value]) -> String {
    use sha2::{Digest as _, Sha256};
    let text = format!("{project} {}", Value::from(items.to_vec()));
    format!("csv-{}", hex::encode(Sha256::digest(text)))
}

/// The films of a table. Everything that is wrong is told at once, with its line and column.
fn read(file: &PathBuf) -> anyhow::Result<Vec<Value>> {
    let size = std::fs::metadata(file)
        .with_context(|| format!("{}", file.display()))?
        .len();
    anyhow::ensure!(
        size <= MAX_BYTES,
        "{}: has {size} bytes; at most {MAX_BYTES} are taken",
        file.display()
    );
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{}: must be UTF-8 text", file.display()))?;
    let (items, wrong) = films(text.trim_start_matches('\u{feff}'))?;
    if !wrong.is_empty() {
        bail!("{}:\n  {}", file.display(), wrong.join("\n  "));
    }
    anyhow::ensure!(
        !items.is_empty(),
        "{}: has no line with a film",
        file.display()
    );
    Ok(items)
}

fn films(text: &str) -> anyhow::Result<(Vec<Value>, Vec<String>)> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let names: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    let mut wrong = Vec::new();
    let others = ["maxSeconds", "options", "reuse"];
    let known = || TEXTS.iter().chain(&LISTS).chain(&others).copied();
    for name in names
        .iter()
        .filter(|name| !known().any(|known| known == *name))
    {
        let all: Vec<_> = known().collect();
        wrong.push(format!(
            "line 1: {name} is no column; there are {}",
            all.join(", ")
        ));
    }
    for needed in ["language", "aspects"] {
        if !names.iter().any(|name| name == needed) {
            wrong.push(format!("line 1: there must be a column {needed}"));
        }
    }
    let mut items = Vec::new();
    for row in reader.records() {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                wrong.push(error.to_string());
                continue;
            }
        };
        let line = row.position().map_or(0, csv::Position::line);
        let fields: BTreeMap<&str, &str> = names.iter().map(String::as_str).zip(&row).collect();
        let mut item = Map::new();
        for (name, text) in fields.into_iter().filter(|(_, text)| !text.is_empty()) {
            match value(name, text) {
                Ok(value) => {
                    item.insert(name.to_owned(), value);
                }
                Err(why) => wrong.push(format!("line {line}, {name}: {why}")),
            }
        }
        items.push(Value::Object(item));
    }
    Ok((items, wrong))
}

fn value(name: &str, text: &str) -> Result<Value, String> {
    if LISTS.contains(&name) {
        return Ok(text.split('|').map(str::trim).collect());
    }
    match name {
        "maxSeconds" => (text.parse::<u32>().map(Value::from))
            .map_err(|_| format!("must be a whole number, not {text}")),
        "options" => serde_json::from_str(text).map_err(|error| format!("must be JSON: {error}")),
        "reuse" => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Ok(true.into()),
            "false" | "no" | "0" => Ok(false.into()),
            _ => Err(format!("must be true or false, not {text}")),
        },
        _ => Ok(text.into()),
    }
}

/// A server, and whoever asks it.
struct Remote {
    client: Client,
    url: String,
    token: SecretString,
    json: bool,
}

impl Remote {
    fn new(api: Api) -> anyhow::Result<Self> {
        let token = config::secret("GENVID_TOKEN", &BTreeMap::new()).map_err(anyhow::Error::msg)?;
        let token = token.context(
            "there is no token: set GENVID_TOKEN, or name its file with GENVID_TOKEN_FILE",
        )?;
        Ok(Self {
            client: Client::builder().timeout(Duration::from_secs(60)).build()?,
            url: format!("{}/graphql", api.url.trim_end_matches('/')),
            token,
            json: api.json,
        })
    }

    async fn ask(&self, query: &str, variables: Value) -> anyhow::Result<Value> {
        let request = self
            .client
            .post(&self.url)
            .bearer_auth(self.token.expose_secret())
            .json(&json!({"query": query, "variables": variables}));
        let answer = request
            .send()
            .await
            .with_context(|| format!("{} does not answer", self.url))?;
        let answer: Value = answer.json().await.context("the answer is no JSON")?;
        if let Some(error) = answer["errors"].get(0) {
            bail!(
                "{}",
                error["message"]
                    .as_str()
                    .unwrap_or("the request was refused")
            );
        }
        Ok(answer["data"].clone())
    }

    async fn change(&self, name: &str, kind: &str, input: &Value) -> anyhow::Result<Value> {
        let query = format!(
            "mutation($input: {kind}Input!) {{ {name}(input: $input) {{
                ... on {kind}Success {{ batch {{ id }} }} ... on Problem {{ code message }} }} }}"
        );
        let data = self.ask(&query, json!({"input": input})).await?;
        let result = data[name].clone();
        if let Some(code) = result["code"].as_str() {
            bail!("{code}: {}", result["message"].as_str().unwrap_or_default());
        }
        Ok(result)
    }

    async fn quote(&self, input: &Value) -> anyhow::Result<ExitCode> {
        let query = "mutation($input: GenerateVideosInput!) { quoteVideos(input: $input) {
            ... on QuoteVideosSuccess { quote { id minCredits maxCredits expiresAt
                items { index quote { minCredits maxCredits } refusal { code message path } } } }
            ... on Problem { code message } } }";
        let data = self.ask(query, json!({"input": input})).await?;
        let result = &data["quoteVideos"];
        if let Some(code) = result["code"].as_str() {
            bail!("{code}: {}", result["message"].as_str().unwrap_or_default());
        }
        let quote = &result["quote"];
        let items = quote["items"].as_array().cloned().unwrap_or_default();
        let refused = items.iter().filter(|item| !item["refusal"].is_null());
        let refused: Vec<_> = refused.collect();
        if self.json {
            println!("{quote}");
        } else {
            println!(
                "{} films cost {} to {} credits together.",
                items.len() - refused.len(),
                quote["minCredits"],
                quote["maxCredits"]
            );
            for item in &refused {
                let refusal = &item["refusal"];
                println!(
                    "  film {} is refused: {}",
                    item["index"],
                    words(&refusal["message"])
                );
            }
        }
        Ok(if refused.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// Shows a batch; waits for its end if that is wanted, with its progress on standard error.
    async fn follow(&self, id: &str, watch: bool) -> anyhow::Result<ExitCode> {
        let query = format!("query($id: ID!) {{ batch(id: $id) {{ {BATCH} }} }}");
        let mut last = Value::Null;
        let mut batch = loop {
            let data = self.ask(&query, json!({"id": id})).await?;
            let batch = data["batch"].clone();
            anyhow::ensure!(!batch.is_null(), "there is no batch {id}");
            let counts = batch["counts"].clone();
            let over = counts["waiting"] == 0 && counts["underWay"] == 0;
            if !watch || over {
                break batch;
            }
            if counts != last {
                eprintln!("{}", standing(&counts));
                last = counts;
            }
            tokio::time::sleep(LOOK).await;
        };
        batch["items"] = self.items(id).await?;
        if self.json {
            println!("{batch}");
        } else {
            show(&batch);
        }
        let failed = ["refused", "failed", "canceled"]
            .iter()
            .any(|count| batch["counts"][count] != 0);
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }

    /// All items of a batch.
    async fn items(&self, id: &str) -> anyhow::Result<Value> {
        let query = format!("query($id: ID!, $after: String) {{ batch(id: $id) {{ {ITEMS} }} }}");
        let (mut items, mut after) = (Vec::new(), Value::Null);
        loop {
            let data = self.ask(&query, json!({"id": id, "after": after})).await?;
            let page = &data["batch"]["items"];
            items.extend(page["nodes"].as_array().into_iter().flatten().cloned());
            if page["pageInfo"]["hasNextPage"] != true {
                return Ok(items.into());
            }
            after = page["pageInfo"]["endCursor"].clone();
        }
    }
}

fn words(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn standing(counts: &Value) -> String {
    format!(
        "{} films: {} wait, {} are under way, {} succeeded, {} failed, {} refused, {} canceled",
        counts["total"],
        counts["waiting"],
        counts["underWay"],
        counts["succeeded"],
        counts["failed"],
        counts["refused"],
        counts["canceled"]
    )
}

fn show(batch: &Value) {
    println!("{}  {}", words(&batch["id"]), words(&batch["name"]));
    println!("{}", standing(&batch["counts"]));
    for item in batch["items"].as_array().into_iter().flatten() {
        let (job, refusal) = (&item["job"], &item["refusal"]);
        let line = match (job.is_null(), refusal.is_null()) {
            (false, _) => {
                let what = match words(&job["videoUrl"]) {
                    "" => words(&job["error"]["message"]),
                    url => url,
                };
                format!("{} {} {what}", words(&job["status"]), words(&job["id"]))
            }
            (true, false) => format!("{} {}", words(&refusal["code"]), words(&refusal["message"])),
            (true, true) => "WAITING".to_owned(),
        };
        println!("{:>4}  {line}", item["index"].to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_or_everything_wrong_is_told() {
        let text = "script,language,aspects,maxSeconds,options,reuse\n\
            \"Cold, all day.\",en,PORTRAIT | SQUARE,30,\"{\"\"a\"\": 1}\",no\n,zh-CN,SQUARE,,,\n";
        let (items, wrong) = films(text).expect("a table");
        assert!(wrong.is_empty(), "{wrong:?}");
        let first = json!({
            "script": "Cold, all day.", "language": "en", "aspects": ["PORTRAIT", "SQUARE"],
            "maxSeconds": 30, "options": {"a": 1}, "reuse": false,
        });
        assert_eq!(
            items,
            [first, json!({"language": "zh-CN", "aspects": ["SQUARE"]})]
        );

        let text = "language,colour,maxSeconds,reuse\nen,red,many,maybe\nen\n";
        let (_, wrong) = films(text).expect("a table");
        for words in [
            "line 1: colour is no column",
            "line 1: there must be a column aspects",
            "line 2, maxSeconds: must be a whole number",
            "line 2, reuse: must be true or false",
            "line: 3",
        ] {
            assert!(
                wrong.iter().any(|one| one.contains(words)),
                "{words}: {wrong:?}"
            );
        }
    }
}
