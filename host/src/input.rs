//! Checking what comes from outside: every problem is collected, each with its field.

use url::Url;

/// Longest address of a receiver of webhooks.
const MAX_RECEIVER: usize = 2_000;
/// Ports that such receivers have.
const RECEIVER_PORTS: [u16; 2] = [443, 8_443];

/// One field that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, for example `options.speed` or `productImages.0`.
    pub field: String,
    /// What is wrong, in words for the person who sent it.
    pub message: String,
}

/// All the problems of one input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds one.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem {
            field: field.into(),
            message: message.into(),
        });
    }

    /// Only one.
    #[must_use]
    pub fn one(field: impl Into<String>, message: impl Into<String>) -> Self {
        let mut problems = Self::default();
        problems.add(field, message);
        problems
    }

    /// Trims `text` and checks its length in characters.
    pub fn text(&mut self, field: &str, text: &str, shortest: usize, longest: usize) -> String {
        let text = text.trim();
        let length = text.chars().count();
        if length < shortest {
            self.add(
                field,
                if shortest == 1 {
                    "must not be empty".to_owned()
                } else {
                    format!("must have at least {shortest} characters")
                },
            );
        } else if length > longest {
            self.add(
                field,
                format!("must have at most {longest} characters; it has {length}"),
            );
        } else if text
            .chars()
            .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
        {
            self.add(field, "must not contain control characters");
        }
        text.to_owned()
    }

    /// Fails when there is any.
    ///
    /// # Errors
    /// The problems themselves.
    pub fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }

    /// In the order in which they were found.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.0
    }
}

/// Checks a link that a user gives for others, or this host, to ask: a public https one, unless
/// `lenient`. Names are not resolved here; who asks them looks where they lead.
pub fn check_public_link(field: &str, link: &Url, lenient: bool, problems: &mut Problems) {
    if link.scheme() != "https" && !(lenient && link.scheme() == "http") {
        problems.add(field, "must be an https link");
    } else if !link.username().is_empty() || link.password().is_some() {
        problems.add(field, "must not carry a user name or password");
    } else if !lenient && !is_public_host(link) {
        problems.add(field, "must point to a public address");
    }
}

/// Checks an address that webhooks are to be sent to. Where its name leads is looked at again
/// at each attempt.
pub fn check_receiver(field: &str, url: &Url, lenient: bool, problems: &mut Problems) {
    if url.as_str().len() > MAX_RECEIVER {
        problems.add(field, format!("at most {MAX_RECEIVER} characters"));
    } else if !lenient
        && url.scheme() == "https"
        && (url.port_or_known_default()).is_none_or(|port| !RECEIVER_PORTS.contains(&port))
    {
        problems.add(field, "must have the port 443 or 8443");
    } else {
        check_public_link(field, url, lenient, problems);
    }
}

/// Is the host a name that may be public, or a literal address that the internet can reach?
#[must_use]
pub fn is_public_host(link: &Url) -> bool {
    match link.host() {
        Some(url::Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name.contains('.') && !name.ends_with(".localhost")
        }
        Some(url::Host::Ipv4(address)) => genvid_runtime::is_public(address.into()),
        Some(url::Host::Ipv6(address)) => genvid_runtime::is_public(address.into()),
        None => false,
    }
}

/// Is this a language tag of BCP 47 as far as it matters here: a primary tag of two or
/// three letters, then subtags of up to eight letters or digits?
#[must_use]
pub fn is_language_tag(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let primary = parts.next().unwrap_or_default();
    tag.len() <= 35
        && (2..=3).contains(&primary.len())
        && primary.bytes().all(|b| b.is_ascii_alphabetic())
        && parts.all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_named() {
        let mut problems = Problems::default();
        problems.text("name", "  ", 1, 5);
        problems.text("brief", "toolong", 0, 3);
        problems.text("text", "a\u{0}b", 0, 10);
        let fields: Vec<_> = problems.list().iter().map(|p| p.field.as_str()).collect();
        assert_eq!(fields, ["name", "brief", "text"]);
    }

    #[test]
    fn language_tags() {
        for good in ["en", "zh-CN", "zh-Hans-CN", "yue", "es-419"] {
            assert!(is_language_tag(good), "{good}");
        }
        for bad in ["", "e", "english", "en_US", "en-", "12"] {
            assert!(!is_language_tag(bad), "{bad}");
        }
    }
}
