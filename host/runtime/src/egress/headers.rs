//! Headers between the guest and the wire.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

const MOST: usize = 64;
const MOST_BYTES: usize = 16 * 1024;

/// Headers that the host itself writes: they decide where a message goes and where it ends
/// (RFC 9110, section 7.6.1, and RFC 9112, section 6), so that nobody else may touch them.
pub(crate) fn is_structural(name: &HeaderName) -> bool {
    const NAMES: &[&str] = &[
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
    ];
    let name = name.as_str();
    NAMES.contains(&name) || name.starts_with("proxy-") || name.starts_with("x-forwarded-")
}

/// Headers that carry credentials.
fn is_credential(name: &HeaderName) -> bool {
    *name == header::AUTHORIZATION || *name == header::COOKIE || name.as_str() == "cookie2"
}

/// Turns the guest's headers into real ones, or says which one is refused. `own` are the
/// headers of the manifest's credentials.
pub(crate) fn from_guest(
    headers: &[(String, String)],
    own: &[HeaderName],
) -> Result<HeaderMap, String> {
    if headers.len() > MOST {
        return Err(format!("{} headers; {MOST} are allowed", headers.len()));
    }
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > MOST_BYTES {
        return Err(format!(
            "{bytes} bytes of headers; {MOST_BYTES} are allowed"
        ));
    }
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let shown: String = name
            .chars()
            .take(100)
            .flat_map(char::escape_default)
            .collect();
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("`{shown}` is no header name"))?;
        if is_structural(&name) || is_credential(&name) || own.contains(&name) {
            return Err(format!("the header `{name}` is the host's own"));
        }
        let value = HeaderValue::from_str(value)
            .map_err(|_| format!("the value of the header `{name}` has forbidden characters"))?;
        map.append(name, value);
    }
    Ok(map)
}

/// Headers as a guest sees them: names in lower case, cookies left out because they are
/// credentials, bytes outside of UTF-8 replaced.
pub(crate) fn to_guest(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| {
            !is_credential(name) && **name != header::SET_COOKIE && name.as_str() != "set-cookie2"
        })
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        })
        .collect()
}

/// `type/subtype`, both of the characters that media types may have (RFC 6838, section 4.2).
pub(crate) fn is_mime(text: &str) -> bool {
    let part = |part: &str| {
        (1..=127).contains(&part.len())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.split_once('/')
        .is_some_and(|(kind, subtype)| part(kind) && part(subtype))
}

/// The media type without parameters, in lower case, when there is a valid one.
pub(crate) fn mime_of(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let mime = value.split(';').next()?.trim().to_ascii_lowercase();
    is_mime(&mime).then_some(mime)
}

/// Whether bodies of this media type are text.
pub(crate) fn is_textual(mime: &str) -> bool {
    mime.starts_with("text/")
        || mime.ends_with("+json")
        || mime.ends_with("+xml")
        || matches!(
            mime,
            "application/json"
                | "application/x-ndjson"
                | "application/jsonl"
                | "application/xml"
                | "application/javascript"
                | "application/x-www-form-urlencoded"
                | "application/graphql-response+json"
        )
}
