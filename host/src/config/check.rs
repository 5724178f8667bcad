//! All problems at once: unknown keys with what was probably meant, wrong types, numbers out
//! of range.

use figment::{
    Figment,
    providers::{Format, Toml},
    value::{Tag, Value},
};

use super::{DEFAULTS, Problem, Problems, Settings, guards, offers};
use crate::mail::{Address, Sender};

/// Keys of `[providers.ID]` and what they hold.
const PROVIDER_KEYS: &[&str] = &[
    "enabled",
    "concurrency",
    "settle_after_seconds",
    "settings",
    "secrets",
    "reroute",
];

/// Keys of `[fairness.plans.NAME]`, all of them numbers, with their greatest value.
const PLAN_KEYS: &[(&str, i128)] = &[("weight", 100), ("in_flight", MOST_IN_FLIGHT)];
/// Most jobs of one user that are not over: they are counted with each new one.
const MOST_IN_FLIGHT: i128 = 100_000;

/// Numbers with their least and greatest value.
const RANGES: &[(&str, i128, i128)] = &[
    ("server.port", 0, 65_535),
    ("server.drain_seconds", 1, 300),
    ("database.max_connections", 2, 1_000),
    ("jobs.retry_base_ms", 10, 600_000),
    ("jobs.deadline_minutes", 1, 10_080),
    ("jobs.lease_seconds", 3, 3_600),
    ("jobs.unconfirmed_minutes", 1, 1_440),
    ("jobs.settle_hours", 1, 720),
    ("jobs.in_flight_per_user", 1, MOST_IN_FLIGHT),
    ("jobs.batch_items", 1, crate::jobs::batch::MAX_ITEMS as i128),
    ("billing.credit_micro_usd", 1, 1_000_000_000),
    ("billing.margin_percent", 0, 10_000),
    ("billing.minimum_credits", 0, 1_000_000),
    ("billing.quote_minutes", 1, 10_080),
    ("billing.expire_seconds", 1, 86_400),
    ("payments.reconcile_minutes", 1, 1_440),
    ("routing.failures", 0, 1_000),
    ("routing.window_minutes", 1, 1_440),
    ("routing.open_seconds", 1, 3_600),
    ("routing.open_max_seconds", 1, 86_400),
    ("routing.trial_seconds", 5, 3_600),
    ("routing.history_hours", 1, 720),
    ("media.link_minutes", 1, 10_080),
    ("media.max_mib", 1, 65_536),
    ("media.fetch_concurrency", 1, 256),
    ("media.max_image_mib", 1, 256),
    ("media.upload_minutes", 1, 1_440),
    ("media.keep_deleted_days", 0, 3_650),
    ("media.keep_failed_days", 0, 3_650),
    ("media.orphan_hours", 1, 720),
    ("media.sweep_seconds", 1, 3_600),
    ("media.studio_concurrency", 1, 64),
    ("media.studio_looks", 1, 64),
    ("media.studio_threads", 1, 64),
    ("media.studio_minutes", 1, 240),
    ("media.studio_memory_mib", 512, 65_536),
    ("media.s3.attempts", 1, 10),
    ("plugins.max_instances", 1, 10_000),
    ("webhooks.endpoints", 0, 1_000),
    ("webhooks.timeout_seconds", 1, 60),
    ("webhooks.concurrency", 1, 1_000),
    ("webhooks.endpoint_concurrency", 1, 100),
    ("webhooks.disable_hours", 1, 8_760),
    ("mail.link_days", 1, 30),
    ("mail.low_credits", 0, 1_000_000_000),
    ("mail.daily_per_user", 1, 100_000),
    ("mail.per_second", 1, 1_000),
    ("mail.concurrency", 1, 100),
    ("mail.timeout_seconds", 1, 60),
    ("accounts.session_days", 1, 730),
    ("accounts.idle_days", 1, 730),
    ("accounts.verify_minutes", 5, 10_080),
    ("accounts.reset_minutes", 5, 1_440),
    ("accounts.argon2_memory_kib", 64, 4_194_304),
    ("accounts.argon2_iterations", 1, 100),
    ("accounts.argon2_parallelism", 1, 64),
    ("accounts.argon2_at_once", 1, 64),
    ("graphql.max_body_kib", 1, 10_240),
    ("graphql.max_depth", 1, 50),
    ("graphql.max_aliases", 0, 1_000),
    ("graphql.max_complexity", 1, 100_000),
    ("graphql.max_sockets", 1, 1_000_000),
    ("graphql.max_sockets_per_user", 1, 1_000_000),
    ("development.credits", 0, 1_000_000_000),
];

pub(super) fn settings(figment: &Figment) -> Result<Settings, Problems> {
    let mut checker = Checker {
        figment,
        problems: Vec::new(),
    };
    let given: Value = match figment.extract() {
        Ok(value) => value,
        Err(error) => {
            return Err(Problems(
                error
                    .into_iter()
                    .map(|error| from_figment(&error))
                    .collect(),
            ));
        }
    };
    match Figment::from(Toml::string(DEFAULTS)).extract::<Value>() {
        Ok(defaults) => checker.table("", &defaults, &given),
        Err(error) => checker.problems.push(from_figment(&error)),
    }
    for (key, least, most) in RANGES {
        if let Ok(value) = figment.find_value(key)
            && let Some(number) = whole(&value)
            && !(*least..=*most).contains(&number)
        {
            checker.add(
                key,
                &value,
                format!("must be {least} to {most}; it is {number}"),
            );
        }
    }
    checker.text(
        "server.bind",
        |text| text.parse::<std::net::IpAddr>().is_ok(),
        "must be an IP address",
    );
    checker.text(
        "server.public_url",
        |text| text.is_empty() || url::Url::parse(text).is_ok_and(|url| url.has_host()),
        "must be an absolute URL such as https://genvid.example.com",
    );
    for key in ["database.role", "database.worker_role"] {
        checker.text(
            key,
            |text| (1..=63).contains(&text.len()) && !text.contains('\0'),
            "must be the name of a role, 1 to 63 bytes",
        );
    }
    for key in ["database.url", "database.owner_url"] {
        checker.secret(
            key,
            |text| {
                text.is_empty()
                    || url::Url::parse(text)
                        .is_ok_and(|url| ["postgres", "postgresql"].contains(&url.scheme()))
            },
            "must begin with postgres://, or be empty for the embedded database",
        );
    }
    checker.secret(
        "redis.url",
        |text| {
            text.is_empty()
                || url::Url::parse(text)
                    .is_ok_and(|url| ["redis", "rediss"].contains(&url.scheme()) && url.has_host())
        },
        "must begin with redis:// or rediss://, or be empty",
    );
    checker.text(
        "redis.prefix",
        |text| {
            (1..=64).contains(&text.len())
                && (text.bytes())
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
        },
        "must be 1 to 64 letters, digits or -_.:",
    );
    checker.text(
        "server.role",
        |text| ["all", "api", "worker"].contains(&text),
        "must be all, api or worker",
    );
    checker.several_nodes();
    checker.tls();
    guards::check(&mut checker);
    checker.waits("webhooks.retry_seconds");
    checker.mail();
    offers::payments(&mut checker);
    checker.text(
        "log.format",
        |text| ["auto", "pretty", "json"].contains(&text),
        "must be auto, pretty or json",
    );
    checker.text(
        "log.filter",
        |text| text.parse::<tracing_subscriber::EnvFilter>().is_ok(),
        "is not a filter such as info,genvid=debug",
    );
    checker.text(
        "media.store",
        |text| ["folder", "s3"].contains(&text),
        "must be folder or s3",
    );
    if figment
        .extract_inner::<String>("media.store")
        .is_ok_and(|store| store == "s3")
    {
        checker.text(
            "media.s3.bucket",
            |text| !text.is_empty(),
            "must be named when media.store is s3",
        );
    }
    for key in [
        "media.s3.endpoint",
        "media.s3.public_endpoint",
        "media.s3.public_base_url",
        "media.s3.proxy",
    ] {
        checker.text(
            key,
            |text| text.is_empty() || url::Url::parse(text).is_ok_and(|url| url.has_host()),
            "must be an absolute URL such as https://s3.example.com",
        );
    }
    checker.text(
        "development.user",
        |text| text.is_empty() || text.contains('@'),
        "must be a mail address",
    );
    checker.text(
        "development.token",
        |text| {
            text.is_empty() || (text.starts_with(crate::accounts::TOKEN_PREFIX) && text.len() >= 35)
        },
        "must begin with gv_ and have at least 32 more characters",
    );
    if checker.problems.is_empty() {
        figment.extract().map_err(|error| {
            Problems(
                error
                    .into_iter()
                    .map(|error| from_figment(&error))
                    .collect(),
            )
        })
    } else {
        Err(Problems(checker.problems))
    }
}

pub(super) struct Checker<'a> {
    pub(super) figment: &'a Figment,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    pub(super) fn add(&mut self, key: &str, value: &Value, message: impl Into<String>) {
        let source = self.source(value.tag());
        self.problems.push(Problem {
            key: key.to_owned(),
            message: message.into(),
            source,
        });
    }

    fn source(&self, tag: Tag) -> String {
        let Some(metadata) = self.figment.get_metadata(tag) else {
            return "settings".to_owned();
        };
        match &metadata.source {
            // The name says more than the line of this program.
            Some(figment::Source::Code(_)) => "environment or flag".to_owned(),
            Some(source) => source.to_string(),
            None => metadata.name.to_string(),
        }
    }

    fn table(&mut self, path: &str, defaults: &Value, given: &Value) {
        let (Some(known), Some(keys)) = (defaults.as_dict(), given.as_dict()) else {
            return;
        };
        for (key, value) in keys {
            let place = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            if place == "providers" {
                self.providers(value);
                continue;
            }
            if place == "fairness.plans" {
                self.plans(value);
                continue;
            }
            if ["payments.plans", "payments.packs"].contains(&&*place) {
                offers::check(self, &place, value);
                continue;
            }
            match known.get(key) {
                None => {
                    let hint = nearest(key, known.keys().map(String::as_str));
                    self.add(&place, value, format!("is not a setting{hint}"));
                }
                Some(default) if kind(default) != kind(value) => {
                    let message = format!("must be {}, not {}", kind(default), kind(value));
                    self.add(&place, value, message);
                }
                Some(default) => self.table(&place, default, value),
            }
        }
    }

    fn providers(&mut self, given: &Value) {
        for (id, table) in given.as_dict().into_iter().flatten() {
            let Some(keys) = table.as_dict() else {
                self.add(&format!("providers.{id}"), table, "must be a table");
                continue;
            };
            for (key, value) in keys {
                let place = format!("providers.{id}.{key}");
                let wanted = match key.as_str() {
                    "enabled" => "true or false",
                    "concurrency" | "settle_after_seconds" => "a number",
                    "settings" | "secrets" | "reroute" => "a table",
                    _ => {
                        let hint = nearest(key, PROVIDER_KEYS.iter().copied());
                        self.add(
                            &place,
                            value,
                            format!("is not a setting of a provider{hint}"),
                        );
                        continue;
                    }
                };
                if kind(value) != wanted {
                    self.add(
                        &place,
                        value,
                        format!("must be {wanted}, not {}", kind(value)),
                    );
                } else if key == "concurrency" {
                    if !whole(value).is_some_and(|number| (1..=10_000).contains(&number)) {
                        self.add(&place, value, "must be 1 to 10000");
                    }
                } else if key == "reroute" {
                    for (host, to) in value.as_dict().into_iter().flatten() {
                        if to
                            .as_str()
                            .is_none_or(|text| url::Url::parse(text).is_err())
                        {
                            self.add(&format!("{place}.{host}"), to, "must be an absolute URL");
                        }
                    }
                }
            }
        }
    }

    fn plans(&mut self, given: &Value) {
        let Some(plans) = given.as_dict() else {
            self.add("fairness.plans", given, "must be a table");
            return;
        };
        for (name, table) in plans {
            let place = format!("fairness.plans.{name}");
            let known = |byte: u8| byte.is_ascii_lowercase() || b"0123456789-_".contains(&byte);
            if !(1..=40).contains(&name.len()) || !name.bytes().all(known) {
                self.add(
                    &place,
                    table,
                    "must be named with 1 to 40 of a-z, 0-9, - and _",
                );
            }
            let Some(keys) = table.as_dict() else {
                self.add(&place, table, "must be a table");
                continue;
            };
            for (key, value) in keys {
                let place = format!("{place}.{key}");
                let Some((_, most)) = PLAN_KEYS.iter().find(|(known, _)| known == key) else {
                    let hint = nearest(key, PLAN_KEYS.iter().map(|(known, _)| *known));
                    self.add(&place, value, format!("is not a setting of a plan{hint}"));
                    continue;
                };
                if !whole(value).is_some_and(|number| (1..=*most).contains(&number)) {
                    self.add(&place, value, format!("must be a number, 1 to {most}"));
                }
            }
        }
    }

    /// Like `text`, of something that must not be shown.
    pub(super) fn secret(&mut self, key: &str, good: impl Fn(&str) -> bool, message: &str) {
        if let Ok(value) = self.figment.find_value(key)
            && let Some(text) = value.as_str()
            && !good(text)
        {
            self.add(key, &value, message);
        }
    }

    /// An embedded database belongs to one process.
    fn several_nodes(&mut self) {
        let text = |key| {
            let value = self.figment.find_value(key).ok()?;
            Some((value.as_str()?.to_owned(), value))
        };
        if text("database.url").is_some_and(|(url, _)| !url.is_empty()) {
            self.media_of_several_nodes();
            return;
        }
        let redis = text("redis.url").filter(|(url, _)| !url.is_empty());
        let role = text("server.role").filter(|(role, _)| ["api", "worker"].contains(&&**role));
        for (key, given) in [("redis.url", redis), ("server.role", role)] {
            if let Some((_, value)) = given {
                self.add(
                    key,
                    &value,
                    "is for several nodes, which need PostgreSQL: set database.url (DATABASE_URL) too, or leave this out",
                );
            }
        }
    }

    fn tls(&mut self) {
        let [certificate, key] = ["server.tls_certificate", "server.tls_key"];
        let given = |key| {
            self.figment
                .find_value(key)
                .ok()
                .filter(|value| value.as_str().is_some_and(|text| !text.is_empty()))
        };
        match (given(certificate), given(key)) {
            (Some(value), None) => self.add(certificate, &value, "needs server.tls_key, too"),
            (None, Some(value)) => self.add(key, &value, "needs server.tls_certificate, too"),
            (Some(_), Some(_)) => self.text(
                "server.public_url",
                |text| text.is_empty() || text.starts_with("https://"),
                "must begin with https://, since server.tls_certificate is set",
            ),
            (None, None) => {}
        }
    }

    /// A node that only answers serves the files that another has made.
    fn media_of_several_nodes(&mut self) {
        let told = |key: &str, wanted: &[&str]| {
            let text = self.figment.extract_inner::<String>(key);
            text.is_ok_and(|text| wanted.contains(&&*text))
        };
        let shared = self.figment.extract_inner("media.folder_is_shared");
        if told("server.role", &["api", "worker"])
            && told("media.store", &["folder"])
            && !shared.unwrap_or(false)
            && let Ok(value) = self.figment.find_value("media.store")
        {
            self.add(
                "media.store",
                &value,
                "is a folder of one host, and nodes with a role need the same files: set it to s3, or put data.dir's media on a disk that all hosts have and set media.folder_is_shared = true",
            );
        }
    }

    /// A list of waits, in seconds.
    fn mail(&mut self) {
        self.waits("mail.retry_seconds");
        self.text(
            "mail.delivery",
            |text| ["auto", "mailbox", "resend", "off"].contains(&text),
            "must be auto, mailbox, resend or off",
        );
        let resend = self.figment.extract_inner::<String>("mail.delivery");
        let resend = resend.is_ok_and(|delivery| delivery == "resend");
        self.text(
            "mail.from",
            |text| (text.is_empty() && !resend) || Sender::parse(text).is_some(),
            "must be a sender such as Genvid <no-reply@example.com>",
        );
        self.text(
            "mail.reply_to",
            |text| text.is_empty() || Address::parse(text).is_some(),
            "must be a mail address, or empty",
        );
        self.text(
            "mail.brand",
            |text| (1..=60).contains(&text.chars().count()) && !text.contains(char::is_control),
            "must be 1 to 60 characters in one line",
        );
        let web = |text: &str| {
            let url = url::Url::parse(text);
            url.is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
        };
        let wanted = "must be an absolute URL such as https://app.example.com";
        self.text("mail.app_url", |text| text.is_empty() || web(text), wanted);
        self.text("mail.resend_url", web, wanted);
    }

    fn waits(&mut self, key: &str) {
        const MOST: usize = 20;
        const LONGEST: i128 = 7 * 86_400;
        let Ok(value) = self.figment.find_value(key) else {
            return;
        };
        let Some(waits) = value.as_array() else {
            return;
        };
        let good = |wait| whole(wait).is_some_and(|wait| (0..=LONGEST).contains(&wait));
        if !(1..=MOST).contains(&waits.len()) || !waits.iter().all(good) {
            let message = format!("must be 1 to {MOST} numbers of seconds, each 0 to {LONGEST}");
            self.add(key, &value, message);
        }
    }

    /// Each text of a list.
    pub(super) fn texts(&mut self, key: &str, good: impl Fn(&str) -> bool, message: &str) {
        const MOST: usize = 100;
        let Ok(value) = self.figment.find_value(key) else {
            return;
        };
        let entries = value.as_array().unwrap_or_default();
        let fits = |entry: &Value| entry.as_str().is_some_and(&good);
        if entries.len() > MOST || !entries.iter().all(fits) {
            self.add(key, &value, message);
        }
    }

    pub(super) fn text(&mut self, key: &str, good: impl Fn(&str) -> bool, message: &str) {
        if let Ok(value) = self.figment.find_value(key)
            && let Some(text) = value.as_str()
            && !good(text)
        {
            self.add(key, &value, format!("{message}; it is {text:?}"));
        }
    }
}

/// The number, if it is a whole one. A file's numbers come signed, the environment's unsigned.
pub(super) fn whole(value: &Value) -> Option<i128> {
    let unsigned = || i128::try_from(value.to_u128()?).ok();
    value.to_i128().or_else(unsigned)
}

fn from_figment(error: &figment::Error) -> Problem {
    Problem {
        key: error.path.join("."),
        message: error.kind.to_string(),
        source: error.metadata.as_ref().map_or_else(
            || "settings".to_owned(),
            |metadata| metadata.name.to_string(),
        ),
    }
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(..) | Value::Char(..) => "text",
        Value::Bool(..) => "true or false",
        Value::Num(..) => "a number",
        Value::Dict(..) => "a table",
        Value::Array(..) => "a list",
        Value::Empty(..) => "nothing",
    }
}

pub(super) fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let distance = edits(key, candidate);
        if distance <= (key.len() / 3).max(2) && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map_or_else(String::new, |(_, name)| format!("; did you mean {name}?"))
}

/// Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<Settings, Problems> {
        settings(&Figment::from(Toml::string(DEFAULTS)).merge(Toml::string(text)))
    }

    #[test]
    fn the_defaults_are_good() {
        assert_eq!(with("").expect("good").server.port, 8080);
    }

    #[test]
    fn several_nodes_need_a_database_that_they_share() {
        for text in [
            "[redis]\nurl = 'redis://localhost'",
            "[server]\nrole = 'worker'",
        ] {
            let problems = with(text).expect_err("refused").0;
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].message.contains("DATABASE_URL"), "{problems:?}");
            let shared = format!("{text}\n[database]\nurl = 'postgres://genvid@localhost/genvid'");
            let shared = format!("{shared}\n[media]\nfolder_is_shared = true");
            with(&shared).expect("good");
        }
        let apart = "[server]\nrole = 'api'\n[database]\nurl = 'postgres://genvid@here/genvid'";
        let problems = with(apart).expect_err("refused").0;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].key, "media.store");
        let bucket = format!("{apart}\n[media]\nstore = 's3'\ns3.bucket = 'films'");
        with(&bucket).expect("good");
        let secret =
            "[database]\nurl = 'postgres://localhost/a'\n[redis]\nurl = 'http://:hush@here'";
        let problems = with(secret).expect_err("refused");
        assert!(!problems.to_string().contains("hush"), "{problems}");
    }

    #[test]
    fn places_at_a_provider_may_stand_in_a_file() {
        let places = |number: i64| with(&format!("[providers.heygen]\nconcurrency = {number}"));
        let settings = places(25).expect("good");
        assert_eq!(settings.providers["heygen"].concurrency, Some(25));
        for number in [-1, 0, 10_001] {
            let problems = places(number).expect_err("refused").0;
            assert_eq!(problems[0].message, "must be 1 to 10000", "{problems:?}");
        }
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let problems = with(
            "[server]\nprot = 1\nport = 70000\nbind = 'here'\n[jobs]\nlease_seconds = 'long'\n\
             [webhooks]\nretry_seconds = [0, -1]\n\
             [media]\nstore = 's3'\n[media.s3]\nendpoint = 'there'\nattempts = 0\n\
             [providers.heygen]\nsecret = {}\nenabled = 'yes'\nreroute = { a = 'nowhere' }\n",
        )
        .expect_err("bad")
        .0;
        let told: Vec<_> = problems
            .iter()
            .map(|p| format!("{} {}", p.key, p.message))
            .collect();
        for wanted in [
            "webhooks.retry_seconds must be 1 to 20 numbers of seconds, each 0 to 604800",
            "server.prot is not a setting; did you mean port?",
            "server.port must be 0 to 65535; it is 70000",
            "server.bind must be an IP address; it is \"here\"",
            "jobs.lease_seconds must be a number, not text",
            "media.s3.bucket must be named when media.store is s3; it is \"\"",
            "media.s3.endpoint must be an absolute URL such as https://s3.example.com; it is \"there\"",
            "media.s3.attempts must be 1 to 10; it is 0",
            "providers.heygen.secret is not a setting of a provider; did you mean secrets?",
            "providers.heygen.enabled must be true or false, not text",
            "providers.heygen.reroute.a must be an absolute URL",
        ] {
            assert!(
                told.iter().any(|line| line == wanted),
                "{wanted} is missing from {told:#?}"
            );
        }
    }
}
