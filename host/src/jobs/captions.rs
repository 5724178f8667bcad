//! Other captions for a film that is there: a job of its own that takes over what another has made
//! and composes it anew. No vendor is asked, and nothing is held or spent.

use super::{
    accept::Checked,
    check::Told,
    input::{Caption, Edit, JobInput, VideoInput},
    model::{Job, JobStatus, StepKind, StepOutput, SubtitleMode},
    service::{Error, Service},
};
use crate::{
    ids::{ApiKeyId, JobId, UserId},
    input::Problems,
    time::Timestamp,
};

/// Most captions of a film.
pub const MAX_CAPTIONS: usize = 1_000;
/// Longest text of one, in characters.
pub const MAX_TEXT: usize = 200;
/// Most lines of one.
const MAX_LINES: usize = 2;

/// A film with other captions to make.
#[derive(Debug, Clone)]
pub struct EditWish {
    /// The job that has made it.
    pub source: JobId,
    /// What is shown; none: what its voice says.
    pub captions: Option<Vec<Caption>>,
    /// What becomes of them; none: as it was.
    pub subtitles: Option<SubtitleMode>,
    /// The caller's key.
    pub idempotency_key: String,
    /// When it has to be done.
    pub deadline: Option<Timestamp>,
    /// Where its end is told.
    pub webhook_url: Option<url::Url>,
    /// Where its end is told by mail.
    pub notification_email: Option<String>,
    /// The API key that asks for it.
    pub by: Option<ApiKeyId>,
}

impl Service {
    /// Accepts a job that puts other captions onto a film of the caller's.
    ///
    /// # Errors
    /// `Invalid` names fields, `NotFound`, or `Conflict` while the film is not there, or is not
    /// any more.
    pub async fn edit_captions(&self, owner: UserId, wish: EditWish) -> Result<Job, Error> {
        let source = self.find(owner, wish.source).await?;
        let source = source.ok_or(Error::NotFound("job"))?;
        let JobInput::Video(input) = source.input else {
            return Err(Error::Conflict("The job makes no film.".to_owned()));
        };
        if source.status != JobStatus::Succeeded {
            return Err(Error::Conflict(format!(
                "The job is {}; captions can be edited once it has SUCCEEDED.",
                source.status.as_str()
            )));
        }
        let steps = self.database.for_user(owner).steps_of(&[source.id]).await?;
        let speaks_itself = !steps.iter().any(|step| step.kind == StepKind::Voice);
        let length = steps.iter().find_map(|step| match &step.output {
            Some(StepOutput::Compose { film, .. }) => film.duration_ms,
            _ => None,
        });
        let subtitles = wish.subtitles.unwrap_or(input.subtitles);
        let mut problems = Problems::default();
        if let Some(captions) = &wish.captions {
            check(captions, subtitles, length, &mut problems);
        }
        let told = Told {
            webhook_url: wish.webhook_url,
            email: wish.notification_email,
            by: wish.by,
        };
        let common = self.common(&wish.idempotency_key, wish.deadline, told, &mut problems);
        problems.into_result().map_err(Error::Invalid)?;
        let mut product = input.product;
        // They are in the film already, and may be gone by now.
        product.images = Vec::new();
        let input = VideoInput {
            product,
            images: Vec::new(),
            subtitles,
            edit: Some(Edit {
                source: source.id,
                captions: wish.captions,
            }),
            ..input
        };
        let checked = Checked {
            project: source.project,
            input: JobInput::Video(input),
            speaks_itself,
            common,
        };
        self.accept(owner, checked).await
    }

    /// Refuses an edit of a film whose files are gone.
    pub(super) async fn check_source(&self, owner: UserId, edit: &Edit) -> Result<(), Error> {
        match self.withdrawals(owner, &[edit.source]).await?.is_empty() {
            true => Ok(()),
            false => Err(Error::Conflict(
                "The job's files were removed; make the film anew.".to_owned(),
            )),
        }
    }
}

fn check(
    captions: &[Caption],
    subtitles: SubtitleMode,
    length: Option<u64>,
    problems: &mut Problems,
) {
    if subtitles == SubtitleMode::None {
        problems.add(
            "captions",
            "have no effect with subtitles NONE; say BURNED or SIDECAR",
        );
    }
    if captions.is_empty() {
        problems.add(
            "captions",
            "must not be empty; leave them out, or say subtitles NONE",
        );
    } else if captions.len() > MAX_CAPTIONS {
        problems.add("captions", format!("must be at most {MAX_CAPTIONS}"));
        return;
    }
    let mut before = 0;
    for (index, caption) in captions.iter().enumerate() {
        let mut add = |name: &str, why: String| {
            problems.add(format!("captions.{index}.{name}"), why);
        };
        let lines = caption.text.lines().count();
        if caption.text.trim().is_empty() || caption.text.chars().count() > MAX_TEXT {
            add("text", format!("must have 1 to {MAX_TEXT} characters"));
        } else if lines > MAX_LINES {
            add("text", format!("must be at most {MAX_LINES} lines"));
        } else if caption
            .text
            .lines()
            .any(|line| line.chars().any(char::is_control))
        {
            add("text", "must not have control characters".to_owned());
        }
        if caption.start_ms < before {
            add(
                "startMs",
                "must not be before the end of the one before".to_owned(),
            );
        }
        if caption.end_ms <= caption.start_ms {
            add("endMs", "must be after startMs".to_owned());
        }
        if let Some(length) = length.filter(|length| u64::from(caption.end_ms) > *length) {
            add(
                "endMs",
                format!("must not be after the film's end, {length} ms"),
            );
        }
        before = before.max(caption.end_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(captions: &[(u32, u32, &str)], subtitles: SubtitleMode) -> Vec<String> {
        let captions: Vec<_> = captions
            .iter()
            .map(|(start_ms, end_ms, text)| Caption {
                start_ms: *start_ms,
                end_ms: *end_ms,
                text: (*text).to_owned(),
            })
            .collect();
        let mut problems = Problems::default();
        check(&captions, subtitles, Some(5_000), &mut problems);
        let fields = problems.list().iter().map(|problem| problem.field.clone());
        fields.collect()
    }

    #[test]
    fn captions_are_in_order_within_the_film() {
        let good = [(0, 1_000, "One"), (1_000, 5_000, "Two\nlines")];
        assert!(wrong(&good, SubtitleMode::Burned).is_empty());
        let long = "x".repeat(MAX_TEXT + 1);
        for (captions, fields) in [
            (vec![], vec!["captions"]),
            (vec![(0, 0, "One")], vec!["captions.0.endMs"]),
            (vec![(0, 5_001, "One")], vec!["captions.0.endMs"]),
            (
                vec![(0, 900, "One"), (800, 1_000, "Two")],
                vec!["captions.1.startMs"],
            ),
            (vec![(0, 900, " ")], vec!["captions.0.text"]),
            (vec![(0, 900, long.as_str())], vec!["captions.0.text"]),
            (vec![(0, 900, "a\nb\nc")], vec!["captions.0.text"]),
            (vec![(0, 900, "a\u{7}")], vec!["captions.0.text"]),
        ] {
            assert_eq!(
                wrong(&captions, SubtitleMode::Sidecar),
                fields,
                "{captions:?}"
            );
        }
        assert_eq!(wrong(&good, SubtitleMode::None), ["captions"]);
        let many = vec![(0, 0, ""); MAX_CAPTIONS + 1];
        assert_eq!(wrong(&many, SubtitleMode::Burned), ["captions"]);
    }
}
