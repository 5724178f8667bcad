//! Speech that fits its timeline.

use std::path::PathBuf;

use anyhow::Context;

use super::{
    pcm,
    studio::{Studio, arguments},
    timeline::{Phrase, Timeline},
};
use crate::signing::sha256_hex;

/// Phrases that one process speaks.
const PHRASES_AT_ONCE: usize = 24;

/// How a voice sounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Voice {
    /// One of the four voices of ffmpeg's `flite` filter that have 16 kHz.
    pub(super) flite: &'static str,
    /// Of the humming that stands in for other languages, in Hz.
    pub(super) pitch: f64,
}

/// The voice for a vendor's voice id.
pub(crate) fn voice_of(id: &str, female: bool) -> Voice {
    let sum = id.bytes().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(33).wrapping_add(u32::from(byte))
    });
    let male = ["rms", "awb", "kal16"];
    let spread = f64::from(sum % 30);
    if female {
        Voice {
            flite: "slt",
            pitch: 185.0 + spread,
        }
    } else {
        Voice {
            flite: male[sum as usize % male.len()],
            pitch: 105.0 + spread,
        }
    }
}

/// What is to be said.
#[derive(Debug, Clone)]
pub(crate) struct Speech {
    pub(crate) text: String,
    pub(crate) speed: f64,
    pub(crate) voice: Voice,
}

/// An audio file's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AudioFormat {
    pub(crate) extension: &'static str,
    pub(crate) mime: &'static str,
    pub(crate) arguments: Vec<String>,
}

impl AudioFormat {
    fn new(extension: &'static str, mime: &'static str, arguments: &[&str]) -> Self {
        Self {
            extension,
            mime,
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
        }
    }

    /// From `codec_rate_bitrate`, the form in which ElevenLabs names its formats; nothing
    /// when there is no such format.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('_');
        let codec = parts.next()?;
        let rate = parts.next()?;
        let bitrate = parts.next();
        let known: &[(&str, &[&str], &[&str])] = &[
            ("mp3", &["22050"], &["32"]),
            ("mp3", &["24000"], &["48"]),
            ("mp3", &["44100"], &["32", "64", "96", "128", "192"]),
            ("opus", &["48000"], &["32", "64", "96", "128", "192"]),
            (
                "pcm",
                &["8000", "16000", "22050", "24000", "32000", "44100", "48000"],
                &[],
            ),
            (
                "wav",
                &["8000", "16000", "22050", "24000", "32000", "44100", "48000"],
                &[],
            ),
            ("ulaw", &["8000"], &[]),
            ("alaw", &["8000"], &[]),
        ];
        let fits = known.iter().any(|(name, rates, bitrates)| {
            *name == codec
                && rates.contains(&rate)
                && match bitrate {
                    Some(bitrate) => bitrates.contains(&bitrate),
                    None => bitrates.is_empty(),
                }
        });
        if !fits || parts.next().is_some() {
            return None;
        }
        let bits = format!("{}k", bitrate.unwrap_or("64"));
        Some(match codec {
            "mp3" => Self::new(
                "mp3",
                "audio/mpeg",
                &[
                    "-ar",
                    rate,
                    "-c:a",
                    "libmp3lame",
                    "-b:a",
                    &bits,
                    "-f",
                    "mp3",
                ],
            ),
            "opus" => Self::new(
                "opus",
                "audio/ogg",
                &["-ar", rate, "-c:a", "libopus", "-b:a", &bits, "-f", "ogg"],
            ),
            "wav" => Self::new("wav", "audio/wav", &["-ar", rate, "-f", "wav"]),
            "ulaw" => Self::new("ulaw", "audio/basic", &["-ar", rate, "-f", "mulaw"]),
            "alaw" => Self::new("alaw", "audio/basic", &["-ar", rate, "-f", "alaw"]),
            _ => Self::new("pcm", "audio/pcm", &["-ar", rate, "-f", "s16le"]),
        })
    }

    /// From one of OpenAI's `response_format` words.
    pub(crate) fn openai(name: &str) -> Option<Self> {
        Some(match name {
            "mp3" => Self::parse("mp3_24000_48")?,
            "opus" => Self::parse("opus_48000_64")?,
            "aac" => Self::new("aac", "audio/aac", &["-c:a", "aac", "-f", "adts"]),
            "flac" => Self::new("flac", "audio/flac", &["-c:a", "flac", "-f", "flac"]),
            "wav" => Self::parse("wav_24000")?,
            "pcm" => Self::parse("pcm_24000")?,
            _ => return None,
        })
    }
}

impl Speech {
    pub(crate) fn timeline(&self) -> Timeline {
        Timeline::of(&self.text, self.speed)
    }

    fn key(&self) -> String {
        let parts = format!(
            "{}\n{}\n{}\n{}",
            self.voice.flite, self.voice.pitch, self.speed, self.text
        );
        sha256_hex(parts.as_bytes())
    }
}

impl Studio {
    /// The speech as raw samples, exactly as long as its timeline.
    pub(super) async fn track(&self, speech: &Speech) -> anyhow::Result<PathBuf> {
        let key = speech.key();
        self.made(&format!("track-{key}.pcm"), |path| async move {
            let timeline = speech.timeline();
            let spoken = self.spoken(&timeline.phrases, speech.voice).await;
            let pitch = speech.voice.pitch;
            let track =
                tokio::task::spawn_blocking(move || assemble(&timeline, &spoken, pitch)).await?;
            tokio::fs::write(path, pcm::to_bytes(&track)).await?;
            Ok(())
        })
        .await
    }

    /// The speech as a file.
    pub(crate) async fn speech(
        &self,
        speech: &Speech,
        format: &AudioFormat,
    ) -> anyhow::Result<PathBuf> {
        let described = format!("{}{}", speech.key(), format.arguments.join(" "));
        let name = format!(
            "speech-{}.{}",
            sha256_hex(described.as_bytes()),
            format.extension
        );
        self.made(&name, |path| async move {
            let track = self.track(speech).await?;
            let mut all = arguments(["-f", "s16le", "-ar", "16000", "-ac", "1", "-i"]);
            all.push(track.into());
            all.extend(format.arguments.iter().map(Into::into));
            all.push(path.into());
            self.ffmpeg(all).await
        })
        .await
    }

    /// Each phrase as this ffmpeg's own voice speaks it; nothing for those it cannot speak.
    async fn spoken(&self, phrases: &[Phrase], voice: Voice) -> Vec<Option<Vec<i16>>> {
        let mut spoken = vec![None; phrases.len()];
        if !self.has_flite {
            return spoken;
        }
        let texts: Vec<(usize, String)> = phrases
            .iter()
            .enumerate()
            .filter_map(|(index, phrase)| Some((index, plain(&phrase.text)?)))
            .collect();
        for group in texts.chunks(PHRASES_AT_ONCE) {
            match self.speak_group(group, voice).await {
                Ok(sounds) => {
                    for ((index, _), sound) in group.iter().zip(sounds) {
                        spoken[*index] = Some(sound);
                    }
                }
                // The words are hummed then; what counts is their length.
                Err(error) => tracing::warn!(%error, "the voice did not speak"),
            }
        }
        spoken
    }

    async fn speak_group(
        &self,
        group: &[(usize, String)],
        voice: Voice,
    ) -> anyhow::Result<Vec<Vec<i16>>> {
        let desk = tempfile::Builder::new()
            .prefix("speak-")
            .tempdir_in(self.folder())
            .context("no folder for speech")?;
        let name = desk.path().file_name().context("a folder has a name")?;
        let name = name.to_string_lossy().into_owned();
        let mut all = Vec::new();
        for (index, text) in group {
            tokio::fs::write(desk.path().join(format!("{index}.txt")), text).await?;
            let input = format!("flite=textfile={name}/{index}.txt:voice={}", voice.flite);
            all.extend(arguments(["-f", "lavfi", "-i", &input]));
        }
        for (place, (index, _)) in group.iter().enumerate() {
            let map = format!("{place}:a");
            all.extend(arguments([
                "-map", &map, "-ar", "16000", "-ac", "1", "-f", "s16le",
            ]));
            all.push(desk.path().join(format!("{index}.pcm")).into());
        }
        self.ffmpeg(all).await?;
        let mut sounds = Vec::new();
        for (index, _) in group {
            let bytes = tokio::fs::read(desk.path().join(format!("{index}.pcm"))).await?;
            sounds.push(pcm::from_bytes(&bytes));
        }
        Ok(sounds)
    }
}

/// The phrase in letters that an English voice can speak; nothing when that is not it.
fn plain(text: &str) -> Option<String> {
    let letters = text.chars().filter(|c| c.is_alphanumeric()).count();
    let plain: String = text
        .chars()
        .filter_map(|character| match character {
            '\u{2018}' | '\u{2019}' => Some('\''),
            '\u{2013}' | '\u{2014}' => Some(','),
            character if character.is_ascii() && !character.is_control() => Some(character),
            _ => None,
        })
        .collect();
    let spoken = plain.chars().filter(char::is_ascii_alphanumeric).count();
    (spoken > 0 && spoken * 10 >= letters * 9).then_some(plain)
}

fn assemble(timeline: &Timeline, spoken: &[Option<Vec<i16>>], pitch: f64) -> Vec<i16> {
    let mut track = vec![0; pcm::samples(timeline.seconds)];
    for (phrase, sound) in timeline.phrases.iter().zip(spoken) {
        match sound {
            Some(sound) => {
                let mut fitted =
                    pcm::stretched(pcm::trimmed(sound), pcm::samples(phrase.end - phrase.start));
                pcm::softened(&mut fitted);
                pcm::mix(&mut track, phrase.start, &fitted);
            }
            None => {
                let inside = |word: &&Phrase| word.start >= phrase.start && word.end <= phrase.end;
                for word in timeline.words.iter().filter(inside) {
                    pcm::mix(&mut track, word.start, &pcm::hummed(word, pitch));
                }
            }
        }
    }
    track
}
