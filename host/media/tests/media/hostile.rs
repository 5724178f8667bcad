//! Files that are not what they claim, or are made to do harm.

use std::io::Write as _;
use std::net::TcpListener;

use genvid_media::ffmpeg::Error;

use crate::kit::{Kit, ffmpeg};

async fn verify(kit: &Kit, name: &str, content: &[u8], mime: &str) -> Error {
    let path = kit.path(name);
    std::fs::write(&path, content).unwrap();
    let error = kit.studio.verify(&path, mime).await.unwrap_err();
    assert!(error.is_final(), "{name}: {error}");
    kit.assert_clean().await;
    error
}

#[tokio::test]
async fn good_files_of_every_accepted_kind() {
    let kit = Kit::new().await;
    let film = kit.film("a.mp4", "320x180", 1.0);
    kit.make("a.mov", &format!("-i {} -c copy", film.display()));
    kit.make("a.webm", "-f lavfi -i testsrc2=s=64x64:d=1 -c:v libvpx-vp9");
    for name in [
        "v.mp3", "v.wav", "v.m4a", "v.aac", "v.ogg", "v.opus", "v.flac",
    ] {
        kit.voice(name, 1.0);
    }
    for name in ["p.png", "p.jpg", "p.webp"] {
        kit.make(name, "-f lavfi -i testsrc2=s=64x64:d=1 -frames:v 1");
    }
    for (name, mime) in [
        ("a.mp4", "video/mp4"),
        ("a.mp4", "video/mp4; codecs=\"avc1\""),
        ("a.mp4", "application/octet-stream"),
        ("a.mov", "video/quicktime"),
        ("a.webm", "video/webm"),
        ("v.mp3", "audio/mpeg"),
        ("v.wav", "audio/x-wav"),
        ("v.m4a", "audio/mp4"),
        ("v.aac", "audio/aac"),
        ("v.ogg", "audio/ogg"),
        ("v.opus", "audio/opus"),
        ("v.flac", "audio/flac"),
        ("p.png", "image/png"),
        ("p.jpg", "image/jpeg"),
        ("p.webp", "image/webp"),
    ] {
        let probe = kit.studio.verify(&kit.path(name), mime).await;
        let probe = probe.unwrap_or_else(|error| panic!("{name} as {mime}: {error}"));
        let expected = if mime.starts_with("image/") { 0 } else { 1_000 };
        assert!(
            probe.duration_ms.abs_diff(expected) < 150,
            "{name}: {probe:?}"
        );
    }
    for (name, mime) in [
        ("a.mp4", "audio/mp4"),
        ("v.mp3", "video/mp4"),
        ("v.wav", "audio/mpeg"),
        ("p.png", "image/jpeg"),
        ("a.mp4", "text/html"),
    ] {
        let error = kit.studio.verify(&kit.path(name), mime).await.unwrap_err();
        assert!(
            matches!(error, Error::NotAsClaimed { .. }),
            "{name} as {mime}: {error}"
        );
    }
}

#[tokio::test]
async fn text_noise_and_emptiness_are_not_playable() {
    let kit = Kit::new().await;
    let noise = crate::contract::noise(200_000, 99);
    let html = b"<!doctype html><title>503</title><p>Please try again later.</p>".repeat(50);
    for (name, content) in [
        ("text.mp4", b"this is not a film".as_slice()),
        ("empty.mp4", b""),
        ("error.mp4", &html),
        ("noise.mp4", &noise),
        ("json.mp3", br#"{"error":"quota exceeded"}"#),
    ] {
        let error = verify(&kit, name, content, "video/mp4").await;
        assert!(
            matches!(error, Error::NotPlayable(_) | Error::NotAsClaimed { .. }),
            "{name}: {error}"
        );
    }
}

#[tokio::test]
async fn a_film_that_was_cut_short_is_noticed_wherever_its_index_is() {
    let kit = Kit::new().await;
    let slow = std::fs::read(kit.film("slow.mp4", "320x180", 3.0)).unwrap();
    let fast = kit.make(
        "fast.mp4",
        &format!(
            "-i {} -c copy -movflags +faststart",
            kit.path("slow.mp4").display()
        ),
    );
    let fast = std::fs::read(fast).unwrap();
    kit.studio
        .verify(&kit.path("fast.mp4"), "video/mp4")
        .await
        .unwrap();
    for (name, whole) in [("index-last", &slow), ("index-first", &fast)] {
        for part in [0.5, 0.9, 0.99] {
            let cut = &whole[..(whole.len() as f64 * part) as usize];
            let error = verify(&kit, &format!("{name}.mp4"), cut, "video/mp4").await;
            assert!(
                matches!(error, Error::NotPlayable(_)),
                "{name} {part}: {error}"
            );
        }
    }
}

/// Playlists name other files and addresses. None may be opened: not a file of the server's,
/// not an address in its network.
#[tokio::test]
async fn playlists_are_not_followed() {
    let kit = Kit::new().await;
    let secret = kit.film("secret.mp4", "320x180", 1.0);
    let segment = kit.make("secret.ts", &format!("-i {} -c copy", secret.display()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/x.ts", listener.local_addr().unwrap());
    let (secret, segment) = (secret.display(), segment.display());
    let hls = |target: &str| {
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n")
    };
    let dash = format!(
        "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
         mediaPresentationDuration=\"PT1S\"><Period><AdaptationSet><Representation id=\"1\" \
         bandwidth=\"1\" mimeType=\"video/mp4\"><BaseURL>{url}</BaseURL></Representation>\
         </AdaptationSet></Period></MPD>"
    );
    let lists = [
        ("hls-file", hls(&format!("file://{segment}"))),
        ("hls-plain", hls("secret.ts")),
        ("hls-url", hls(&url)),
        ("hls-tcp", hls(&format!("tcp://{}", listener.local_addr().unwrap()))),
        ("concat", format!("ffconcat version 1.0\nfile '{secret}'\n")),
        ("concat-url", format!("ffconcat version 1.0\nfile '{url}'\n")),
        ("dash", dash),
        ("sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n".to_owned()),
        ("subtitle", "1\n00:00:00,000 --> 00:00:01,000\nhi\n".to_owned()),
    ];
    for (name, content) in &lists {
        for ending in ["mp4", "m3u8"] {
            let file = format!("{name}.{ending}");
            let error = verify(&kit, &file, content.as_bytes(), "application/octet-stream").await;
            assert!(matches!(error, Error::NotPlayable(_)), "{file}: {error}");
            let wish = kit.composition(&kit.path(&file));
            assert!(kit.compose(wish).await.is_err(), "{file}");
        }
    }
    let visit = listener.accept();
    assert!(visit.is_err(), "somebody came: {visit:?}");
}

/// Names that mean something to ffmpeg are only names here.
#[tokio::test]
async fn names_are_not_obeyed() {
    let kit = Kit::new().await;
    let film = kit.film("film.mp4", "320x180", 0.5);
    for name in [
        "-version",
        "concat:a|b.mp4",
        "pipe:0",
        "http:x.mp4",
        "%03d.mp4",
        "a'b;[x],=.mp4",
    ] {
        let odd = kit.path(name);
        std::fs::copy(&film, &odd).unwrap();
        kit.studio
            .verify(&odd, "video/mp4")
            .await
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        kit.compose(kit.composition(&odd))
            .await
            .unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

#[tokio::test]
async fn gigantic_pictures_are_refused_before_they_are_decoded() {
    let kit = Kit::new().await;
    let film = kit.make(
        "huge.mp4",
        "-f lavfi -i color=red:s=8192x4608:r=1:d=1 -c:v libx264 -preset ultrafast -pix_fmt yuv420p",
    );
    let error = kit.studio.verify(&film, "video/mp4").await.unwrap_err();
    assert!(
        matches!(error, Error::OverLimits(_)) && error.is_final(),
        "{error}"
    );
    let error = kit.compose(kit.composition(&film)).await.unwrap_err();
    assert!(matches!(error, Error::OverLimits(_)), "{error}");
    let error = kit.thumbnail(&film, None).await.unwrap_err();
    assert!(matches!(error, Error::OverLimits(_)), "{error}");

    // A picture of 40,000 x 40,000 pixels in a few bytes: only the head says so.
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut head = b"IHDR".to_vec();
    head.extend(
        40_000_u32
            .to_be_bytes()
            .iter()
            .chain(&40_000_u32.to_be_bytes()),
    );
    head.extend([8, 2, 0, 0, 0]);
    png.write_all(&13_u32.to_be_bytes()).unwrap();
    png.write_all(&head).unwrap();
    png.write_all(&crc32(&head).to_be_bytes()).unwrap();
    let error = verify(&kit, "bomb.png", &png, "image/png").await;
    assert!(
        matches!(error, Error::OverLimits(_) | Error::NotPlayable(_)),
        "{error}"
    );
}

#[tokio::test]
async fn a_film_in_a_codec_that_is_not_on_the_list_is_not_decoded() {
    let kit = Kit::new().await;
    let film = kit.path("old.mp4");
    ffmpeg([
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=176x144:d=0.5",
        "-c:v",
        "mpeg2video",
        "-f",
        "mp4",
        film.to_str().unwrap(),
    ]);
    let error = kit.studio.verify(&film, "video/mp4").await.unwrap_err();
    assert!(matches!(error, Error::NotPlayable(_)), "{error}");
}

/// ISO 3309, as PNG uses it (RFC 2083, section 15).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                0xEDB8_8320 ^ (crc >> 1)
            } else {
                crc >> 1
            }
        })
    })
}
