//! Decides what must be done to a film, and says it in ffmpeg's words. Pure: no files, no runs.

use std::fmt;
use std::str::FromStr;

use super::{Error, Probe, Video};

/// A film this little shorter than its voice has its last picture held; looping it would show
/// a flash of its beginning.
const HOLD_MS: u64 = 1_500;
/// Ratios that differ by less are the same to the eye.
const SAME_RATIO: f64 = 0.01;
/// More pictures per second than any vendor sells or screen of the audience shows.
const MAX_FPS: f64 = 60.0;
/// How loud the film's own sound stays below a voice.
const BELOW_VOICE: f64 = 0.25;

/// Width to height of a finished film.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// 16:9.
    Landscape,
    /// 1:1.
    Square,
    /// 9:16.
    Portrait,
}

impl Aspect {
    /// Width and height of the ratio, in lowest terms.
    pub fn ratio(self) -> (u32, u32) {
        match self {
            Self::Landscape => (16, 9),
            Self::Square => (1, 1),
            Self::Portrait => (9, 16),
        }
    }

    fn value(self) -> f64 {
        let (width, height) = self.ratio();
        f64::from(width) / f64::from(height)
    }

    /// Whether a picture has this ratio, within 1 %.
    pub fn fits(self, width: u32, height: u32) -> bool {
        let ratio = f64::from(width) / f64::from(height.max(1));
        (ratio / self.value() - 1.0).abs() <= SAME_RATIO
    }
}

impl fmt::Display for Aspect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, height) = self.ratio();
        write!(formatter, "{width}:{height}")
    }
}

impl FromStr for Aspect {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "16:9" => Ok(Self::Landscape),
            "1:1" => Ok(Self::Square),
            "9:16" => Ok(Self::Portrait),
            other => Err(format!("{other:?} is none of 16:9, 1:1 and 9:16")),
        }
    }
}

/// What happens to a film whose ratio is not the one that is wanted.
///
/// The default keeps the whole picture: vendors place faces, products and words anywhere, and
/// a cut through one of them ruins a film that was paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fit {
    /// The whole picture, before a blurred and darkened copy of itself.
    #[default]
    Blur,
    /// The whole picture, with black bars.
    Black,
    /// The middle of the picture; what sticks out is cut off.
    Cover,
}

/// What is to be made, besides the files' places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) aspect: Aspect,
    pub(crate) fit: Fit,
    pub(crate) keep_film_sound: bool,
    pub(crate) burn: bool,
    pub(crate) max_ms: Option<u64>,
}

/// What ffmpeg must do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Playing time of the result.
    pub(crate) duration_ms: u64,
    /// The film is read again and again.
    pub(crate) repeat: bool,
    /// Filters for the pictures, or none: copied as they are.
    pub(crate) video: Option<String>,
    pub(crate) audio: Sound,
    /// Size of the result's pictures.
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// Where the result's sound comes from. Input 0 is the film, input 1 the voice.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sound {
    None,
    /// Copied from this input.
    Copy(u8),
    /// Encoded from this input.
    Encode(u8),
    /// Encoded from this filter graph's output `[sound]`.
    Mix(String),
}

impl Plan {
    pub(crate) fn new(film: &Probe, voice: Option<&Probe>, wish: Wish) -> Result<Self, Error> {
        let unsuitable = |reason: &str| Error::Unsuitable(reason.to_owned());
        let pictures = film
            .video
            .as_ref()
            .ok_or_else(|| unsuitable("the film has no pictures"))?;
        if film.duration_ms == 0 {
            return Err(unsuitable("the film has no playing time"));
        }
        if let Some(voice) = voice
            && (voice.audio.is_none() || voice.duration_ms == 0)
        {
            return Err(unsuitable("the voice has no sound"));
        }
        let wanted = voice.map_or(film.duration_ms, |voice| voice.duration_ms);
        let duration_ms = wish.max_ms.map_or(wanted, |max| wanted.min(max.max(1)));
        let missing = duration_ms.saturating_sub(film.duration_ms);
        // Below a tenth of a second nobody sees that the last picture stands still, so players
        // may do it by themselves and the pictures need not be encoded anew.
        let hold = missing > 100 && missing <= HOLD_MS;
        let repeat = missing > HOLD_MS;
        let (video, width, height) = frame(pictures, wish, hold.then_some(missing));
        let audio = sound(film, voice, wish.keep_film_sound);
        Ok(Self {
            duration_ms,
            repeat,
            video,
            audio,
            width,
            height,
        })
    }
}

/// Filters for the pictures, if any are needed, and the size that results.
fn frame(film: &Video, wish: Wish, hold_ms: Option<u64>) -> (Option<String>, u32, u32) {
    let reframe = !wish.aspect.fits(film.width, film.height);
    if film.is_playable() && !reframe && !wish.burn && hold_ms.is_none() {
        return (None, film.width, film.height);
    }
    let mut filters = Vec::new();
    let (width, height) = (even(film.width), even(film.height));
    if !film.plain || (width, height) != (film.width, film.height) {
        filters.push(format!("scale={width}:{height}"));
        filters.push("setsar=1".to_owned());
    }
    if film.fps > MAX_FPS {
        filters.push(format!("fps={MAX_FPS}"));
    }
    let (width, height) = if reframe {
        let (filter, width, height) = refit(width, height, wish.aspect, wish.fit);
        filters.push(filter);
        (width, height)
    } else {
        (width, height)
    };
    if let Some(missing) = hold_ms {
        filters.push(format!("tpad=stop_mode=clone:stop_duration={missing}ms"));
    }
    if wish.burn {
        filters.push(format!("ass={}", super::compose::BURNED));
    }
    filters.push("format=yuv420p".to_owned());
    (Some(filters.join(",")), width, height)
}

/// Brings a picture into another ratio. It is never enlarged: the result's shorter side is the
/// film's shorter side, or what is left of it after a cut.
fn refit(width: u32, height: u32, aspect: Aspect, fit: Fit) -> (String, u32, u32) {
    let ratio = aspect.value();
    let (w, h) = (f64::from(width), f64::from(height));
    if fit == Fit::Cover {
        let (cut_w, cut_h) = if w / h > ratio {
            (h * ratio, h)
        } else {
            (w, w / ratio)
        };
        let (cut_w, cut_h) = (nearest_even(cut_w), nearest_even(cut_h));
        return (format!("crop={cut_w}:{cut_h},setsar=1"), cut_w, cut_h);
    }
    let short = w.min(h);
    let (canvas_w, canvas_h) = if ratio >= 1.0 {
        (short * ratio, short)
    } else {
        (short, short / ratio)
    };
    let scale = (canvas_w / w).min(canvas_h / h).min(1.0);
    let (canvas_w, canvas_h) = (nearest_even(canvas_w), nearest_even(canvas_h));
    let (film_w, film_h) = (
        nearest_even(w * scale).min(canvas_w),
        nearest_even(h * scale).min(canvas_h),
    );
    let filter = if fit == Fit::Black {
        format!(
            "scale={film_w}:{film_h},pad={canvas_w}:{canvas_h}:(ow-iw)/2:(oh-ih)/2:black,setsar=1"
        )
    } else {
        // Blurred small, then enlarged: the same to the eye at a fraction of the work.
        let (small_w, small_h) = (
            nearest_even(f64::from(canvas_w) / 8.0),
            nearest_even(f64::from(canvas_h) / 8.0),
        );
        format!(
            "split[back][front];\
             [back]scale={small_w}:{small_h}:force_original_aspect_ratio=increase,\
             crop={small_w}:{small_h},gblur=sigma=5,scale={canvas_w}:{canvas_h},\
             lutyuv=y=val*0.6,setsar=1[under];\
             [front]scale={film_w}:{film_h},setsar=1[over];\
             [under][over]overlay=(W-w)/2:(H-h)/2"
        )
    };
    (filter, canvas_w, canvas_h)
}

fn sound(film: &Probe, voice: Option<&Probe>, keep_film_sound: bool) -> Sound {
    let film_sound = film.audio.as_ref().filter(|_| keep_film_sound);
    let plain = |input: u8, codec: &str| match codec {
        "aac" => Sound::Copy(input),
        _ => Sound::Encode(input),
    };
    match (film_sound, voice.and_then(|voice| voice.audio.as_ref())) {
        (None, None) => Sound::None,
        (Some(film), None) => plain(0, &film.codec),
        (None, Some(voice)) => plain(1, &voice.codec),
        (Some(_), Some(_)) => Sound::Mix(format!(
            "[0:a:0]aresample=48000,volume={BELOW_VOICE}[film];[1:a:0]aresample=48000[voice];\
             [voice][film]amix=inputs=2:duration=first:dropout_transition=0:normalize=0,\
             alimiter=limit=0.95[sound]"
        )),
    }
}

fn even(side: u32) -> u32 {
    (side & !1).max(2)
}

fn nearest_even(side: f64) -> u32 {
    even(((side / 2.0).round() * 2.0) as u32)
}
