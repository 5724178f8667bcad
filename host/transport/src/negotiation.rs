//! Media types: what the client sent and what it wants back.

use http::{HeaderMap, HeaderValue, header};

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// `application/json`: also the answer to a missing `Accept` and to wildcards.
    Json,
    /// `application/graphql-response+json`: statuses mean what they say.
    GraphqlResponse,
    /// `text/event-stream`.
    EventStream,
    /// `text/html`.
    Html,
}

impl Media {
    const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::Json, "application", "json"),
        (
            Self::GraphqlResponse,
            "application",
            "graphql-response+json",
        ),
        (Self::EventStream, "text", "event-stream"),
        (Self::Html, "text", "html"),
    ];

    pub(crate) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json; charset=utf-8",
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::EventStream => "text/event-stream; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
        })
    }
}

/// One media range of an `Accept` header (RFC 9110, section 12.5.1).
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// Thousandths.
    quality: u32,
}

/// The best of what is offered. `None`: the client accepts none of it. Event streams and pages must be asked for by
/// name; among equals the one that the client names first wins.
pub(crate) fn accept(headers: &HeaderMap, html: bool) -> Option<Media> {
    if !headers.contains_key(header::ACCEPT) {
        return Some(Media::Json);
    }
    let text: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let ranges: Vec<Range<'_>> = text
        .iter()
        .flat_map(|text| text.split(','))
        .filter_map(range)
        .collect();
    let mut best: Option<(u32, Media)> = None;
    let mut consider = |quality: u32, media: Media| {
        if quality > 0 && best.is_none_or(|(other, _)| quality > other) {
            best = Some((quality, media));
        }
    };
    for range in &ranges {
        for (media, kind, subtype) in Media::ALL {
            if range.kind.eq_ignore_ascii_case(kind)
                && range.subtype.eq_ignore_ascii_case(subtype)
                && (html || media != Media::Html)
            {
                consider(range.quality, media);
            }
        }
    }
    // A wildcard gives JSON, unless JSON has its own entry: the more specific range decides.
    let json_named = ranges.iter().any(|range| {
        range.kind.eq_ignore_ascii_case("application") && range.subtype.eq_ignore_ascii_case("json")
    });
    if !json_named {
        let wildcard = ranges
            .iter()
            .filter(|range| {
                range.subtype == "*"
                    && (range.kind == "*" || range.kind.eq_ignore_ascii_case("application"))
            })
            .max_by_key(|range| range.kind != "*");
        if let Some(range) = wildcard {
            consider(range.quality, Media::Json);
        }
    }
    best.map(|(_, media)| media)
}

fn range(text: &str) -> Option<Range<'_>> {
    let mut parts = text.split(';');
    let (kind, subtype) = parts.next()?.trim().split_once('/')?;
    let mut quality = 1000;
    for parameter in parts {
        if let Some((name, value)) = parameter.split_once('=')
            && name.trim().eq_ignore_ascii_case("q")
        {
            let value: f32 = value
                .trim()
                .parse()
                .ok()
                .filter(|value| (0.0..=1.0).contains(value))?;
            quality = (f64::from(value) * 1000.0) as u32;
        }
    }
    Some(Range {
        kind: kind.trim(),
        subtype: subtype.trim(),
        quality,
    })
}

/// Whether the body is JSON in UTF-8. Nothing else is read: a web page can send a form or plain text to any server
/// without being asked, `application/json` it cannot.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Ok(text) = value.to_str() else {
        return false;
    };
    let mut parts = text.split(';');
    let essence = parts
        .next()
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"));
    let utf8 = parts
        .filter_map(|parameter| parameter.split_once('='))
        .all(|(name, value)| {
            !name.trim().eq_ignore_ascii_case("charset")
                || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        });
    let plain = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"));
    essence && utf8 && plain
}
