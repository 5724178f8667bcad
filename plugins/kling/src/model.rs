//! The models, and what each of them takes.
//!
//! Kling has no route that lists them; the table follows the pages of the documentation.

use genvid_sdk::prelude::*;

/// Where a model is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/text-to-video/{model}`, or `/image-to-video/{model}` with a picture.
    Clip,
    /// `/omni-video/{model}`, with pictures as references.
    Omni,
    /// The older `/v1/videos/avatar/image2video`.
    Speaking,
}

/// Who decides whether there is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sound {
    /// The request.
    Chosen,
    /// The request, but sound needs 1080p.
    ChosenIn1080p,
    /// Nobody: silent only.
    Off,
    /// Nobody, and the field is not known to it.
    Never,
    /// The model, which always makes sound and does not know the field.
    Always,
}

/// One model of the manifest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    /// Its id in the manifest.
    pub(crate) id: &'static str,
    /// Its name in Kling's path.
    pub(crate) path: &'static str,
    pub(crate) name: &'static str,
    pub(crate) route: Route,
    pub(crate) is_4k: bool,
    /// The lengths on offer, in seconds, ascending; none when there is no choice.
    pub(crate) seconds: &'static [u32],
    pub(crate) sound: Sound,
    /// Knows `multi_shot`, which Kling switches on unless told otherwise.
    pub(crate) multi_shot: bool,
}

const FREE: &[u32] = &[3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const FIVE_OR_TEN: &[u32] = &[5, 10];

/// The first is the default.
const MODELS: [Model; 7] = [
    Model {
        id: "kling-3.0",
        path: "kling-3.0",
        name: "Kling 3.0",
        route: Route::Clip,
        is_4k: false,
        seconds: FREE,
        sound: Sound::Chosen,
        multi_shot: true,
    },
    Model {
        id: "kling-3.0-4k",
        path: "kling-3.0",
        name: "Kling 3.0, 4K",
        route: Route::Clip,
        is_4k: true,
        seconds: FREE,
        // What 4K costs with sound is not published.
        sound: Sound::Off,
        multi_shot: true,
    },
    Model {
        id: "kling-3.0-turbo",
        path: "kling-3.0-turbo",
        name: "Kling 3.0 Turbo",
        route: Route::Clip,
        is_4k: false,
        seconds: FREE,
        sound: Sound::Always,
        multi_shot: false,
    },
    Model {
        id: "kling-3.0-omni",
        path: "kling-3.0-omni",
        name: "Kling 3.0 Omni",
        route: Route::Omni,
        is_4k: false,
        seconds: FREE,
        sound: Sound::Chosen,
        multi_shot: true,
    },
    Model {
        id: "kling-2.6",
        path: "kling-2.6",
        name: "Kling 2.6",
        route: Route::Clip,
        is_4k: false,
        seconds: FIVE_OR_TEN,
        sound: Sound::ChosenIn1080p,
        multi_shot: false,
    },
    Model {
        id: "kling-2.5-turbo",
        path: "kling-2.5-turbo",
        name: "Kling 2.5 Turbo",
        route: Route::Clip,
        is_4k: false,
        seconds: FIVE_OR_TEN,
        sound: Sound::Never,
        multi_shot: false,
    },
    SPEAKING,
];

const SPEAKING: Model = Model {
    id: "avatar",
    path: "",
    name: "Speaking picture",
    route: Route::Speaking,
    is_4k: false,
    // As long as the audio.
    seconds: &[],
    sound: Sound::Always,
    multi_shot: false,
};

/// The model of a request. Without a choice, audio asks for a picture that speaks.
pub(crate) fn of(request: &video::Request) -> Result<Model> {
    let has_audio = matches!(request.speech, video::Speech::Audio(_));
    match request.model.as_deref() {
        None if has_audio => Ok(SPEAKING),
        None => Ok(MODELS[0]),
        Some(id) => MODELS
            .into_iter()
            .find(|model| model.id == id)
            .ok_or_else(|| Error::invalid("model", format!("Kling has no model `{id}`"))),
    }
}

impl Model {
    /// The nearest length on offer, in seconds; 5 without a wish, as Kling itself does. Of
    /// two that are equally near it is the shorter, which costs less.
    pub(crate) fn nearest_seconds(&self, wish_ms: Option<u32>) -> u32 {
        let wish = wish_ms.unwrap_or(5_000);
        self.seconds
            .iter()
            .copied()
            .min_by_key(|seconds| (seconds * 1_000).abs_diff(wish))
            .unwrap_or(5)
    }
}

/// The catalog: models only. Kling's own voices and persons are not offered by these routes.
pub(crate) fn catalog(kind: catalog::Kind) -> catalog::Page {
    let items = match kind {
        catalog::Kind::Model => MODELS
            .into_iter()
            .map(|model| catalog::Item {
                id: model.id.to_owned(),
                kind,
                name: model.name.to_owned(),
                language: None,
                preview_url: None,
                metadata: Some(json!({ "seconds": model.seconds }).to_string()),
            })
            .collect(),
        catalog::Kind::Avatar | catalog::Kind::Voice => Vec::new(),
    };
    catalog::Page { items, next: None }
}
