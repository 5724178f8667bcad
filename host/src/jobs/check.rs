//! Checking wishes: every field, and the providers' own rules.

use std::time::Duration;

use genvid_runtime::manifest::Speech;

use url::Url;

use super::{batch::Place, input::VideoInput, service::Service};
use crate::{
    ids::{ApiKeyId, QuoteId},
    input::{Problems, check_receiver, is_language_tag},
    mail::Address,
    providers::Kind,
    time::{self, Timestamp},
};

/// Longest film, in seconds.
pub const MAX_SECONDS: u32 = 600;
const MAX_KEY: usize = 255;
const MAX_OPTIONS: usize = 16 * 1_024;
const MAX_DEADLINE: Duration = Duration::from_secs(7 * 86_400);

impl Service {
    /// Does the pinned provider voice the script, with no separate voice asked for?
    pub(super) fn speaks_itself(&self, input: &VideoInput) -> bool {
        let voice_elsewhere = input
            .voice_provider
            .as_deref()
            .or(input.voice.as_ref().map(|v| v.provider.as_str()));
        let pinned = input
            .provider
            .as_deref()
            .and_then(|id| self.registry.find(id));
        pinned.is_some_and(|provider| {
            voice_elsewhere.is_none_or(|id| id == provider.id())
                && provider
                    .manifest()
                    .video
                    .as_ref()
                    .is_some_and(|video| video.speech.contains(&Speech::Script))
        })
    }

    pub(super) fn check_provider(
        &self,
        field: &str,
        kind: Kind,
        id: Option<&str>,
        only: Option<&[String]>,
        problems: &mut Problems,
    ) {
        let Some(id) = id else { return };
        if only.is_some_and(|only| !only.iter().any(|allowed| allowed == id)) {
            return problems.add(
                field,
                format!("{id} is not a provider that this API key may use"),
            );
        }
        match self.registry.find(id) {
            None => problems.add(field, format!("{id} is not an installed provider")),
            Some(provider) if !provider.serves(kind) => {
                problems.add(field, format!("{id} does not offer this"));
            }
            Some(_) => {}
        }
    }

    /// Options belong to one provider, so they need a pin; then its schema decides.
    pub(super) fn check_options(
        &self,
        kind: Kind,
        pin: Option<&str>,
        options: Option<serde_json::Value>,
        problems: &mut Problems,
    ) -> serde_json::Value {
        let options = match options {
            None | Some(serde_json::Value::Null) => return serde_json::Value::Null,
            Some(serde_json::Value::Object(map)) if map.is_empty() => {
                return serde_json::Value::Null;
            }
            Some(options) => options,
        };
        let Some(provider) = pin.and_then(|id| self.registry.find(id)) else {
            problems.add("options", "are a provider's own: name the provider too");
            return options;
        };
        let serde_json::Value::Object(map) = &options else {
            problems.add("options", "must be an object");
            return options;
        };
        if options.to_string().len() > MAX_OPTIONS {
            problems.add("options", format!("must have at most {MAX_OPTIONS} bytes"));
            return options;
        }
        let manifest = provider.manifest();
        let (schema, models) = match kind {
            Kind::Script => (
                &manifest.options.script,
                manifest.script.as_ref().map(|kind| kind.models.as_slice()),
            ),
            Kind::Voice => (
                &manifest.options.voice,
                manifest.voice.as_ref().map(|kind| kind.models.as_slice()),
            ),
            Kind::Video => (
                &manifest.options.video,
                manifest.video.as_ref().map(|kind| kind.models.as_slice()),
            ),
        };
        if let Some(model) = map.get("model") {
            let known = model.as_str().is_some_and(|id| {
                models
                    .unwrap_or_default()
                    .iter()
                    .any(|model| model.id == id)
            });
            if !known {
                problems.add("options.model", "is not a model of this provider");
            }
        }
        let mut rest = map.clone();
        rest.remove("model");
        check_schema(schema.as_ref(), &serde_json::Value::Object(rest), problems);
        options
    }

    /// An address that a job's end can be told to.
    fn check_address(&self, email: &str, problems: &mut Problems) -> Option<Address> {
        const FIELD: &str = "notificationEmail";
        if !self.settings.mail {
            problems.add(
                FIELD,
                "this server sends no mail; leave it out, or use webhookUrl",
            );
            return None;
        }
        let address = Address::parse(email).filter(|one| self.lenient_links || one.is_public());
        if address.is_none() {
            problems.add(FIELD, "must be a mail address such as ann@example.com");
        }
        address
    }

    pub(super) fn common(
        &self,
        key: &str,
        deadline: Option<Timestamp>,
        told: Told,
        problems: &mut Problems,
    ) -> Common {
        let key = key.trim();
        if key.is_empty() || key.len() > MAX_KEY {
            problems.add(
                "idempotencyKey",
                format!("must have 1 to {MAX_KEY} characters"),
            );
        }
        let Told {
            webhook_url,
            email,
            by,
        } = told;
        let notify = email.and_then(|email| self.check_address(&email, problems));
        if let Some(url) = &webhook_url {
            check_receiver("webhookUrl", url, self.lenient_links, problems);
        }
        let now = time::now();
        if let Some(deadline) = deadline {
            if deadline <= now {
                problems.add("deadline", "has passed");
            } else if deadline.since(now) > MAX_DEADLINE {
                problems.add("deadline", "is more than seven days away");
            }
        }
        Common {
            key: key.to_owned(),
            asked_deadline: deadline,
            webhook_url: webhook_url.map(Into::into),
            notify,
            max_credits: None,
            quote: None,
            place: None,
            by,
        }
    }
}

/// Where a wish wants its end told.
pub(super) struct Told {
    pub(super) webhook_url: Option<Url>,
    pub(super) email: Option<String>,
    pub(super) by: Option<ApiKeyId>,
}

/// What all wishes have in common.
pub(super) struct Common {
    pub(super) key: String,
    pub(super) asked_deadline: Option<Timestamp>,
    pub(super) webhook_url: Option<String>,
    pub(super) notify: Option<Address>,
    pub(super) max_credits: Option<u32>,
    pub(super) quote: Option<QuoteId>,
    pub(super) place: Option<Place>,
    pub(super) by: Option<ApiKeyId>,
}

pub(super) fn check_language(tag: &str, problems: &mut Problems) {
    if !is_language_tag(tag) {
        problems.add("language", "must be a language tag such as en or zh-CN");
    }
}

pub(super) fn check_seconds(seconds: Option<u32>, problems: &mut Problems) {
    if seconds.is_some_and(|seconds| !(1..=MAX_SECONDS).contains(&seconds)) {
        problems.add("maxSeconds", format!("must be 1 to {MAX_SECONDS}"));
    }
}

fn check_schema(
    schema: Option<&serde_json::Value>,
    options: &serde_json::Value,
    problems: &mut Problems,
) {
    let Some(schema) = schema else {
        if options.as_object().is_some_and(|map| !map.is_empty()) {
            problems.add("options", "this provider takes none");
        }
        return;
    };
    match jsonschema::validator_for(schema) {
        Ok(validator) => {
            for error in validator.iter_errors(options).take(20) {
                let path = error.instance_path().to_string().replace('/', ".");
                problems.add(format!("options{path}"), error.to_string());
            }
        }
        Err(error) => {
            tracing::error!(%error, "a manifest's options schema is unusable");
            problems.add(
                "options",
                "cannot be checked: the provider's schema is faulty",
            );
        }
    }
}
