//! Words of the schema, each tied to the domain's own.

use async_graphql::Enum;
use genvid_runtime::manifest;

use crate::{
    accounts,
    jobs::{model, store},
    providers,
};

/// What a user may do.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "accounts::Role")]
pub(super) enum Role {
    /// Own projects and jobs.
    User,
    /// The same, for those who make provider plugins: installing them is the operator's.
    Partner,
    /// Everything.
    Admin,
    /// A program of the operator's: looks at what admins look at, also with an API key, and
    /// changes nothing of it.
    Service,
}

/// With what somebody signs in.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "accounts::google::SignInMethod")]
pub(super) enum SignInMethod {
    /// A password.
    Password,
    /// A Google account.
    Google,
}

/// What a job makes.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "model::JobKind")]
pub(super) enum JobKind {
    /// A script.
    Script,
    /// A voice track.
    Voice,
    /// A video.
    Video,
}

/// Where a job stands. `SUCCEEDED`, `FAILED` and `CANCELED` are final, except that a failed
/// job may be retried.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "model::JobStatus")]
pub(super) enum JobStatus {
    /// Accepted and safe; not begun.
    Queued,
    /// Being worked on.
    Running,
    /// Done: the results are there.
    Succeeded,
    /// Ended without a result; `error` says why.
    Failed,
    /// Stopped by its owner.
    Canceled,
    /// A provider may have accepted a paid call whose answer was lost, and nothing that the
    /// server may do settles it. Waits for `retryJob` or `cancelJob`.
    Unconfirmed,
}

/// Why links to a job's files are given out no more.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "store::WithdrawalReason")]
pub(super) enum FilesWithdrawnReason {
    /// Its project was deleted. The files are removed after the operator's time for deleted
    /// projects.
    ProjectDeleted,
    /// It failed or was canceled, and the operator's time for such files is over. They are
    /// removed; the job cannot be retried any more.
    Retention,
}

/// What a step of a job does. `Job.steps` has those that the job needs, in the order in which
/// they run.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "model::StepKind")]
pub(super) enum StepKind {
    /// A provider writes the script.
    Script,
    /// A provider speaks it.
    Voice,
    /// A provider makes the film.
    Video,
    /// This server puts film, voice, subtitles and ratio together.
    Compose,
    /// This server takes a still picture.
    Thumbnail,
    /// This server publishes the results.
    Deliver,
}

/// Where a step stands.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "model::StepStatus")]
pub(super) enum StepStatus {
    /// Waits for its turn, for a free slot at the provider, or for its next try.
    Pending,
    /// The provider is being called.
    Submitting,
    /// The provider, or this server, works on it.
    Running,
    /// The provider is done; the result is being fetched.
    Storing,
    /// Done.
    Succeeded,
    /// Ended without a result.
    Failed,
    /// Stopped.
    Canceled,
    /// The provider may have accepted it; the outcome is being looked up, or waits for a
    /// decision.
    Unconfirmed,
}

/// Where an attempt stands.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "model::AttemptStatus")]
pub(super) enum AttemptStatus {
    /// About to be sent, or sent without an answer yet.
    Submitting,
    /// The provider has it.
    Accepted,
    /// The provider delivered.
    Succeeded,
    /// Refused, or ended without a result.
    Failed,
    /// Stopped by the provider.
    Canceled,
    /// The provider may have it: the answer was lost.
    Unconfirmed,
    /// Given up by its owner's decision while the outcome was unknown.
    Abandoned,
}

/// Does the provider bill an attempt?
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "model::Charge")]
pub(super) enum Charge {
    /// Yes.
    Charged,
    /// No.
    NotCharged,
    /// Not known, or not known yet.
    Unknown,
}

/// What an event tells.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "JobEventType", remote = "model::EventType")]
pub(super) enum JobEventType {
    /// The job is accepted.
    JobQueued,
    /// Work on it began.
    JobStarted,
    /// A step began.
    StepStarted,
    /// A provider is about to be called.
    AttemptStarted,
    /// The provider accepted.
    AttemptAccepted,
    /// The provider did not accept, or ended without a result.
    AttemptFailed,
    /// How far the step is, in `progress`.
    StepProgress,
    /// More text of the script that is being written, in `textDelta`.
    TextDelta,
    /// The step will be tried again later.
    StepRetrying,
    /// The step goes to another provider.
    StepFailedOver,
    /// The outcome of a paid call is unknown and is being looked up.
    StepUnconfirmed,
    /// The result is being stored.
    StepStoring,
    /// The same was bought before: its result is taken over, and nothing is bought.
    StepReused,
    /// The step is done.
    StepSucceeded,
    /// The step ended without a result.
    StepFailed,
    /// The owner asked to stop.
    CancelRequested,
    /// The owner asked to go on after a failure.
    JobRetried,
    /// The job is done. Final.
    JobSucceeded,
    /// The job ended without a result. Final, unless the owner retries.
    JobFailed,
    /// The job was stopped. Final.
    JobCanceled,
    /// The job is parked until its owner decides.
    JobUnconfirmed,
}

/// Why a job, a step or an attempt ended without a result. Each is explained in
/// `graphql/ERRORS.md`.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "model::FailureCode")]
pub(super) enum FailureCode {
    /// The provider does not take this request; `field` may say which part.
    InvalidInput,
    /// The provider's moderation refused the content.
    ContentRejected,
    /// No provider could be used.
    ProviderUnavailable,
    /// The provider accepted, worked on it and gave up.
    ProviderRejected,
    /// The provider refuses the operator's account or key.
    ProviderMisconfigured,
    /// The outcome of a paid call is unknown.
    Unconfirmed,
    /// The result could not be fetched, or is damaged.
    MediaFailed,
    /// The project's budget was lowered, and does not allow another paid call.
    BudgetExceeded,
    /// It was not done in time.
    DeadlineExceeded,
    /// A fault of this server.
    Internal,
}

/// Shape of the picture.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "model::Aspect")]
pub(super) enum Aspect {
    /// 9:16
    Portrait,
    /// 1:1
    Square,
    /// 16:9
    Landscape,
}

impl From<manifest::Aspect> for Aspect {
    fn from(aspect: manifest::Aspect) -> Self {
        match aspect {
            manifest::Aspect::Portrait => Self::Portrait,
            manifest::Aspect::Square => Self::Square,
            manifest::Aspect::Landscape => Self::Landscape,
        }
    }
}

/// What becomes of the subtitles.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "model::SubtitleMode")]
pub(super) enum SubtitleMode {
    /// There are none.
    None,
    /// Drawn into the picture, and a file beside it.
    Burned,
    /// A file beside the video, `Job.subtitlesUrl`.
    Sidecar,
}

/// What a provider makes.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "providers::Kind")]
pub(super) enum ProviderKind {
    /// Scripts.
    Script,
    /// Voice tracks.
    Voice,
    /// Videos.
    Video,
}

impl ProviderKind {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Script, Self::Voice, Self::Video];
}

/// Why a provider is not tried first, or not at all.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "providers::Code")]
pub(super) enum RuledOutCode {
    /// Another one was asked for.
    NotAskedFor,
    /// The request excludes it.
    Excluded,
    /// The API key that asked may not use it.
    NotAllowed,
    /// It cannot be used on this server.
    Disabled,
    /// It does not offer the language.
    Language,
    /// The text is too long for it.
    TextLength,
    /// It does not offer the shape of the picture.
    Aspect,
    /// It neither speaks itself nor takes what is spoken.
    Speech,
    /// It needs a picture.
    Images,
    /// It would cost more than was quoted.
    BeyondQuote,
    /// It failed lately and is left alone for now; tried later.
    LeftAlone,
    /// Something of another one's catalogue was chosen; tried later.
    NotChosen,
    /// It costs more; tried later.
    Dearer,
    /// It takes longer; tried later.
    Slower,
    /// It fails more often; tried later.
    LessReliable,
    /// The server's order has others first; tried later.
    Order,
}

/// Whether a provider is called.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "providers::CircuitState")]
pub(super) enum HealthState {
    /// It is.
    Closed,
    /// One call finds out whether it works again; others wait, or go to other providers.
    HalfOpen,
    /// It is left alone for a while, because it failed.
    Open,
}

/// What a video provider can take as the film's sound.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "manifest::Speech")]
pub(super) enum SpeechSource {
    /// Text that the provider speaks itself.
    Script,
    /// A finished voice track.
    Audio,
    /// Nothing: a silent film, which this server puts a voice track over.
    Silent,
}

/// Whether a request needs an avatar.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "manifest::Need")]
pub(super) enum AvatarNeed {
    /// Always. When the request names none, this server takes one that suits the aspect.
    Required,
    /// It may have one.
    Optional,
    /// The provider has no avatars.
    Unsupported,
}

/// What a price counts.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "manifest::Unit")]
pub(super) enum PriceUnit {
    /// A second of the result.
    Second,
    /// A character of the text.
    Character,
    /// One request.
    Call,
    /// A token of a language model.
    Token,
}
