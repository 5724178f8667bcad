//! What the tests share.

use std::{path::Path, process::Stdio, sync::Arc, time::Duration};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use genvid_testkit::{Keys, Options, Profile, Simulators, Vendor};
use serde_json::Value;
use tokio::{net::TcpListener, process::Command, sync::mpsc};

/// Simulators that take no time.
pub(crate) async fn start() -> Simulators {
    start_with(Profile::instant()).await
}

pub(crate) async fn start_with(profile: Profile) -> Simulators {
    let options = Options {
        profile,
        ..Options::default()
    };
    Simulators::start(options).await.expect("simulators start")
}

/// A client of one vendor with its credential.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) web: reqwest::Client,
    pub(crate) base: String,
    header: (&'static str, String),
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.bytes)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no header {name}"))
            .to_str()
            .expect("text")
    }
}

impl Client {
    pub(crate) fn new(simulators: &Simulators, vendor: Vendor) -> Self {
        let keys = Keys::default();
        let header = match vendor {
            Vendor::HeyGen => ("x-api-key", keys.heygen),
            Vendor::Kling => ("authorization", format!("Bearer {}", keys.kling)),
            Vendor::ElevenLabs => ("xi-api-key", keys.elevenlabs),
            Vendor::OpenAi => ("authorization", format!("Bearer {}", keys.openai)),
        };
        Self {
            web: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(Duration::from_secs(60))
                .build()
                .expect("a client"),
            base: simulators.vendor(vendor).url().to_owned(),
            header,
        }
    }

    pub(crate) fn key(mut self, value: &str) -> Self {
        self.header.1 = value.to_owned();
        self
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        let request = self.web.request(method, format!("{}{path}", self.base));
        if self.header.1.is_empty() {
            request
        } else {
            request.header(self.header.0, &self.header.1)
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        send(self.request("GET", path)).await.expect("an answer")
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        send(self.request("POST", path).json(body))
            .await
            .expect("an answer")
    }

    /// Follows a link of an answer as the host does: by path, at the simulator.
    pub(crate) async fn media(&self, link: &str) -> Reply {
        let url = reqwest::Url::parse(link).expect("a link");
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let request = self.web.get(format!("{}{path}", self.base));
        let host = url.host_str().expect("a host");
        send(request.header("host", host)).await.expect("media")
    }
}

pub(crate) async fn send(request: reqwest::RequestBuilder) -> reqwest::Result<Reply> {
    let response = request.send().await?;
    Ok(Reply {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        bytes: response.bytes().await?,
    })
}

/// Facts about a media file, by `ffprobe`, which also decodes all of it.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) seconds: f64,
    pub(crate) width: Option<u64>,
    pub(crate) height: Option<u64>,
    pub(crate) frames: u64,
    pub(crate) audio_codec: Option<String>,
    pub(crate) video_codec: Option<String>,
}

pub(crate) async fn facts(bytes: &[u8]) -> Facts {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("written");
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-count_frames",
            "-of",
            "json",
            "-show_streams",
            "-show_format",
        ])
        .arg(file.path())
        .stdin(Stdio::null())
        .output()
        .await
        .expect("ffprobe runs");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "ffprobe: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let stream = |kind: &str| {
        report["streams"].as_array().and_then(|streams| {
            streams
                .iter()
                .find(|stream| stream["codec_type"] == kind)
                .cloned()
        })
    };
    let (video, audio) = (stream("video"), stream("audio"));
    let codec = |stream: &Option<Value>| Some(stream.as_ref()?["codec_name"].as_str()?.to_owned());
    Facts {
        seconds: report["format"]["duration"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0.0),
        width: video.as_ref().and_then(|video| video["width"].as_u64()),
        height: video.as_ref().and_then(|video| video["height"].as_u64()),
        frames: video
            .as_ref()
            .and_then(|video| video["nb_read_frames"].as_str()?.parse().ok())
            .unwrap_or(0),
        audio_codec: codec(&audio),
        video_codec: codec(&video),
    }
}

/// Loudness of a media file in dBFS: the mean over all of it.
pub(crate) async fn loudness(bytes: &[u8]) -> f64 {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("written");
    loudness_of(file.path()).await
}

async fn loudness_of(path: &Path) -> f64 {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-i"])
        .arg(path)
        .args(["-af", "volumedetect", "-f", "null", "-"])
        .stdin(Stdio::null())
        .output()
        .await
        .expect("ffmpeg runs");
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    let (_, after) = report.split_once("mean_volume: ").expect("a loudness");
    let number = after.split_whitespace().next().expect("a number");
    number.parse().expect("a number")
}

/// Which share of the pixels' brightness changes between the first and a later second.
pub(crate) async fn moves(bytes: &[u8]) -> bool {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("written");
    let frame = async |at: &str| {
        Command::new("ffmpeg")
            .args([
                "-hide_banner",
                "-nostdin",
                "-loglevel",
                "error",
                "-ss",
                at,
                "-i",
            ])
            .arg(file.path())
            .args([
                "-frames:v",
                "1",
                "-vf",
                "scale=32:32",
                "-pix_fmt",
                "gray",
                "-f",
                "rawvideo",
                "-",
            ])
            .stdin(Stdio::null())
            .output()
            .await
            .expect("ffmpeg runs")
            .stdout
    };
    let (early, late) = (frame("0").await, frame("2").await);
    assert_eq!((early.len(), late.len()), (1024, 1024));
    let changed = early
        .iter()
        .zip(&late)
        .filter(|(a, b)| a.abs_diff(**b) > 6)
        .count();
    changed > 30
}

/// One delivery to a webhook receiver.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().expect("text")
    }
}

/// A receiver of webhooks: its URL, and what it gets.
pub(crate) async fn receiver() -> (String, mpsc::UnboundedReceiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sender, receiver) = mpsc::unbounded_channel();
    let sender = Arc::new(sender);
    let app = Router::new().route(
        "/hook",
        post(move |headers: HeaderMap, body: Bytes| {
            let sender = sender.clone();
            async move {
                let _ = sender.send(Received { headers, body });
            }
        }),
    );
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}/hook"), receiver)
}

/// The next delivery, or nothing within the time.
pub(crate) async fn next(
    receiver: &mut mpsc::UnboundedReceiver<Received>,
    within: Duration,
) -> Option<Received> {
    tokio::time::timeout(within, receiver.recv())
        .await
        .ok()
        .flatten()
}

/// A PNG of one colour, made without any library: stored (not compressed) deflate blocks.
pub(crate) async fn png(width: u32, height: u32) -> Vec<u8> {
    let source = format!("color=red:s={width}x{height}");
    Command::new("ffmpeg")
        .args([
            "-hide_banner",
            "-nostdin",
            "-loglevel",
            "error",
            "-f",
            "lavfi",
            "-i",
            &source,
        ])
        .args(["-frames:v", "1", "-f", "image2pipe", "-c:v", "png", "-"])
        .stdin(Stdio::null())
        .output()
        .await
        .expect("ffmpeg runs")
        .stdout
}
