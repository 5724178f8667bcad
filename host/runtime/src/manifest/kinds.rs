//! The tables of the three kinds.

use super::reader::Reader;
use super::{Aspect, Model, Need, Price, Script, Speech, Unit, Video, Voice};

pub(super) fn video(table: Reader<'_>) -> Video {
    let (models, prices) = models_and_prices(&table);
    let video = Video {
        aspects: table.choices(
            "aspects",
            &[
                ("portrait", Aspect::Portrait),
                ("square", Aspect::Square),
                ("landscape", Aspect::Landscape),
            ],
        ),
        speech: table.choices(
            "speech",
            &[
                ("script", Speech::Script),
                ("audio", Speech::Audio),
                ("silent", Speech::Silent),
            ],
        ),
        languages: languages(&table),
        max_characters: table.u32("max_characters", 1, 1_000_000),
        max_prompt_characters: table.u32_or("max_prompt_characters", 0, 0, 1_000_000),
        min_seconds: table.u32_or("min_seconds", 1, 1, 600),
        max_seconds: table.u32("max_seconds", 1, 600),
        max_images: table.u32_or("max_images", 0, 0, 9),
        avatar: table
            .choice(
                "avatar",
                &[
                    ("required", Need::Required),
                    ("optional", Need::Optional),
                    ("unsupported", Need::Unsupported),
                ],
            )
            .unwrap_or(Need::Unsupported),
        typical_seconds: typical_seconds(&table),
        models,
        prices,
    };
    if table.has("max_seconds") && video.min_seconds > video.max_seconds {
        table.wrong("min_seconds", "is more than max_seconds");
    }
    table.finish();
    video
}

pub(super) fn voice(table: Reader<'_>) -> Voice {
    let (models, prices) = models_and_prices(&table);
    let voice = Voice {
        languages: languages(&table),
        max_characters: table.u32("max_characters", 1, 1_000_000),
        timing: table.flag("timing"),
        default_voice: table.optional_text("default_voice", 200),
        typical_seconds: typical_seconds(&table),
        models,
        prices,
    };
    table.finish();
    voice
}

pub(super) fn script(table: Reader<'_>) -> Script {
    let (models, prices) = models_and_prices(&table);
    let script = Script {
        languages: languages(&table),
        schema: table.flag("schema"),
        streaming: table.flag("streaming"),
        typical_seconds: typical_seconds(&table),
        models,
        prices,
    };
    table.finish();
    script
}

fn typical_seconds(table: &Reader<'_>) -> u32 {
    table.u32("typical_seconds", 1, 86_400)
}

fn languages(table: &Reader<'_>) -> Vec<String> {
    let languages = table.texts("languages", 500);
    for (index, language) in languages.iter().enumerate() {
        let tag = (2..=8).contains(&language.len())
            && language.bytes().all(|letter| letter.is_ascii_lowercase());
        if language != "*" && !tag {
            table.wrong(
                &format!("languages[{index}]"),
                format!("`{language}` is neither a primary tag of BCP 47, as `en`, nor `*`"),
            );
        }
    }
    if languages.len() > 1 && languages.iter().any(|language| language == "*") {
        table.wrong("languages", "`*` stands alone");
    }
    languages
}

fn models_and_prices(table: &Reader<'_>) -> (Vec<Model>, Vec<Price>) {
    let mut models: Vec<Model> = Vec::new();
    for model in table.tables("models", 200) {
        let read = Model {
            id: model.text("id", 200),
            default: model.flag("default"),
        };
        if !read.id.is_empty() && models.iter().any(|other| other.id == read.id) {
            model.wrong("id", format!("`{}` stands there twice", read.id));
        }
        models.push(read);
        model.finish();
    }
    let defaults = models.iter().filter(|model| model.default).count();
    if !models.is_empty() && defaults != 1 {
        table.wrong(
            "models",
            format!("exactly one must be the default, {defaults} are"),
        );
    }

    let mut prices = Vec::new();
    for price in table.tables("prices", 500) {
        let read = Price {
            model: price.optional_text("model", 200),
            unit: price
                .choice(
                    "unit",
                    &[
                        ("second", Unit::Second),
                        ("character", Unit::Character),
                        ("call", Unit::Call),
                        ("token", Unit::Token),
                    ],
                )
                .unwrap_or(Unit::Call),
            micro_usd: number(&price, "micro_usd", 1_000_000_000_000),
            read: price.text("read", 10),
            source: price.text("source", 500),
        };
        if let Some(model) = &read.model
            && !models.iter().any(|other| other.id == *model)
        {
            price.wrong("model", format!("`{model}` is none of the models"));
        }
        if !read.read.is_empty() && !is_date(&read.read) {
            price.wrong(
                "read",
                format!("`{}` is no date as `2026-11-22`", read.read),
            );
        }
        prices.push(read);
        price.finish();
    }
    (models, prices)
}

fn number(table: &Reader<'_>, name: &'static str, most: u64) -> u64 {
    if !table.has(name) {
        table.wrong(name, "is missing");
    }
    table.optional_number(name, 0, most).unwrap_or_default()
}

/// `YYYY-MM-DD` with a month and a day that exist in some year.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        bytes
            .get(range)
            .filter(|part| part.iter().all(u8::is_ascii_digit))
            .is_some()
    };
    let number = |range: std::ops::Range<usize>| {
        text.get(range)
            .and_then(|part| part.parse::<u32>().ok())
            .unwrap_or(0)
    };
    bytes.len() == 10
        && digits(0..4)
        && digits(5..7)
        && digits(8..10)
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && (1..=12).contains(&number(5..7))
        && (1..=31).contains(&number(8..10))
}
