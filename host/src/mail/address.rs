//! Addresses: bounded, in one line, without anything that could become a header.

use std::fmt;

/// Longest address, as RFC 5321 has it.
const LONGEST: usize = 254;
/// Longest part before the at sign.
const LONGEST_LOCAL: usize = 64;
/// Longest name of a sender, in characters.
const LONGEST_NAME: usize = 60;

/// A mail address. Its text holds no space, control character or separator of headers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address(String);

impl Address {
    /// The address in a text; nothing when it is none. Quoted local parts, comments and
    /// literal hosts are not taken: nobody who reads mail today has them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (local, domain) = text.rsplit_once('@')?;
        let fits = text.len() <= LONGEST && (1..=LONGEST_LOCAL).contains(&local.len());
        (fits && is_local(local) && is_domain(domain)).then(|| Self(text.to_owned()))
    }

    /// Can it be reached from outside: has its domain a dot?
    #[must_use]
    pub fn is_public(&self) -> bool {
        let domain = self.0.rsplit_once('@').map_or("", |(_, domain)| domain);
        domain.contains('.') && !domain.ends_with(".localhost")
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text under which suppressions are kept.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn is_local(local: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    local.bytes().all(known) && local.split('.').all(|part| !part.is_empty())
}

fn is_domain(domain: &str) -> bool {
    domain.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && (label.bytes()).all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

/// Whom a mail is from: `a@example.com` or `Name <a@example.com>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender(String);

impl Sender {
    /// The sender in a text; nothing when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let Some((name, rest)) = text.split_once('<') else {
            return Address::parse(text).map(|address| Self(address.0));
        };
        let address = Address::parse(rest.strip_suffix('>')?)?;
        let name = name.trim();
        let plain = |c: char| !c.is_control() && !"\"<>@,;:\\()[]".contains(c);
        let fits = (1..=LONGEST_NAME).contains(&name.chars().count());
        (fits && name.chars().all(plain)).then(|| Self(format!("{name} <{address}>")))
    }

    /// One that nobody can answer.
    #[must_use]
    pub fn local(brand: &str) -> Self {
        Self::parse(&format!("{brand} <no-reply@localhost>"))
            .unwrap_or_else(|| Self("no-reply@localhost".to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_bounded_and_in_one_line() {
        for good in ["a@example.com", "a.b+c@x-y.example", "o'neil@example.co"] {
            assert!(
                Address::parse(good).is_some_and(|one| one.is_public()),
                "{good}"
            );
        }
        assert!(Address::parse("dev@localhost").is_some_and(|one| !one.is_public()));
        let long = format!("{}@example.com", "x".repeat(65));
        let longer = format!("a@{}.com", vec!["x".repeat(60); 5].join("."));
        for bad in [
            "",
            "a",
            "@example.com",
            "a@",
            "a@@example.com",
            "a b@example.com",
            "a@exa mple.com",
            "a@example.com\r\nBcc: b@example.com",
            "a@example.com,b@example.com",
            "\"a\"@example.com",
            "a@[127.0.0.1]",
            "a@-x.com",
            "a..b@example.com",
            ".a@example.com",
            "a@example..com",
            "ä@example.com",
            "a@example.com>",
            &long,
            &longer,
        ] {
            assert_eq!(Address::parse(bad), None, "{bad:?}");
        }
        assert_eq!(
            Address::parse(" A@Example.com ").map(|one| one.folded()),
            Some("a@example.com".to_owned())
        );
    }

    #[test]
    fn senders_have_a_name_or_none() {
        let text = |text: &str| Sender::parse(text).map(|one| one.as_str().to_owned());
        assert_eq!(text("a@example.com").as_deref(), Some("a@example.com"));
        assert_eq!(
            text("极光 <a@example.com>").as_deref(),
            Some("极光 <a@example.com>")
        );
        for bad in [
            "x",
            "A\nB <a@example.com>",
            "A\" <a@example.com>",
            "A <a@example.com> b",
            "<a@example.com>",
        ] {
            assert_eq!(text(bad), None, "{bad:?}");
        }
    }
}
