//! Real compositions, checked with ffprobe and by looking at pictures.

use std::sync::Mutex;
use std::time::Duration;

use genvid_media::ffmpeg::{Aspect, Container, Error, Fit, Subtitles};
use genvid_media::subtitles::{Cue, CueOptions, cues_from_text};

use crate::kit::{Grey, Kit, ffmpeg, mean_volume};

/// Copied pictures end with the group that the cut falls into, up to a fifth of a second later.
fn close(actual_ms: u64, expected_ms: u64) {
    let off = actual_ms.abs_diff(expected_ms);
    assert!(off <= 250, "{actual_ms} ms, not {expected_ms} ms");
}

fn cue(start_ms: u64, end_ms: u64, text: &str) -> Cue {
    Cue {
        start_ms,
        end_ms,
        lines: vec![text.to_owned()],
    }
}

#[tokio::test]
async fn a_silent_film_gets_its_voice_and_is_cut_to_it() {
    let kit = Kit::new().await;
    let film = kit.film("film.mp4", "640x360", 4.0);
    let voice = kit.voice("voice.mp3", 2.5);
    let seen = Mutex::new(Vec::new());
    let mut wish = kit.composition(&film);
    wish.voice = Some(voice.into());
    let made = kit
        .compose_telling(wish, |part| seen.lock().unwrap().push(part))
        .await
        .unwrap();
    assert!(made.pictures_copied && made.warnings.is_empty(), "{made:?}");
    let probe = made.probe;
    assert_eq!(probe.container, Container::Mp4);
    close(probe.duration_ms, 2_500);
    let video = probe.video.unwrap();
    assert_eq!(
        (video.codec.as_str(), video.width, video.height),
        ("h264", 640, 360)
    );
    assert_eq!((video.fps, video.pixel_format.as_str()), (25.0, "yuv420p"));
    let audio = probe.audio.unwrap();
    assert_eq!((audio.codec.as_str(), audio.sample_rate), ("aac", 48_000));
    assert!(!probe.subtitles);
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.last(), Some(&1.0));
    assert!(seen.is_sorted(), "{seen:?}");
    kit.assert_clean().await;
    // The index comes first, so that playing begins before everything is loaded.
    let bytes = std::fs::read(kit.path("out.mp4")).unwrap();
    let position = |name: &[u8]| bytes.windows(4).position(|window| window == name).unwrap();
    assert!(position(b"moov") < position(b"mdat"));
}

#[tokio::test]
async fn a_short_film_is_repeated_and_a_slightly_short_one_is_held() {
    let kit = Kit::new().await;
    let film = kit.film("film.mp4", "320x180", 2.0);

    let mut wish = kit.composition(&film);
    wish.voice = Some(kit.voice("long.wav", 7.0).into());
    let made = kit.compose(wish).await.unwrap();
    close(made.probe.duration_ms, 7_000);
    assert!(made.pictures_copied);
    let (first, again) = (
        Grey::at(&kit.path("out.mp4"), 0.5, 320, 180),
        Grey::at(&kit.path("out.mp4"), 4.5, 320, 180),
    );
    assert!(
        first.difference(&again, 0.0, 1.0) < 6.0,
        "repeated from the start"
    );

    let mut wish = kit.composition(&film);
    wish.voice = Some(kit.voice("bit-longer.wav", 3.0).into());
    let made = kit.compose(wish).await.unwrap();
    close(made.probe.duration_ms, 3_000);
    assert!(!made.pictures_copied);
    let last = Grey::at(&kit.path("out.mp4"), 2.0, 320, 180);
    let held = Grey::at(&kit.path("out.mp4"), 2.8, 320, 180);
    assert!(
        last.difference(&held, 0.0, 1.0) < 3.0,
        "the last picture stands still"
    );
}

#[tokio::test]
async fn every_ratio_from_every_ratio_without_enlarging() {
    let kit = Kit::new().await;
    let films = [
        ("320x180", 320, 180),
        ("180x320", 180, 320),
        ("200x200", 200, 200),
    ];
    for (size, width, height) in films {
        let film = kit.film(&format!("{size}.mp4"), size, 0.4);
        for aspect in [Aspect::Landscape, Aspect::Square, Aspect::Portrait] {
            for fit in [Fit::Blur, Fit::Black, Fit::Cover] {
                let mut wish = kit.composition(&film);
                (wish.aspect, wish.fit) = (aspect, fit);
                let made = kit.compose(wish).await.unwrap();
                let video = made.probe.video.unwrap();
                let what = format!(
                    "{size} as {aspect} by {fit:?}: {}x{}",
                    video.width, video.height
                );
                assert!(aspect.fits(video.width, video.height), "{what}");
                assert_eq!((video.width % 2, video.height % 2), (0, 0), "{what}");
                assert!(video.width.min(video.height) <= width.min(height), "{what}");
                assert_eq!(made.pictures_copied, aspect.fits(width, height), "{what}");
            }
        }
    }
    kit.assert_clean().await;
}

#[tokio::test]
async fn the_whole_picture_is_kept_unless_a_cut_is_asked_for() {
    let kit = Kit::new().await;
    let film = kit.make(
        "white.mp4",
        "-f lavfi -i color=white:s=640x360:d=0.4 -c:v libx264 -pix_fmt yuv420p",
    );
    let mut look = Vec::new();
    for fit in [Fit::Blur, Fit::Black, Fit::Cover] {
        let mut wish = kit.composition(&film);
        (wish.aspect, wish.fit) = (Aspect::Portrait, fit);
        let made = kit.compose(wish).await.unwrap();
        let video = made.probe.video.unwrap();
        let (width, height) = (video.width as usize, video.height as usize);
        let picture = Grey::at(&kit.path("out.mp4"), 0.0, width, height);
        look.push((picture.mean(0.0, 0.2), picture.mean(0.4, 0.6)));
    }
    let [blur, black, cover] = look[..] else {
        panic!()
    };
    assert!(
        blur.0 > 80.0 && blur.0 < 200.0 && blur.1 > 240.0,
        "darker above: {blur:?}"
    );
    assert!(black.0 < 20.0 && black.1 > 240.0, "bars: {black:?}");
    assert!(cover.0 > 240.0 && cover.1 > 240.0, "full: {cover:?}");
}

#[tokio::test]
async fn burned_subtitles_change_the_bottom_while_they_are_shown() {
    let kit = Kit::new().await;
    for (aspect, size, width, height, band) in [
        (Aspect::Landscape, "640x360", 640, 360, (0.75, 0.97)),
        (Aspect::Portrait, "360x640", 360, 640, (0.70, 0.90)),
    ] {
        let film = kit.film(&format!("{size}.mp4"), size, 2.0);
        for (language, text) in [
            ("en", "A lamp that follows the sun"),
            ("zh", "跟随太阳的台灯，一灯多用。"),
        ] {
            let mut wish = kit.composition(&film);
            wish.aspect = aspect;
            wish.subtitles = Subtitles::Burned {
                cues: vec![cue(0, 1_000, text)],
            };
            let made = kit.compose(wish).await.unwrap();
            assert!(!made.pictures_copied && !made.probe.subtitles);
            let with = Grey::at(&kit.path("out.mp4"), 0.5, width, height);
            let without = Grey::at(&film, 0.5, width, height);
            let (bottom, top) = (
                with.difference(&without, band.0, band.1),
                with.difference(&without, 0.0, 0.6),
            );
            assert!(
                bottom > 4.0 && bottom > 3.0 * top,
                "{aspect} {language}: {bottom} {top}"
            );
            let later = Grey::at(&kit.path("out.mp4"), 1.5, width, height);
            let plain = Grey::at(&film, 1.5, width, height);
            assert!(
                later.difference(&plain, band.0, band.1) < 4.0,
                "{aspect} {language}"
            );
        }
    }
}

/// Commands in a text must be shown, not obeyed.
#[tokio::test]
async fn burned_text_cannot_give_commands() {
    let kit = Kit::new().await;
    let film = kit.film("film.mp4", "640x360", 1.0);
    let text = "{\\an8\\fs200}top\\Nx {\\p1}m 0 0 l 9999 0 9999 9999{\\p0}";
    let mut wish = kit.composition(&film);
    wish.subtitles = Subtitles::Burned {
        cues: vec![cue(0, 1_000, text)],
    };
    kit.compose(wish).await.unwrap();
    let with = Grey::at(&kit.path("out.mp4"), 0.5, 640, 360);
    let without = Grey::at(&film, 0.5, 640, 360);
    assert!(
        with.difference(&without, 0.0, 0.5) < 4.0,
        "nothing at the top"
    );
    assert!(
        with.difference(&without, 0.75, 1.0) > 4.0,
        "text at the bottom"
    );
}

#[tokio::test]
async fn embedded_subtitles_are_a_track() {
    let kit = Kit::new().await;
    let film = kit.film("film.mp4", "640x360", 3.0);
    let mut wish = kit.composition(&film);
    wish.voice = Some(kit.voice("voice.m4a", 2.0).into());
    let cues = cues_from_text(
        "Light when you need it. 一灯多用。",
        5_000,
        CueOptions::default(),
    );
    wish.subtitles = Subtitles::Embedded {
        cues,
        language: Some("zh-CN".to_owned()),
    };
    let made = kit.compose(wish).await.unwrap();
    assert!(made.pictures_copied && made.probe.subtitles, "{made:?}");
    close(made.probe.duration_ms, 2_000);
    ffmpeg([
        "-i",
        kit.path("out.mp4").to_str().unwrap(),
        kit.path("back.srt").to_str().unwrap(),
    ]);
    let back = std::fs::read_to_string(kit.path("back.srt")).unwrap();
    assert!(back.contains("Light when you need it."), "{back}");
}

#[tokio::test]
async fn the_films_own_sound_is_dropped_kept_or_put_below_the_voice() {
    let kit = Kit::new().await;
    let film = kit.make(
        "loud.mp4",
        "-f lavfi -i testsrc2=s=320x180:d=2 -f lavfi -i sine=f=1000:d=2 -c:v libx264 -pix_fmt yuv420p -c:a aac -shortest",
    );
    let quiet = kit.make("quiet.wav", "-f lavfi -i anullsrc=r=44100:cl=mono -t 5");

    let made = kit.compose(kit.composition(&film)).await.unwrap();
    assert_eq!(made.probe.audio, None);

    let mut wish = kit.composition(&film);
    wish.keep_film_sound = true;
    let made = kit.compose(wish).await.unwrap();
    assert!(made.pictures_copied);
    let alone = mean_volume(&kit.path("out.mp4"));

    let mut wish = kit.composition(&film);
    wish.voice = Some(quiet.clone().into());
    kit.compose(wish).await.unwrap();
    assert!(mean_volume(&kit.path("out.mp4")) < -80.0);

    let mut wish = kit.composition(&film);
    (wish.voice, wish.keep_film_sound) = (Some(quiet.into()), true);
    let made = kit.compose(wish).await.unwrap();
    close(made.probe.duration_ms, 5_000);
    let below = mean_volume(&kit.path("out.mp4"));
    assert!(
        (-16.0..-8.0).contains(&(below - alone)),
        "a quarter is -12 dB: {alone} {below}"
    );
}

#[tokio::test]
async fn other_codecs_odd_sizes_turned_and_stretched_films() {
    let kit = Kit::new().await;
    let webm = kit.make(
        "film.webm",
        "-f lavfi -i testsrc2=s=321x181:d=0.5 -f lavfi -i sine=d=0.5 -c:v libvpx -c:a libopus",
    );
    let mut wish = kit.composition(&webm);
    wish.keep_film_sound = true;
    let made = kit.compose(wish).await.unwrap();
    let video = made.probe.video.unwrap();
    assert_eq!(
        (video.codec.as_str(), video.width, video.height),
        ("h264", 320, 180)
    );
    assert_eq!(made.probe.audio.unwrap().codec, "aac");

    let flat = kit.film("flat.mp4", "640x360", 0.5);
    let turned = kit.path("turned.mp4");
    ffmpeg([
        "-i",
        flat.to_str().unwrap(),
        "-c",
        "copy",
        "-metadata:s:v:0",
        "rotate=90",
        turned.to_str().unwrap(),
    ]);
    let probe = kit.studio.probe(&turned).await.unwrap().video.unwrap();
    assert_eq!((probe.width, probe.height), (360, 640), "as it is seen");
    let mut wish = kit.composition(&turned);
    wish.aspect = Aspect::Portrait;
    let made = kit.compose(wish).await.unwrap();
    assert!(made.pictures_copied, "already portrait when it is turned");
    let mut wish = kit.composition(&turned);
    wish.aspect = Aspect::Square;
    let made = kit.compose(wish).await.unwrap();
    let video = made.probe.video.unwrap();
    assert_eq!((video.width, video.height), (360, 360));

    let wide = kit.make(
        "wide.mp4",
        "-f lavfi -i testsrc2=s=320x360:d=0.5 -vf setsar=2 -c:v libx264 -pix_fmt yuv420p",
    );
    let probe = kit.studio.probe(&wide).await.unwrap().video.unwrap();
    assert_eq!((probe.width, probe.height), (640, 360));
}

#[tokio::test]
async fn a_film_is_cut_at_the_longest_time_allowed() {
    let kit = Kit::new().await;
    let film = kit.film("film.mp4", "320x180", 4.0);
    let mut wish = kit.composition(&film);
    wish.voice = Some(kit.voice("voice.mp3", 6.0).into());
    wish.max_seconds = Some(3);
    let made = kit.compose(wish).await.unwrap();
    close(made.probe.duration_ms, 3_000);
}

/// MPEG audio of changing bit rate has no true length in its head when it has no Xing frame.
#[tokio::test]
async fn a_voice_whose_length_is_only_guessed_is_not_cut() {
    let kit = Kit::new().await;
    let voice = kit.make(
        "voice.mp3",
        "-f lavfi -i aevalsrc=0.5*sin(660*t)*gt(t\\,4)+0.3*(random(0)-0.5)*gt(t\\,5):d=8 -c:a libmp3lame -q:a 2 -write_xing 0 -id3v2_version 0",
    );
    let verified = kit.studio.verify(&voice, "audio/mpeg").await.unwrap();
    close(verified.duration_ms, 8_000);
    let mut wish = kit.composition(&kit.film("film.mp4", "320x180", 9.0));
    wish.voice = Some(voice.into());
    let made = kit.compose(wish).await.unwrap();
    close(made.probe.duration_ms, 8_000);
}

#[tokio::test]
async fn what_cannot_be_composed_says_why() {
    let kit = Kit::new().await;
    let (film, voice) = (
        kit.film("film.mp4", "320x180", 1.0),
        kit.voice("voice.mp3", 1.0),
    );
    let no_pictures = kit.compose(kit.composition(&voice)).await.unwrap_err();
    assert!(matches!(no_pictures, Error::Unsuitable(_)), "{no_pictures}");
    let mut wish = kit.composition(&film);
    wish.voice = Some(film.clone().into());
    let no_sound = kit.compose(wish).await.unwrap_err();
    assert!(
        matches!(no_sound, Error::Unsuitable(_)) && no_sound.is_final(),
        "{no_sound}"
    );
    let missing = kit
        .compose(kit.composition(&kit.path("none")))
        .await
        .unwrap_err();
    assert!(
        matches!(missing, Error::Io(_)) && !missing.is_final(),
        "{missing}"
    );
    assert!(!kit.path("out.mp4").exists());
    kit.assert_clean().await;
}

#[tokio::test]
async fn a_thumbnail_is_not_black_when_the_film_is_not() {
    let kit = Kit::new().await;
    let film = kit.make(
        "fade.mp4",
        "-f lavfi -i color=black:s=1600x900:d=3:r=10 -f lavfi -i testsrc2=s=1600x900:d=3:r=10 -filter_complex [0][1]concat -c:v libx264 -preset ultrafast -pix_fmt yuv420p",
    );
    let still = kit.path("still.jpg");
    let probe = kit.thumbnail(&film, None).await.unwrap();
    assert_eq!(probe.container, Container::Jpeg);
    let video = probe.video.unwrap();
    assert_eq!((video.width, video.height), (1280, 720));
    assert!(Grey::at(&still, 0.0, 1280, 720).mean(0.0, 1.0) > 40.0);

    kit.thumbnail(&film, Some(Duration::from_secs(1)))
        .await
        .unwrap();
    assert!(
        Grey::at(&still, 0.0, 1280, 720).mean(0.0, 1.0) < 20.0,
        "as asked for"
    );
    kit.thumbnail(&film, Some(Duration::from_secs(99)))
        .await
        .unwrap();
    assert!(
        Grey::at(&still, 0.0, 1280, 720).mean(0.0, 1.0) > 40.0,
        "the end"
    );

    let dark = kit.make(
        "dark.mp4",
        "-f lavfi -i color=black:s=64x64:d=2 -pix_fmt yuv420p",
    );
    let probe = kit.thumbnail(&dark, None).await.unwrap();
    assert_eq!(
        probe.video.unwrap().width,
        64,
        "a dark film has a dark picture"
    );
    kit.assert_clean().await;
}
