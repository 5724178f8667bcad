//! What an answer of a provider means for the job. Pure: this is where a paid call is, or is
//! not, allowed to be repeated, so every rule stands here once and is tested without I/O.

use std::time::Duration;

use genvid_runtime::{
    Failure as CallFailure, Outcome, SandboxErrorKind, Trace,
    types::{Done, Error, ErrorKind, Status, Submission},
};

use super::model::{Failure, FailureCode};
use crate::providers::Sign;

/// Tries of a step at one provider before it goes to the next (the seed's number).
pub const TRIES: i64 = 3;

/// What a submission came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The vendor works on it.
    Accepted(String),
    /// The vendor delivered at once.
    Done(Done),
    /// Certainly not accepted.
    Refused(Failure, Then),
    /// The vendor may have accepted it.
    Unconfirmed(String),
}

/// What may follow a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nothing: the request itself is at fault.
    Stop,
    /// Another provider.
    NextProvider,
    /// The same provider again, not before this long, up to `TRIES` times.
    Retry(Option<Duration>),
    /// The same provider, not before this long and once one of its slots is free; does not
    /// count as a try.
    WaitForSlot(Option<Duration>),
}

/// What a submission came to, from what the plugin said and from what the host saw leave
/// and arrive.
#[must_use]
pub fn judge_submission(outcome: &Outcome<Submission>) -> Verdict {
    match &outcome.result {
        Ok(Submission::Accepted(task)) => Verdict::Accepted(task.clone()),
        Ok(Submission::Done(done)) => Verdict::Done(done.clone()),
        Err(failure) => judge_refusal(failure, outcome.trace),
    }
}

fn judge_refusal(failure: &CallFailure, trace: Trace) -> Verdict {
    if trace.unanswered {
        return Verdict::Unconfirmed("The provider was called and did not answer.".to_owned());
    }
    if trace.withheld && !trace.sent {
        // The step may have another worker by now: then this is not written.
        let failure = Failure::new(
            FailureCode::ProviderUnavailable,
            "Not sent: this server was held up and may have lost the step meanwhile.",
        );
        return Verdict::Refused(failure, Then::WaitForSlot(Some(Duration::ZERO)));
    }
    match failure {
        CallFailure::Sandbox(error) if trace.sent => Verdict::Unconfirmed(format!(
            "The provider answered, but its plugin failed before it could say what ({}).",
            error.kind.as_str()
        )),
        CallFailure::Sandbox(error) => {
            let failure = Failure::new(
                FailureCode::ProviderUnavailable,
                format!("The provider's plugin failed ({}).", error.kind.as_str()),
            );
            // Nothing left this host. A full pool passes; a broken plugin does not.
            let then = match error.kind {
                SandboxErrorKind::Busy | SandboxErrorKind::Timeout => Then::Retry(None),
                _ => Then::NextProvider,
            };
            Verdict::Refused(failure, then)
        }
        CallFailure::Plugin(error) => judge_word(error, trace),
    }
}

fn judge_word(error: &Error, trace: Trace) -> Verdict {
    let refused = |code, message: &str, then| {
        let mut failure = Failure::new(code, message);
        failure.vendor_code = error.vendor_code.clone();
        if let ErrorKind::InvalidInput(problems) = &error.kind
            && let Some(problem) = problems.first()
        {
            failure.field = Some(problem.field.clone());
            failure.message = format!("The provider refused the request: {}", problem.message);
        }
        Verdict::Refused(failure, then)
    };
    match &error.kind {
        ErrorKind::InvalidInput(_) => refused(
            FailureCode::InvalidInput,
            "The provider refused the request.",
            Then::Stop,
        ),
        ErrorKind::ContentRejected => refused(
            FailureCode::ContentRejected,
            "The provider's moderation refused the content.",
            Then::Stop,
        ),
        ErrorKind::Unauthorized => refused(
            FailureCode::ProviderMisconfigured,
            "The provider does not accept this server's credentials.",
            Then::NextProvider,
        ),
        ErrorKind::Forbidden | ErrorKind::NotPermitted => refused(
            FailureCode::ProviderMisconfigured,
            "The provider's account or plan does not allow this.",
            Then::NextProvider,
        ),
        ErrorKind::QuotaExhausted => refused(
            FailureCode::ProviderMisconfigured,
            "This server's balance at the provider is used up.",
            Then::NextProvider,
        ),
        ErrorKind::NotFound => refused(
            FailureCode::InvalidInput,
            "The provider does not know the chosen avatar, voice or model.",
            Then::NextProvider,
        ),
        ErrorKind::Unsupported => refused(
            FailureCode::InvalidInput,
            "The provider cannot make this.",
            Then::NextProvider,
        ),
        ErrorKind::RateLimited(wait) => refused(
            FailureCode::ProviderUnavailable,
            "The provider takes no more requests for now.",
            Then::Retry(wait.map(Duration::from_millis)),
        ),
        ErrorKind::NoSlot(wait) => refused(
            FailureCode::ProviderUnavailable,
            "All slots at the provider are taken.",
            Then::WaitForSlot(wait.map(Duration::from_millis)),
        ),
        ErrorKind::Unavailable if failed_after_taking(trace) => {
            Verdict::Unconfirmed("The provider failed while it took the request.".to_owned())
        }
        ErrorKind::Unavailable => refused(
            FailureCode::ProviderUnavailable,
            "The provider is not available.",
            Then::Retry(None),
        ),
        ErrorKind::OutcomeUnknown if trace.sent => {
            Verdict::Unconfirmed("The provider's answer was lost or unreadable.".to_owned())
        }
        ErrorKind::OutcomeUnknown => refused(
            FailureCode::ProviderUnavailable,
            "The provider is not available.",
            Then::Retry(None),
        ),
        ErrorKind::Unexpected | ErrorKind::Other(_) => {
            let certainly_refused = !trace.sent
                || trace
                    .last_status
                    .is_some_and(|status| (400..500).contains(&status));
            if certainly_refused {
                refused(
                    FailureCode::ProviderRejected,
                    "The provider answered in a way that its plugin does not know.",
                    Then::NextProvider,
                )
            } else {
                Verdict::Unconfirmed(
                    "The provider answered in a way that its plugin does not know.".to_owned(),
                )
            }
        }
    }
}

/// Did the vendor answer a submission in a way that does not rule out that it has it? A server
/// that breaks may break after it accepted, whatever its words are (RFC 9110, 15.6.1), and an
/// error inside a 2xx answer comes after it. Only 4xx and 503 (15.6.4) say that the request
/// was not taken.
fn failed_after_taking(trace: Trace) -> bool {
    trace.sent
        && !trace
            .last_status
            .is_some_and(|status| matches!(status, 400..=499 | 503))
}

/// What a submission says of whoever was called; nothing where it was not asked, or where it is
/// not plain whose fault it was. A request at fault is answered by a vendor that works.
#[must_use]
pub fn judge_health(outcome: &Outcome<Submission>) -> Option<Sign> {
    let trace = outcome.trace;
    let fails = |why: &str| Some(Sign::Fails(why.to_owned()));
    let failure = match &outcome.result {
        Ok(_) => return Some(Sign::Works),
        Err(failure) => failure,
    };
    if trace.unanswered {
        return fails("The provider did not answer.");
    }
    if trace.withheld && !trace.sent {
        return None;
    }
    let error = match failure {
        // Each such attempt has to be looked up: whoever is at fault, more of them help nobody.
        CallFailure::Sandbox(_) if trace.sent => {
            return fails("The provider's plugin failed after it had called.");
        }
        CallFailure::Sandbox(_) => return None,
        CallFailure::Plugin(error) => error,
    };
    match &error.kind {
        ErrorKind::Unauthorized => Some(Sign::Barred(
            "The provider does not accept this server's credentials.".to_owned(),
        )),
        ErrorKind::QuotaExhausted => Some(Sign::Barred(
            "This server's balance at the provider is used up.".to_owned(),
        )),
        ErrorKind::Unavailable | ErrorKind::OutcomeUnknown => {
            fails("The provider is not available.")
        }
        ErrorKind::InvalidInput(_)
        | ErrorKind::ContentRejected
        | ErrorKind::Forbidden
        | ErrorKind::NotFound
        | ErrorKind::Unsupported
        | ErrorKind::RateLimited(_)
        | ErrorKind::NoSlot(_) => Some(Sign::Works),
        ErrorKind::Unexpected | ErrorKind::Other(_)
            if trace.last_status.is_some_and(|status| status >= 500) =>
        {
            fails("The provider fails.")
        }
        ErrorKind::Unexpected | ErrorKind::Other(_) | ErrorKind::NotPermitted => None,
    }
}

/// What asking for a task came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Sighting {
    /// It goes on. What the vendor said of it, and when to ask again.
    Working {
        /// 0.0 to 1.0.
        fraction: Option<f64>,
        /// The vendor's word for the phase.
        message: Option<String>,
        /// When to ask again.
        after: Option<Duration>,
    },
    /// It is done.
    Done(Done),
    /// It ended without a result.
    Failed(Failure),
    /// The vendor stopped it.
    Canceled,
    /// The vendor could not be asked; ask again, not before this long.
    Unseen(Option<Duration>),
}

/// What asking for a task came to. A vendor that cannot be asked changes nothing: an
/// accepted task is polled until the job's deadline.
#[must_use]
pub fn judge_status(answer: Result<Status, Error>) -> Sighting {
    match answer {
        Ok(Status::Queued(progress) | Status::Running(progress)) => Sighting::Working {
            fraction: progress
                .fraction
                .map(f64::from)
                .filter(|f| (0.0..=1.0).contains(f)),
            message: progress.message,
            after: progress
                .poll_after_ms
                .map(|ms| Duration::from_millis(u64::from(ms))),
        },
        Ok(Status::Done(done)) => Sighting::Done(done),
        Ok(Status::Failed(error)) => Sighting::Failed(task_failure(&error)),
        Ok(Status::Canceled) => Sighting::Canceled,
        Err(error) => Sighting::Unseen(match error.kind {
            ErrorKind::RateLimited(wait) | ErrorKind::NoSlot(wait) => {
                wait.map(Duration::from_millis)
            }
            _ => None,
        }),
    }
}

/// A task that the vendor took and gave up. It is never bought again without somebody's
/// decision: whether it is billed is the vendor's word, not ours.
fn task_failure(error: &Error) -> Failure {
    let (code, message) = match &error.kind {
        ErrorKind::ContentRejected => (
            FailureCode::ContentRejected,
            "The provider's moderation refused the content.",
        ),
        ErrorKind::InvalidInput(_) => (
            FailureCode::InvalidInput,
            "The provider could not use the request.",
        ),
        _ => (
            FailureCode::ProviderRejected,
            "The provider gave up on the task.",
        ),
    };
    let mut failure = Failure::new(code, message);
    failure.vendor_code = error.vendor_code.clone();
    if let ErrorKind::InvalidInput(problems) = &error.kind {
        failure.field = problems.first().map(|problem| problem.field.clone());
    }
    failure
}

/// How long to wait before try number `tries` + 1: 5 s, 10 s, 20 s … (the seed's numbers,
/// with `base` = 5 s), give or take a quarter, and never sooner than the vendor said.
#[must_use]
pub fn backoff(base: Duration, tries: i64, vendor: Option<Duration>, jitter: f64) -> Duration {
    let exponent = u32::try_from(tries.clamp(1, 10) - 1).unwrap_or(0);
    let wait = base
        .saturating_mul(1 << exponent)
        .mul_f64(0.75 + jitter.clamp(0.0, 1.0) * 0.5);
    // A vendor that asks for more than an hour is as good as unavailable.
    wait.max(vendor.unwrap_or_default().min(Duration::from_secs(3_600)))
}

/// Looks at a task that may follow each other as closely as the vendor says.
const CLOSE_LOOKS: u32 = 100;
/// The shortest wait between two of those. What ends within a second costs few of them; what
/// does not is in no such hurry, and a plugin that says "at once" for ever costs little.
const CLOSE: Duration = Duration::from_millis(10);
/// The shortest wait after them.
const APART: Duration = Duration::from_millis(100);

/// When to ask for a task again: from the manifest's first interval, wider by half at each
/// poll, up to its limit. A vendor's own word goes first.
#[must_use]
pub fn poll_interval(
    first_ms: u32,
    most_ms: u32,
    polls: u32,
    vendor: Option<Duration>,
) -> Duration {
    let widened = f64::from(first_ms) * 1.5_f64.powi(i32::try_from(polls.min(30)).unwrap_or(30));
    let own = Duration::from_secs_f64(widened.min(f64::from(most_ms.max(first_ms))) / 1_000.0);
    let least = if polls < CLOSE_LOOKS { CLOSE } else { APART };
    vendor.map_or(own.max(least), |said| {
        said.clamp(least, Duration::from_secs(600))
    })
}

#[cfg(test)]
mod tests {
    use genvid_runtime::SandboxError;

    use super::*;

    fn plugin(kind: ErrorKind, sent: bool, unanswered: bool, status: Option<u16>) -> Verdict {
        judge_submission(&Outcome {
            result: Err(CallFailure::Plugin(Error {
                kind,
                message: String::new(),
                vendor_code: None,
            })),
            trace: Trace {
                sent,
                unanswered,
                last_status: status,
                ..Trace::default()
            },
        })
    }

    #[test]
    fn what_was_withheld_was_not_bought_and_is_no_try() {
        let withheld = |sent| {
            judge_submission(&Outcome {
                result: Err(CallFailure::Plugin(Error {
                    kind: ErrorKind::Unavailable,
                    message: String::new(),
                    vendor_code: None,
                })),
                trace: Trace {
                    withheld: true,
                    sent,
                    last_status: sent.then_some(200),
                    ..Trace::default()
                },
            })
        };
        assert!(matches!(
            withheld(false),
            Verdict::Refused(_, Then::WaitForSlot(Some(Duration::ZERO)))
        ));
        // Something else had left before: what it was, only the vendor knows.
        assert!(matches!(withheld(true), Verdict::Unconfirmed(_)));
    }

    fn sandbox(kind: SandboxErrorKind, sent: bool) -> Verdict {
        judge_submission(&Outcome {
            result: Err(CallFailure::Sandbox(SandboxError {
                kind,
                plugin: "p".to_owned(),
                version: "1.0.0".to_owned(),
                function: "submit",
                message: String::new(),
            })),
            trace: Trace {
                sent,
                ..Trace::default()
            },
        })
    }

    fn health(kind: ErrorKind, trace: Trace) -> Option<Sign> {
        judge_health(&Outcome {
            result: Err(CallFailure::Plugin(Error {
                kind,
                message: String::new(),
                vendor_code: None,
            })),
            trace,
        })
    }

    #[test]
    fn only_what_is_the_vendors_fault_counts_against_it() {
        let answered = |status| Trace {
            sent: true,
            last_status: Some(status),
            ..Trace::default()
        };
        for (kind, status) in [
            (ErrorKind::InvalidInput(vec![]), 400),
            (ErrorKind::ContentRejected, 400),
            (ErrorKind::RateLimited(None), 429),
            (ErrorKind::NoSlot(None), 429),
        ] {
            assert_eq!(health(kind, answered(status)), Some(Sign::Works));
        }
        for kind in [ErrorKind::Unauthorized, ErrorKind::QuotaExhausted] {
            assert!(matches!(health(kind, answered(401)), Some(Sign::Barred(_))));
        }
        for (kind, status) in [
            (ErrorKind::Unavailable, 503),
            (ErrorKind::OutcomeUnknown, 502),
            (ErrorKind::Unexpected, 500),
        ] {
            assert!(matches!(
                health(kind, answered(status)),
                Some(Sign::Fails(_))
            ));
        }
        assert_eq!(health(ErrorKind::Unexpected, answered(418)), None);
        let silent = Trace {
            sent: true,
            unanswered: true,
            ..Trace::default()
        };
        let lost = health(ErrorKind::InvalidInput(vec![]), silent);
        assert!(matches!(lost, Some(Sign::Fails(_))));
        let withheld = Trace {
            withheld: true,
            ..Trace::default()
        };
        assert_eq!(health(ErrorKind::Unavailable, withheld), None);
    }

    fn may_repeat(verdict: &Verdict) -> bool {
        matches!(
            verdict,
            Verdict::Refused(
                _,
                Then::Retry(_) | Then::NextProvider | Then::WaitForSlot(_)
            )
        )
    }

    #[test]
    fn a_request_without_an_answer_is_never_repeated_whatever_the_plugin_says() {
        for kind in [
            ErrorKind::Unavailable,
            ErrorKind::RateLimited(None),
            ErrorKind::Unauthorized,
            ErrorKind::InvalidInput(vec![]),
            ErrorKind::Unexpected,
        ] {
            assert!(matches!(
                plugin(kind, true, true, None),
                Verdict::Unconfirmed(_)
            ));
        }
    }

    #[test]
    fn a_plugin_that_dies_after_sending_leaves_the_outcome_open() {
        for kind in [
            SandboxErrorKind::Trap,
            SandboxErrorKind::Timeout,
            SandboxErrorKind::OutOfMemory,
        ] {
            assert!(matches!(sandbox(kind, true), Verdict::Unconfirmed(_)));
            assert!(may_repeat(&sandbox(kind, false)));
        }
    }

    #[test]
    fn an_unknown_word_repeats_only_after_a_clear_refusal() {
        assert!(matches!(
            plugin(ErrorKind::Unexpected, true, false, Some(200)),
            Verdict::Unconfirmed(_)
        ));
        assert!(matches!(
            plugin(ErrorKind::Unexpected, true, false, Some(500)),
            Verdict::Unconfirmed(_)
        ));
        assert!(may_repeat(&plugin(
            ErrorKind::Unexpected,
            true,
            false,
            Some(418)
        )));
        assert!(may_repeat(&plugin(
            ErrorKind::Other("new".to_owned()),
            false,
            false,
            None
        )));
    }

    #[test]
    fn unavailable_is_believed_only_where_the_answer_rules_acceptance_out() {
        let verdict = |status| plugin(ErrorKind::Unavailable, true, false, status);
        for status in [200, 202, 302, 500, 502, 504, 520] {
            assert!(
                matches!(verdict(Some(status)), Verdict::Unconfirmed(_)),
                "{status}"
            );
        }
        assert!(matches!(verdict(None), Verdict::Unconfirmed(_)));
        for status in [408, 409, 425, 429, 503] {
            assert!(may_repeat(&verdict(Some(status))), "{status}");
        }
        assert!(may_repeat(&plugin(
            ErrorKind::Unavailable,
            false,
            false,
            None
        )));
    }

    #[test]
    fn what_is_at_fault_in_the_request_stops() {
        for kind in [ErrorKind::InvalidInput(vec![]), ErrorKind::ContentRejected] {
            assert!(matches!(
                plugin(kind, true, false, Some(400)),
                Verdict::Refused(_, Then::Stop)
            ));
        }
    }

    #[test]
    fn waits_follow_the_seeds_numbers_and_the_vendors_word() {
        let base = Duration::from_secs(5);
        let seconds = |tries, vendor| backoff(base, tries, vendor, 0.5).as_secs();
        assert_eq!(
            [seconds(1, None), seconds(2, None), seconds(3, None)],
            [5, 10, 20]
        );
        assert_eq!(seconds(1, Some(Duration::from_secs(30))), 30);
        assert_eq!(poll_interval(1_000, 3_000, 0, None), Duration::from_secs(1));
        assert_eq!(poll_interval(1_000, 3_000, 9, None), Duration::from_secs(3));
        // As closely as the vendor says, within bounds; a task that takes long is in no hurry.
        let at_once = |polls| poll_interval(1_000, 3_000, polls, Some(Duration::ZERO));
        assert_eq!(at_once(99), Duration::from_millis(10));
        assert_eq!(at_once(100), Duration::from_millis(100));
        assert_eq!(poll_interval(10, 10, 0, None), Duration::from_millis(10));
        assert_eq!(poll_interval(10, 10, 100, None), Duration::from_millis(100));
    }
}
