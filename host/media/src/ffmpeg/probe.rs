//! What a media file is.

use std::time::Duration;

use serde::Deserialize;

use super::Error;

/// Longest side of a picture that is worked on, in pixels: 4K cinema with some room.
pub const MAX_SIDE: u32 = 4_352;
/// Most pixels in a picture that is worked on.
pub const MAX_PIXELS: u64 = 4_096 * 2_304;
/// Longest playing time that is worked on.
pub const MAX_DURATION: Duration = Duration::from_secs(4 * 3600);

/// ffmpeg's names of the file formats that are read. Playlists, which name other files and
/// addresses, are left out on purpose.
pub(crate) const DEMUXERS: &str = "mov,matroska,mp3,wav,ogg,aac,flac,png_pipe,jpeg_pipe,webp_pipe";

/// ffmpeg's names of the decoders that are used: what the vendors deliver and browsers record,
/// not the hundreds that nobody attacks but attackers.
pub(crate) const DECODERS: &str = "h264,hevc,vp8,vp9,libvpx,libvpx-vp9,av1,libdav1d,libaom-av1,\
    mpeg4,mjpeg,png,webp,aac,mp3,mp3float,opus,libopus,vorbis,libvorbis,flac,alac,\
    pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_f32le,pcm_f64le,pcm_u8,pcm_mulaw,pcm_alaw,\
    mov_text,subrip,srt,ass,webvtt";

/// The arguments that must stand before each input file that a stranger made. `protocols` are
/// ffmpeg's names of the ways on which it may be read.
pub(crate) fn guards(protocols: &'static str) -> [&'static str; 6] {
    [
        "-protocol_whitelist",
        protocols,
        "-format_whitelist",
        DEMUXERS,
        "-codec_whitelist",
        DECODERS,
    ]
}

/// File formats that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Container {
    /// MP4, QuickTime, M4A.
    Mp4,
    /// Matroska and WebM.
    Matroska,
    /// MPEG audio.
    Mp3,
    /// RIFF/WAVE.
    Wav,
    /// Ogg.
    Ogg,
    /// AAC in ADTS frames.
    Aac,
    /// FLAC.
    Flac,
    /// A PNG picture.
    Png,
    /// A JPEG picture.
    Jpeg,
    /// A WebP picture.
    Webp,
}

impl Container {
    fn from_ffmpeg(names: &str) -> Option<Self> {
        names.split(',').find_map(|name| {
            Some(match name {
                "mov" | "mp4" => Self::Mp4,
                "matroska" | "webm" => Self::Matroska,
                "mp3" => Self::Mp3,
                "wav" => Self::Wav,
                "ogg" => Self::Ogg,
                "aac" => Self::Aac,
                "flac" => Self::Flac,
                "png_pipe" => Self::Png,
                "jpeg_pipe" => Self::Jpeg,
                "webp_pipe" => Self::Webp,
                _ => return None,
            })
        })
    }

    /// True for single pictures.
    pub fn is_picture(self) -> bool {
        matches!(self, Self::Png | Self::Jpeg | Self::Webp)
    }

    /// A common name, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Matroska => "matroska",
            Self::Mp3 => "mp3",
            Self::Wav => "wav",
            Self::Ogg => "ogg",
            Self::Aac => "aac",
            Self::Flac => "flac",
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Webp => "webp",
        }
    }

    /// Whether the playing time in the file's head is a guess. MPEG audio and ADTS have no
    /// index, so ffprobe divides the size by the bit rate of the first frames.
    pub(crate) fn guesses_duration(self) -> bool {
        matches!(self, Self::Mp3 | Self::Aac)
    }
}

/// What a media file is.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The file format.
    pub container: Container,
    /// Playing time in milliseconds; 0 for pictures.
    pub duration_ms: u64,
    /// The first track of moving pictures, or the picture.
    pub video: Option<Video>,
    /// The first track of sound.
    pub audio: Option<Audio>,
    /// Whether there is a track of subtitles.
    pub subtitles: bool,
    /// Whether an MP4 says that it is QuickTime's form of it, which not every player takes.
    pub(crate) quicktime: bool,
}

/// A track of pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Video {
    /// ffmpeg's name of the codec, for example `h264`.
    pub codec: String,
    /// As seen, in square pixels, after turning.
    pub width: u32,
    /// As seen, in square pixels, after turning.
    pub height: u32,
    /// Pictures per second on average; 0 when the file does not say.
    pub fps: f64,
    /// ffmpeg's name of the pixel format, for example `yuv420p`.
    pub pixel_format: String,
    /// Whether pixels are stored as they are seen: square and not turned.
    pub(crate) plain: bool,
}

impl Video {
    /// Whether browsers play these pictures without their being encoded anew.
    pub(crate) fn is_playable(&self) -> bool {
        self.codec == "h264" && self.pixel_format == "yuv420p"
    }
}

/// A track of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audio {
    /// ffmpeg's name of the codec, for example `aac`.
    pub codec: String,
    /// How many channels.
    pub channels: u32,
    /// In hertz.
    pub sample_rate: u32,
}

impl Probe {
    /// Reads what ffprobe answers with `-print_format json -show_format -show_streams`.
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, Error> {
        let answer: Answer = serde_json::from_slice(json)
            .map_err(|error| Error::NotPlayable(format!("ffprobe's answer: {error}")))?;
        let container = Container::from_ffmpeg(&answer.format.format_name).ok_or_else(|| {
            Error::NotPlayable(format!("{} is not accepted", answer.format.format_name))
        })?;
        let video = answer
            .streams
            .iter()
            // A cover picture in a sound file is no film.
            .find(|stream| stream.is("video") && stream.disposition.attached_pic == 0)
            .map(Stream::video)
            .transpose()?;
        let audio = answer
            .streams
            .iter()
            .find(|stream| stream.is("audio"))
            .map(Stream::audio);
        let subtitles = answer.streams.iter().any(|stream| stream.is("subtitle"));
        if video.is_none() && audio.is_none() {
            return Err(Error::NotPlayable("neither pictures nor sound".to_owned()));
        }
        let longest_track = answer
            .streams
            .iter()
            .filter_map(|stream| seconds(stream.duration.as_deref()))
            .fold(None, |longest: Option<f64>, next| {
                Some(longest.map_or(next, |longest| longest.max(next)))
            });
        let duration = if container.is_picture() {
            0.0
        } else {
            seconds(answer.format.duration.as_deref())
                .or(longest_track)
                .unwrap_or(0.0)
        };
        if duration > MAX_DURATION.as_secs_f64() {
            return Err(Error::OverLimits(format!(
                "{duration:.0} s of playing time, at most {} s are worked on",
                MAX_DURATION.as_secs()
            )));
        }
        Ok(Self {
            container,
            duration_ms: milliseconds(duration),
            video,
            audio,
            subtitles,
            quicktime: answer
                .format
                .tags
                .major_brand
                .is_some_and(|brand| brand.trim() == "qt"),
        })
    }

    /// Whether a film plays in browsers as it is, with nothing in it that was not asked for:
    /// an MP4 of H.264 in 4:2:0 and AAC or no sound, without subtitles of its own.
    pub fn plays_as_it_is(&self) -> bool {
        let pictures = self.video.as_ref().is_some_and(Video::is_playable);
        let sound = self.audio.as_ref().is_none_or(|audio| audio.codec == "aac");
        self.container == Container::Mp4
            && !self.quicktime
            && self.duration_ms > 0
            && pictures
            && sound
            && !self.subtitles
    }

    /// Whether a file with this content may be called `mime`. Generic names
    /// (`application/octet-stream`, `binary/octet-stream`) fit everything.
    pub fn is_a(&self, mime: &str) -> bool {
        let essence = mime
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let (kind, form) = essence.split_once('/').unwrap_or((&essence, ""));
        let is = |container| self.container == container;
        match (kind, form) {
            ("application" | "binary", "octet-stream") => true,
            ("video", form) => {
                let fits = match form {
                    "mp4" | "quicktime" | "x-m4v" => is(Container::Mp4),
                    "webm" | "x-matroska" => is(Container::Matroska),
                    _ => false,
                };
                fits && self.video.is_some()
            }
            ("audio", form) => {
                let fits = match form {
                    "mpeg" | "mp3" | "x-mpeg" | "mpeg3" => is(Container::Mp3),
                    "wav" | "x-wav" | "wave" | "vnd.wave" => is(Container::Wav),
                    "ogg" | "opus" | "vorbis" => is(Container::Ogg),
                    "aac" | "x-aac" | "aacp" => is(Container::Aac),
                    "mp4" | "m4a" | "x-m4a" => is(Container::Mp4),
                    "flac" | "x-flac" => is(Container::Flac),
                    "webm" => is(Container::Matroska),
                    _ => false,
                };
                fits && self.audio.is_some()
            }
            ("image", form) => match form {
                "png" => is(Container::Png),
                "jpeg" | "jpg" => is(Container::Jpeg),
                "webp" => is(Container::Webp),
                _ => false,
            },
            _ => false,
        }
    }

    /// For messages, for example `mp4 with h264 1920x1080 and aac`.
    pub fn describe(&self) -> String {
        let video = self.video.as_ref();
        let video = video.map(|video| format!("{} {}x{}", video.codec, video.width, video.height));
        let tracks: Vec<String> = video
            .into_iter()
            .chain(self.audio.as_ref().map(|audio| audio.codec.clone()))
            .collect();
        format!("{} with {}", self.container.as_str(), tracks.join(" and "))
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    streams: Vec<Stream>,
    format: Format,
}

#[derive(Deserialize)]
struct Format {
    format_name: String,
    duration: Option<String>,
    #[serde(default)]
    tags: Tags,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tags {
    major_brand: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Stream {
    codec_type: String,
    codec_name: String,
    width: i64,
    height: i64,
    pix_fmt: String,
    sample_aspect_ratio: Option<String>,
    avg_frame_rate: String,
    r_frame_rate: String,
    duration: Option<String>,
    channels: u32,
    sample_rate: String,
    disposition: Disposition,
    side_data_list: Vec<SideData>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Disposition {
    attached_pic: u8,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SideData {
    rotation: Option<f64>,
}

impl Stream {
    fn is(&self, kind: &str) -> bool {
        self.codec_type == kind
    }

    fn video(&self) -> Result<Video, Error> {
        let side = |value: i64| u32::try_from(value).ok().filter(|side| *side > 0);
        let (Some(width), Some(height)) = (side(self.width), side(self.height)) else {
            return Err(Error::NotPlayable(format!(
                "the pictures ({}) cannot be decoded",
                self.codec_name
            )));
        };
        // Pixels four times as wide as high do not occur outside of attacks.
        let aspect = self
            .sample_aspect_ratio
            .as_deref()
            .and_then(|text| fraction(text, ':'))
            .filter(|aspect| (0.25..=4.0).contains(aspect))
            .unwrap_or(1.0);
        let square = (aspect - 1.0).abs() < 0.001;
        let seen_width = if square {
            width
        } else {
            stretched(width, aspect)
        };
        let pixels = u64::from(seen_width) * u64::from(height);
        if seen_width.max(height) > MAX_SIDE || pixels > MAX_PIXELS {
            return Err(Error::OverLimits(format!(
                "pictures of {seen_width}x{height}, at most {MAX_SIDE} on a side and {MAX_PIXELS} \
                 pixels are worked on"
            )));
        }
        let turn = self
            .side_data_list
            .iter()
            .find_map(|data| data.rotation)
            .unwrap_or(0.0);
        let quarter = (turn.rem_euclid(180.0) - 90.0).abs() < 1.0;
        let (width, height) = if quarter {
            (height, seen_width)
        } else {
            (seen_width, height)
        };
        let rate = |text: &str| fraction(text, '/').filter(|rate| *rate > 0.0);
        Ok(Video {
            codec: self.codec_name.clone(),
            width,
            height,
            fps: rate(&self.avg_frame_rate)
                .or_else(|| rate(&self.r_frame_rate))
                .unwrap_or(0.0),
            pixel_format: self.pix_fmt.clone(),
            plain: square && turn.abs() < 1.0,
        })
    }

    fn audio(&self) -> Audio {
        Audio {
            codec: self.codec_name.clone(),
            channels: self.channels,
            sample_rate: self.sample_rate.parse().unwrap_or(0),
        }
    }
}

fn stretched(width: u32, aspect: f64) -> u32 {
    ((f64::from(width) * aspect).round() as u32).max(1)
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

fn seconds(text: Option<&str>) -> Option<f64> {
    text?
        .parse()
        .ok()
        .filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0)
}

fn fraction(text: &str, separator: char) -> Option<f64> {
    let (above, below) = text.split_once(separator)?;
    let (above, below): (f64, f64) = (above.parse().ok()?, below.parse().ok()?);
    (below != 0.0)
        .then(|| above / below)
        .filter(|value| value.is_finite())
}
