//! Makes media that play, with `ffmpeg`, once for each set of parameters.

mod drawing;
mod film;
mod pcm;
mod picture;
mod serve;
mod speech;
mod studio;
mod timeline;

pub(crate) use film::{Figure, Film, Sound, size, size_like};
pub(crate) use picture::inspect;
pub(crate) use serve::{MediaLinks, expired, file};
pub(crate) use speech::{AudioFormat, Speech, voice_of};
pub(crate) use studio::Studio;
pub(crate) use timeline::{Timeline, is_wide};
