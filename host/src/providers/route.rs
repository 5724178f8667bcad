//! Who may serve a request, in the operator's order, and why the others may not.

use genvid_runtime::manifest::{Aspect as ManifestAspect, Need as AvatarNeed, Speech};

use super::{Code, Kind, Later, Provider, Registry};
use crate::jobs::model::Aspect;

/// What a request needs of a provider.
#[derive(Debug, Clone)]
pub struct Need<'a> {
    /// What is to be made.
    pub kind: Kind,
    /// BCP 47.
    pub language: &'a str,
    /// Characters of the spoken text, when it is known.
    pub characters: usize,
    /// Only this provider.
    pub pin: Option<&'a str>,
    /// Never these providers.
    pub exclude: &'a [String],
    /// Whoever asks may use only these; none: all.
    pub only: Option<&'a [String]>,
    /// This one first, because something of its catalogue was chosen.
    pub prefer: Option<&'a str>,
    /// For films.
    pub video: Option<VideoNeed>,
}

/// What a film needs.
#[derive(Debug, Clone, Copy)]
pub struct VideoNeed {
    /// Shape of the picture.
    pub aspect: Aspect,
    /// Is there (or will there be) a voice track?
    pub voice_track: bool,
    /// How many pictures the request carries.
    pub images: usize,
}

/// Why a provider does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuledOut {
    /// Which one.
    pub provider: String,
    /// The class.
    pub code: Code,
    /// Plain words.
    pub reason: String,
}

/// Who may serve.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// In the order in which they are tried.
    pub candidates: Vec<String>,
    /// Why those that are not tried first are not.
    pub later: Vec<Later>,
    /// The others.
    pub ruled_out: Vec<RuledOut>,
}

impl Registry {
    /// Who may serve `need`.
    #[must_use]
    pub fn route(&self, need: &Need<'_>) -> Route {
        let mut route = Route::default();
        for provider in self
            .snapshot()
            .providers
            .iter()
            .filter(|provider| provider.serves(need.kind))
        {
            match objection(provider, need) {
                None => route.candidates.push(provider.id().to_owned()),
                Some((code, reason)) => {
                    route.ruled_out.push(RuledOut {
                        provider: provider.id().to_owned(),
                        code,
                        reason,
                    });
                }
            }
        }
        // Stable: the operator's order stays within both groups.
        route
            .candidates
            .sort_by_key(|id| need.prefer != Some(id.as_str()));
        route
    }
}

fn objection(provider: &Provider, need: &Need<'_>) -> Option<(Code, String)> {
    let out = |code, words: &str| Some((code, words.to_owned()));
    let manifest = provider.manifest();
    if need.pin.is_some_and(|pin| pin != provider.id()) {
        return out(Code::NotAskedFor, "another provider was asked for");
    }
    if need.exclude.iter().any(|id| id == provider.id()) {
        return out(Code::Excluded, "was excluded");
    }
    if (need.only).is_some_and(|only| !only.iter().any(|id| id == provider.id())) {
        return out(Code::NotAllowed, "is not for the API key that asked");
    }
    if let Some(reason) = &provider.disabled {
        return out(Code::Disabled, reason);
    }
    let (languages, longest) = match need.kind {
        Kind::Script => (&manifest.script.as_ref()?.languages, None),
        Kind::Voice => {
            let voice = manifest.voice.as_ref()?;
            (&voice.languages, Some(voice.max_characters))
        }
        Kind::Video => {
            let video = manifest.video.as_ref()?;
            // A voice track makes the film follow the audio; the text is not sent.
            let speaks = !need.video.is_some_and(|film| film.voice_track);
            (&video.languages, speaks.then_some(video.max_characters))
        }
    };
    let primary = need.language.split('-').next().unwrap_or(need.language);
    if !languages
        .iter()
        .any(|tag| tag == "*" || tag.eq_ignore_ascii_case(primary))
    {
        return out(
            Code::Language,
            &format!("does not offer the language {}", need.language),
        );
    }
    if let Some(longest) = longest.filter(|longest| need.characters > *longest as usize) {
        let words = format!(
            "takes at most {longest} characters of text; there are {}",
            need.characters
        );
        return out(Code::TextLength, &words);
    }
    let film = need.video?;
    let video = manifest.video.as_ref()?;
    let wanted = match film.aspect {
        Aspect::Portrait => ManifestAspect::Portrait,
        Aspect::Square => ManifestAspect::Square,
        Aspect::Landscape => ManifestAspect::Landscape,
    };
    if !video.aspects.contains(&wanted) {
        return out(
            Code::Aspect,
            &format!("does not offer {}", film.aspect.as_str()),
        );
    }
    let speaks = video.speech.contains(&Speech::Script);
    let plays = video.speech.contains(&Speech::Audio) || video.speech.contains(&Speech::Silent);
    if film.voice_track && !plays {
        return out(Code::Speech, "takes no voice track");
    }
    if !film.voice_track && !speaks {
        return out(Code::Speech, "cannot speak by itself");
    }
    if video.avatar == AvatarNeed::Unsupported
        && video.max_prompt_characters == 0
        && film.images == 0
    {
        return out(Code::Images, "needs at least one picture");
    }
    None
}
