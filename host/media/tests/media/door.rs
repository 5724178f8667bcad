//! Films of a store without local files, which programs read over a door.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use genvid_media::blob;
use genvid_media::ffmpeg::{Aspect, Error, Source, Studio, StudioOptions, Tools};
use genvid_media::{Blob, BlobStore, BlobWriter, ByteRange, Key, Stat};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::contract::{key, put};
use crate::kit::{Kit, eventually};
use crate::storage::{Remote, open};

/// A store without local files, below the kit's folder.
async fn remote(kit: &Kit) -> Arc<dyn BlobStore> {
    Arc::new(Remote(open(&kit.path("blobs"), u64::MAX).await))
}

async fn stored(store: &Arc<dyn BlobStore>, name: &str, content: &[u8]) -> Source {
    let key = key(name);
    let content = Bytes::copy_from_slice(content);
    put(&**store, &key, "video/mp4", &content).await.unwrap();
    Source::Stored(Arc::clone(store), key)
}

async fn kept(store: &Arc<dyn BlobStore>, path: &PathBuf) -> Source {
    let name = path.file_name().unwrap().to_str().unwrap();
    stored(store, name, &std::fs::read(path).unwrap()).await
}

#[tokio::test]
async fn a_stored_film_is_worked_on_as_a_local_one() {
    let kit = Kit::new().await;
    let store = remote(&kit).await;
    let film = kit.film("film.mp4", "640x360", 2.0);
    let voice = kit.voice("voice.mp3", 7.0);
    let (far_film, far_voice) = (kept(&store, &film).await, kept(&store, &voice).await);

    for (near, far, mime) in [
        (&film, &far_film, "video/mp4"),
        (&voice, &far_voice, "audio/mpeg"),
    ] {
        let here = kit.studio.verify(near, mime).await.unwrap();
        let there = kit.studio.verify(far.clone(), mime).await.unwrap();
        assert_eq!(here, there);
        assert_eq!(
            kit.studio.probe(far.clone()).await.unwrap().video,
            here.video
        );
    }

    // Read again and again, brought into another shape, and with a voice beside it.
    let mut here = kit.composition(&film);
    (here.aspect, here.voice) = (Aspect::Square, Some(voice.into()));
    let mut there = kit.composition(&film);
    (there.film, there.voice) = (far_film.clone(), Some(far_voice));
    there.aspect = Aspect::Square;
    let here = kit.compose(here).await.unwrap();
    let bytes = std::fs::read(kit.path("out.mp4")).unwrap();
    let there = kit.compose(there).await.unwrap();
    assert_eq!(here.probe, there.probe);
    assert!(
        bytes == std::fs::read(kit.path("out.mp4")).unwrap(),
        "the same film"
    );

    for at in [None, Some(Duration::from_secs(1))] {
        let here = kit.thumbnail(&film, at).await.unwrap();
        let bytes = std::fs::read(kit.path("still.jpg")).unwrap();
        assert_eq!(kit.thumbnail(far_film.clone(), at).await.unwrap(), here);
        assert!(
            bytes == std::fs::read(kit.path("still.jpg")).unwrap(),
            "the same picture"
        );
    }
    kit.assert_clean().await;
}

#[tokio::test]
async fn a_stored_film_that_was_cut_short_is_noticed() {
    let kit = Kit::new().await;
    let store = remote(&kit).await;
    let whole = std::fs::read(kit.film("film.mp4", "320x180", 3.0)).unwrap();
    let fast = kit.make(
        "fast.mp4",
        &format!(
            "-i {} -c copy -movflags +faststart",
            kit.path("film.mp4").display()
        ),
    );
    let fast = std::fs::read(fast).unwrap();
    for (name, content) in [
        ("cut-last", &whole[..whole.len() / 2]),
        ("cut-first", &fast[..fast.len() * 9 / 10]),
        ("nothing", &[]),
        ("text", b"this is not a film".as_slice()),
    ] {
        let film = stored(&store, name, content).await;
        let error = kit.studio.verify(film, "video/mp4").await.unwrap_err();
        assert!(matches!(error, Error::NotPlayable(_)), "{name}: {error}");
    }
}

/// The way to a stored film leads over the network. Nothing in the film may use it.
#[tokio::test]
async fn what_a_film_names_is_not_asked_for() {
    let kit = Kit::new().await;
    let store = remote(&kit).await;
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let address = elsewhere.local_addr().unwrap();
    let url = format!("http://{address}/secret.mp4");
    let lists = [
        (
            "hls",
            format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n"),
        ),
        (
            "hls-tcp",
            format!(
                "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\ntcp://{address}\n#EXT-X-ENDLIST\n"
            ),
        ),
        ("concat", format!("ffconcat version 1.0\nfile '{url}'\n")),
        (
            "dash",
            format!(
                "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
             mediaPresentationDuration=\"PT1S\"><Period><AdaptationSet><Representation id=\"1\" \
             bandwidth=\"1\" mimeType=\"video/mp4\"><BaseURL>{url}</BaseURL></Representation>\
             </AdaptationSet></Period></MPD>"
            ),
        ),
    ];
    let film = std::fs::read(kit.film("film.mp4", "320x180", 1.0)).unwrap();
    let mut hostile: Vec<(&str, Vec<u8>)> = lists
        .into_iter()
        .map(|(name, text)| (name, text.into_bytes()))
        .collect();
    hostile.push(("url-reference", elsewhere_film(&film, url_entry(&url))));
    hostile.push(("alias-reference", elsewhere_film(&film, alias_entry(&url))));
    for (name, content) in hostile {
        let film = stored(&store, name, &content).await;
        let error = kit
            .studio
            .verify(film.clone(), "application/octet-stream")
            .await;
        let error = error.unwrap_err();
        assert!(matches!(error, Error::NotPlayable(_)), "{name}: {error}");
        let mut wish = kit.composition(&kit.path("none"));
        wish.film = film.clone();
        assert!(kit.compose(wish).await.is_err(), "{name}");
        assert!(kit.thumbnail(film, None).await.is_err(), "{name}");
    }
    let visit = elsewhere.accept();
    assert!(visit.is_err(), "somebody came: {visit:?}");
    kit.assert_clean().await;
}

/// A film whose samples are said to lie where `entry` points, and do not lie in the file: its
/// own are emptied, and the data reference (ISO/IEC 14496-12, section 8.7.2) is replaced.
fn elsewhere_film(film: &[u8], entry: Vec<u8>) -> Vec<u8> {
    fn rebuilt(content: &[u8], path: &[&[u8]], entry: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = content;
        while rest.len() >= 8 {
            let size = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let (kind, body) = (&rest[4..8], &rest[8..size]);
            let body = match path {
                [last] if kind == *last => {
                    // Version and flags, one entry.
                    [&[0, 0, 0, 0, 0, 0, 0, 1], entry].concat()
                }
                [first, further @ ..] if kind == *first && !further.is_empty() => {
                    rebuilt(body, further, entry)
                }
                _ if kind == b"mdat" => vec![0; body.len()],
                _ => body.to_vec(),
            };
            out.extend(((body.len() + 8) as u32).to_be_bytes());
            out.extend(kind);
            out.extend(body);
            rest = &rest[size..];
        }
        out
    }
    let path: [&[u8]; 6] = [b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"];
    let changed = rebuilt(film, &path, &entry);
    assert!(changed.windows(entry.len()).any(|window| window == entry));
    changed
}

/// An address, not in this file (flag 1 is not set).
fn url_entry(url: &str) -> Vec<u8> {
    let mut entry = ((13 + url.len()) as u32).to_be_bytes().to_vec();
    entry.extend(b"url \0\0\0\0");
    entry.extend(url.as_bytes());
    entry.push(0);
    entry
}

/// A QuickTime alias with an absolute path (QuickTime File Format, "Data references"), laid out
/// as FFmpeg's `mov_read_dref` reads it.
fn alias_entry(path: &str) -> Vec<u8> {
    let mut body = vec![0; 10];
    body.extend([3, b'V', b'o', b'l']);
    body.resize(10 + 28, 0);
    body.extend([0; 12]);
    body.extend([1, b'f']);
    body.resize(10 + 28 + 12 + 64, 0);
    body.extend([0; 16]);
    // Levels from and to.
    body.extend([0, 1, 0, 1]);
    body.extend([0; 16]);
    // Type 2 is the path; -1 ends the list.
    body.extend([0, 2]);
    body.extend((path.len() as u16).to_be_bytes());
    body.extend(path.as_bytes());
    if path.len() % 2 == 1 {
        body.push(0);
    }
    body.extend([0xff, 0xff, 0, 0]);
    let mut entry = ((12 + body.len()) as u32).to_be_bytes().to_vec();
    entry.extend(b"alis\0\0\0\0");
    entry.extend(body);
    entry
}

/// A store that breaks while it is read.
struct Broken(Remote);

#[async_trait]
impl BlobStore for Broken {
    async fn create(&self, key: &Key, mime: &str) -> Result<Box<dyn BlobWriter>, blob::Error> {
        self.0.create(key, mime).await
    }
    async fn open(&self, key: &Key, range: Option<ByteRange>) -> Result<Option<Blob>, blob::Error> {
        let Some(mut blob) = self.0.open(key, range).await? else {
            return Ok(None);
        };
        let broken = futures::stream::iter([Err(io::Error::from(ErrorKind::ConnectionReset))]);
        blob.body = blob
            .body
            .map(|chunk| chunk.map(|chunk: Bytes| chunk.slice(..chunk.len().min(10_000))))
            .take(1)
            .chain(broken)
            .boxed();
        Ok(Some(blob))
    }
    async fn stat(&self, key: &Key) -> Result<Option<Stat>, blob::Error> {
        self.0.stat(key).await
    }
    async fn delete(&self, key: &Key) -> Result<(), blob::Error> {
        self.0.delete(key).await
    }
    async fn list(
        &self,
        prefix: &str,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<blob::Listed>, blob::Error> {
        self.0.list(prefix, after, most).await
    }
}

/// Another try may help: the film is paid for, and nothing is wrong with it.
#[tokio::test]
async fn a_store_that_fails_is_not_a_bad_film() {
    let kit = Kit::new().await;
    let store: Arc<dyn BlobStore> =
        Arc::new(Broken(Remote(open(&kit.path("blobs"), u64::MAX).await)));
    let film = kept(&store, &kit.film("film.mp4", "640x360", 3.0)).await;
    let mut wish = kit.composition(&kit.path("none"));
    wish.film = film.clone();
    for error in [
        kit.studio
            .verify(film.clone(), "video/mp4")
            .await
            .unwrap_err(),
        kit.compose(wish).await.unwrap_err(),
        kit.thumbnail(film, None).await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, Error::Io(why) if why.kind() == ErrorKind::ConnectionReset),
            "{error}"
        );
        assert!(!error.is_final());
    }

    let none = Source::Stored(remote(&kit).await, key("none"));
    let error = kit.studio.verify(none, "video/mp4").await.unwrap_err();
    assert!(
        matches!(&error, Error::Io(why) if why.kind() == ErrorKind::NotFound),
        "{error}"
    );
    kit.assert_clean().await;
}

/// Sends a request; the head of the answer, and its body.
async fn ask(address: &str, head: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{head}\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    (head, answer.split_off(end + 4))
}

#[tokio::test]
async fn the_door_is_open_for_one_blob_and_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let (seen, go) = (folder.path().join("seen"), folder.path().join("go"));
    let spy = folder.path().join("ffprobe");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *-version*) exec /usr/bin/ffprobe \"$@\";; esac\n\
         {{ ls -A; for word in \"$@\"; do echo \"$word\"; done; }} > {seen}.part\n\
         mv {seen}.part {seen}\nuntil [ -e {go} ]; do sleep 0.02; done\n\
         exec /usr/bin/ffprobe \"$@\"\n",
        seen = seen.display(),
        go = go.display(),
    );
    std::fs::write(&spy, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&spy, mode).unwrap();
    let tools = Tools::locate(None, Some(spy)).await.unwrap();
    let options = StudioOptions::new(folder.path().join("scratch"));
    let kit = Kit {
        studio: Studio::new(tools, options).await.unwrap(),
        folder,
    };
    let store = remote(&kit).await;
    let content = std::fs::read(kit.film("film.mp4", "320x180", 1.0)).unwrap();
    let film = stored(&store, "film", &content).await;
    stored(&store, "other", b"a secret").await;
    let studio = kit.studio.clone();
    let run = tokio::spawn(async move { studio.verify(film, "video/mp4").await });
    eventually("it runs", || seen.exists()).await;

    let said = std::fs::read_to_string(&seen).unwrap();
    let words: Vec<&str> = said.lines().collect();
    let after = |name: &str| words[words.iter().position(|word| *word == name).unwrap() + 1];
    assert_eq!(after("-protocol_whitelist"), "http,tcp");
    assert!(
        words[0].starts_with('-'),
        "the run's folder is empty: {said}"
    );
    let rest = after("-i").strip_prefix("http://").unwrap();
    let (address, path) = rest.split_at(rest.find('/').unwrap());
    assert!(
        address.starts_with("127.0.0.1:") && path.len() == 33,
        "{rest}"
    );

    let size = content.len();
    let (head, body) = ask(address, &format!("GET {path} HTTP/1.1")).await;
    assert!(
        head.starts_with("http/1.1 200") && body == content,
        "{head}"
    );
    for (range, from, to) in [
        ("0-".to_owned(), 0, size - 1),
        ("0-99".to_owned(), 0, 99),
        (format!("{}-", size - 10), size - 10, size - 1),
        ("-7".to_owned(), size - 7, size - 1),
        (format!("5-{}", size * 2), 5, size - 1),
    ] {
        let (head, body) = ask(
            address,
            &format!("GET {path} HTTP/1.1\r\nRange: bytes={range}"),
        )
        .await;
        assert!(head.starts_with("http/1.1 206"), "{range}: {head}");
        assert!(
            head.contains(&format!("content-range: bytes {from}-{to}/{size}")),
            "{head}"
        );
        assert!(body == content[from..=to], "{range}");
    }
    let (head, body) = ask(address, &format!("HEAD {path} HTTP/1.1")).await;
    assert!(
        head.contains(&format!("content-length: {size}")) && body.is_empty(),
        "{head}"
    );
    for (request, status) in [
        (format!("GET {path} HTTP/1.1\r\nRange: bytes={size}-"), 416),
        ("GET / HTTP/1.1".to_owned(), 404),
        (format!("GET {path}/../other HTTP/1.1"), 404),
        (format!("GET {path}?key=other HTTP/1.1"), 404),
        (format!("GET /{} HTTP/1.1", "0".repeat(32)), 404),
        (format!("DELETE {path} HTTP/1.1"), 405),
    ] {
        let (head, body) = ask(address, &request).await;
        assert!(
            head.starts_with(&format!("http/1.1 {status}")),
            "{request}: {head}"
        );
        assert!(body.is_empty(), "{request}");
    }

    std::fs::write(go, "").unwrap();
    run.await.unwrap().unwrap();
    let closed = TcpStream::connect(address).await;
    assert!(closed.is_err(), "the door is still open");
    kit.assert_clean().await;
}

/// Looking does not wait for a film in the making; another film does, and has nothing on the
/// disk meanwhile.
#[tokio::test]
async fn looks_have_turns_of_their_own() {
    let kit = Kit::with(|options| (options.concurrency, options.looks) = (1, 1)).await;
    let film = kit.film("film.mp4", "320x180", 0.5);
    let made = kit
        .studio
        .compose(kit.composition(&film), |_| {})
        .await
        .unwrap();
    assert!(
        made.film
            .path()
            .starts_with(kit.path("scratch").canonicalize().unwrap())
    );
    kit.studio.verify(&film, "video/mp4").await.unwrap();
    let next = kit.studio.compose(kit.composition(&film), |_| {});
    let waits = tokio::time::timeout(Duration::from_millis(300), next).await;
    assert!(waits.is_err(), "two at a time");
    eventually("one folder", || kit.left_in_scratch().len() == 1).await;
    drop(made);
    kit.assert_clean().await;
    kit.compose(kit.composition(&film)).await.unwrap();
}
