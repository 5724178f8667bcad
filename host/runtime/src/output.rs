//! Limits on what plugins answer. What is only for eyes is cut; everything else that is too
//! big or breaks a rule makes the answer bad.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use crate::contract::types::{
    Done, Error, ErrorKind, Media, Output, Progress, Role, Status, Submission,
};
use crate::contract::{account, catalog, webhook};
use crate::text::cut_chars;

const MAX_JSON: usize = 256 * 1024;
const MAX_TEXT: usize = 1024 * 1024;
const MAX_URL: usize = 16 * 1024;
const MAX_ID: usize = 512;
const MAX_NAME: usize = 500;
const MAX_OUTPUTS: usize = 16;
const MAX_ITEMS: usize = 200;
const MAX_HINTS: usize = 100;
const MAX_PROBLEMS: usize = 100;
/// Longest wait that a vendor may ask for, in milliseconds.
const MAX_WAIT: u64 = 3_600_000;

/// Checks an answer and cuts what may be cut.
pub(crate) trait Check {
    /// Why the answer is bad, in words.
    fn check(&mut self) -> Result<(), String>;
}

fn short(what: &str, text: &str, limit: usize) -> Result<(), String> {
    if text.len() > limit {
        return Err(format!(
            "{what} has {} bytes; {limit} are allowed",
            text.len()
        ));
    }
    Ok(())
}

fn few(what: &str, count: usize, limit: usize) -> Result<(), String> {
    if count > limit {
        return Err(format!("{what} has {count} entries; {limit} are allowed"));
    }
    Ok(())
}

fn id(what: &str, text: &str) -> Result<(), String> {
    short(what, text, MAX_ID)?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(format!("{what} is empty or has a control character"));
    }
    Ok(())
}

fn json_object(what: &str, text: Option<&String>) -> Result<(), String> {
    let Some(text) = text else { return Ok(()) };
    short(what, text, MAX_JSON)?;
    serde_json::from_str::<BTreeMap<String, IgnoredAny>>(text)
        .map(drop)
        .map_err(|error| format!("{what} is no JSON object: {error}"))
}

impl Check for () {
    fn check(&mut self) -> Result<(), String> {
        Ok(())
    }
}

impl Check for Option<String> {
    fn check(&mut self) -> Result<(), String> {
        self.as_ref().map_or(Ok(()), |task| id("the task id", task))
    }
}

impl Check for Error {
    fn check(&mut self) -> Result<(), String> {
        cut_chars(&mut self.message, 2_000);
        if let Some(code) = &mut self.vendor_code {
            cut_chars(code, 200);
        }
        match &mut self.kind {
            ErrorKind::InvalidInput(problems) => {
                few("the list of problems", problems.len(), MAX_PROBLEMS)?;
                for problem in problems {
                    cut_chars(&mut problem.field, 200);
                    cut_chars(&mut problem.message, 2_000);
                }
            }
            ErrorKind::RateLimited(Some(wait)) | ErrorKind::NoSlot(Some(wait)) => {
                *wait = (*wait).min(MAX_WAIT);
            }
            ErrorKind::Other(word) => cut_chars(word, 100),
            _ => {}
        }
        Ok(())
    }
}

impl Check for Submission {
    fn check(&mut self) -> Result<(), String> {
        match self {
            Self::Accepted(task) => id("the task id", task),
            Self::Done(done) => done.check(),
        }
    }
}

impl Check for Status {
    fn check(&mut self) -> Result<(), String> {
        match self {
            Self::Queued(progress) | Self::Running(progress) => {
                tidy(progress);
                Ok(())
            }
            Self::Done(done) => done.check(),
            Self::Failed(error) => error.check(),
            Self::Canceled => Ok(()),
        }
    }
}

fn tidy(progress: &mut Progress) {
    progress.fraction = progress
        .fraction
        .filter(|fraction| fraction.is_finite())
        .map(|fraction| fraction.clamp(0.0, 1.0));
    if let Some(message) = &mut progress.message {
        cut_chars(message, 200);
    }
}

impl Check for Done {
    fn check(&mut self) -> Result<(), String> {
        few("the list of outputs", self.outputs.len(), MAX_OUTPUTS)?;
        let main = self
            .outputs
            .iter()
            .filter(|output| output.role == Role::Main)
            .count();
        if main != 1 {
            return Err(format!("{main} outputs are `main`; exactly one must be"));
        }
        self.outputs.iter_mut().try_for_each(Check::check)
    }
}

impl Check for Output {
    fn check(&mut self) -> Result<(), String> {
        match &self.media {
            Media::Url(url) => short("a URL", url, MAX_URL)?,
            Media::Asset(name) => id("the name of an asset", name)?,
            Media::Text(text) => short("a text output", text, MAX_TEXT)?,
        }
        let mime = self.mime.split(';').next().unwrap_or_default().trim();
        if self.mime.len() > 200 || !crate::egress::headers::is_mime(mime) {
            return Err("a media type is not as `video/mp4`".to_owned());
        }
        json_object("the metadata of an output", self.metadata.as_ref())
    }
}

impl Check for catalog::Page {
    fn check(&mut self) -> Result<(), String> {
        few("the page", self.items.len(), MAX_ITEMS)?;
        for item in &mut self.items {
            id("the id of an item", &item.id)?;
            cut_chars(&mut item.name, MAX_NAME);
            if let Some(language) = &item.language {
                short("a language", language, 100)?;
            }
            if let Some(url) = &item.preview_url {
                short("a URL", url, MAX_URL)?;
            }
            json_object("the metadata of an item", item.metadata.as_ref())?;
        }
        self.next
            .as_ref()
            .map_or(Ok(()), |next| short("the cursor", next, 4 * 1024))
    }
}

impl Check for account::Info {
    fn check(&mut self) -> Result<(), String> {
        cut_chars(&mut self.label, MAX_NAME);
        json_object("`remaining`", self.remaining.as_ref())
    }
}

impl Check for Vec<webhook::Hint> {
    fn check(&mut self) -> Result<(), String> {
        few("the list of hints", self.len(), MAX_HINTS)?;
        for hint in self {
            for (what, text) in [
                ("a task id", &hint.task_id),
                ("a client-ref", &hint.client_ref),
                ("an event id", &hint.event_id),
            ] {
                if let Some(text) = text {
                    id(what, text)?;
                }
            }
        }
        Ok(())
    }
}
