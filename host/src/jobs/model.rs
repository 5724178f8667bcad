//! What a job is: its kinds, states and rows. Pure data; nothing here does I/O.

use genvid_media::subtitles::Word;
use serde::{Deserialize, Serialize};

use crate::{
    billing::StepQuote,
    ids::{AttemptId, JobId, MediaId, ProjectId, StepId, UserId},
    time::Timestamp,
};

/// Declares an enum whose text form is stored and shown: SCREAMING_SNAKE_CASE, stable.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$case_doc:meta])* $case:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$case_doc])* #[serde(rename = $word)] $case),+ }

        impl $name {
            /// Every case, in order.
            pub const ALL: &'static [Self] = &[$(Self::$case),+];

            /// The stored word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$case => $word),+ }
            }

            /// From the stored word.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$case),)+ _ => None }
            }
        }
    };
}

pub(crate) use words;

words!(
    /// What a job makes.
    JobKind {
        /// A script.
        Script = "SCRIPT",
        /// A voice track.
        Voice = "VOICE",
        /// A film.
        Video = "VIDEO",
    }
);

words!(
    /// Where a job stands.
    JobStatus {
        /// Accepted, not begun.
        Queued = "QUEUED",
        /// Being worked on.
        Running = "RUNNING",
        /// Done; its media are there.
        Succeeded = "SUCCEEDED",
        /// Ended without a result; `error` says why.
        Failed = "FAILED",
        /// Stopped by its owner.
        Canceled = "CANCELED",
        /// A vendor may have accepted a paid call whose answer was lost, and nothing that
        /// the host may do settles it: somebody has to decide.
        Unconfirmed = "UNCONFIRMED",
    }
);

impl JobStatus {
    /// No further change without somebody asking for it.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

words!(
    /// The nodes of a plan, in the order in which they run.
    StepKind {
        /// Write the script.
        Script = "SCRIPT",
        /// Speak it.
        Voice = "VOICE",
        /// Make the film.
        Video = "VIDEO",
        /// Put voice, subtitles and ratio together.
        Compose = "COMPOSE",
        /// Take a still picture.
        Thumbnail = "THUMBNAIL",
        /// Publish the result.
        Deliver = "DELIVER",
    }
);

impl StepKind {
    /// Is it done by a provider, for money?
    #[must_use]
    pub fn is_paid(self) -> bool {
        matches!(self, Self::Script | Self::Voice | Self::Video)
    }
}

words!(
    /// Where a step stands. See `ARCHITECTURE.md` for the arrows between them.
    StepStatus {
        /// Waits for its turn, for a slot, or for its next try.
        Pending = "PENDING",
        /// The intent is written; the provider is being called.
        Submitting = "SUBMITTING",
        /// The provider works on it.
        Running = "RUNNING",
        /// The provider is done; the media are being fetched.
        Storing = "STORING",
        /// Done.
        Succeeded = "SUCCEEDED",
        /// Ended without a result.
        Failed = "FAILED",
        /// Stopped.
        Canceled = "CANCELED",
        /// The provider may have accepted it; being looked up, or parked.
        Unconfirmed = "UNCONFIRMED",
    }
);

words!(
    /// Where an attempt stands.
    AttemptStatus {
        /// The intent is written; no answer yet.
        Submitting = "SUBMITTING",
        /// The vendor has it.
        Accepted = "ACCEPTED",
        /// The vendor delivered.
        Succeeded = "SUCCEEDED",
        /// Refused, or ended without a result.
        Failed = "FAILED",
        /// The vendor stopped it.
        Canceled = "CANCELED",
        /// The vendor may have it.
        Unconfirmed = "UNCONFIRMED",
        /// Given up by a person's decision while its outcome was unknown.
        Abandoned = "ABANDONED",
    }
);

impl AttemptStatus {
    /// Did the provider do its part? Nothing when that cannot be said (yet), or when the
    /// request was at fault.
    #[must_use]
    pub fn worked(self, error: Option<&Failure>) -> Option<bool> {
        match (self, error.map(|error| error.code)) {
            (Self::Succeeded, _) => Some(true),
            (Self::Unconfirmed, _) => Some(false),
            (Self::Failed, Some(FailureCode::InvalidInput | FailureCode::ContentRejected)) => None,
            (Self::Failed, _) => Some(false),
            (Self::Submitting | Self::Accepted | Self::Canceled | Self::Abandoned, _) => None,
        }
    }
}

words!(
    /// Does the vendor bill this attempt?
    Charge {
        /// Yes.
        Charged = "CHARGED",
        /// No.
        NotCharged = "NOT_CHARGED",
        /// Not known (yet).
        Unknown = "UNKNOWN",
    }
);

words!(
    /// What an event tells.
    EventType {
        /// Accepted.
        JobQueued = "JOB_QUEUED",
        /// Work began.
        JobStarted = "JOB_STARTED",
        /// A step began.
        StepStarted = "STEP_STARTED",
        /// A provider is about to be called.
        AttemptStarted = "ATTEMPT_STARTED",
        /// The provider accepted.
        AttemptAccepted = "ATTEMPT_ACCEPTED",
        /// The provider did not accept, or ended without a result.
        AttemptFailed = "ATTEMPT_FAILED",
        /// The provider said how far it is.
        StepProgress = "STEP_PROGRESS",
        /// More text of the script that is being written, in `textDelta`.
        TextDelta = "TEXT_DELTA",
        /// The step will be tried again later.
        StepRetrying = "STEP_RETRYING",
        /// The step goes to another provider.
        StepFailedOver = "STEP_FAILED_OVER",
        /// The outcome of a paid call is unknown and is being looked up.
        StepUnconfirmed = "STEP_UNCONFIRMED",
        /// The result is being stored.
        StepStoring = "STEP_STORING",
        /// The same was bought before: its result is taken over, and nothing is bought.
        StepReused = "STEP_REUSED",
        /// The step is done.
        StepSucceeded = "STEP_SUCCEEDED",
        /// The step ended without a result.
        StepFailed = "STEP_FAILED",
        /// Somebody asked to stop.
        CancelRequested = "CANCEL_REQUESTED",
        /// Somebody asked to go on after a failure.
        JobRetried = "JOB_RETRIED",
        /// Done.
        JobSucceeded = "JOB_SUCCEEDED",
        /// Ended without a result.
        JobFailed = "JOB_FAILED",
        /// Stopped.
        JobCanceled = "JOB_CANCELED",
        /// Parked until somebody decides.
        JobUnconfirmed = "JOB_UNCONFIRMED",
    }
);

impl EventType {
    /// Does the log rest after this one?
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::JobSucceeded | Self::JobFailed | Self::JobCanceled
        )
    }
}

words!(
    /// Shape of the picture.
    Aspect {
        /// 9:16
        Portrait = "PORTRAIT",
        /// 1:1
        Square = "SQUARE",
        /// 16:9
        Landscape = "LANDSCAPE",
    }
);

words!(
    /// What becomes of the subtitles.
    SubtitleMode {
        /// No subtitles.
        None = "NONE",
        /// Drawn into the picture, and kept as a file too.
        Burned = "BURNED",
        /// A file beside the film.
        Sidecar = "SIDECAR",
    }
);

words!(
    /// Why a job ended without a result. Part of the public list of error codes.
    FailureCode {
        /// The provider does not take this request.
        InvalidInput = "INVALID_INPUT",
        /// The provider's moderation refused the content.
        ContentRejected = "CONTENT_REJECTED",
        /// No provider could be used now.
        ProviderUnavailable = "PROVIDER_UNAVAILABLE",
        /// The provider accepted, worked and gave up.
        ProviderRejected = "PROVIDER_REJECTED",
        /// The provider's account or credentials do not allow it.
        ProviderMisconfigured = "PROVIDER_MISCONFIGURED",
        /// A paid call's outcome is unknown.
        Unconfirmed = "UNCONFIRMED",
        /// The result could not be fetched, or is not what it claims to be.
        MediaFailed = "MEDIA_FAILED",
        /// The project's budget does not allow another paid call.
        BudgetExceeded = "BUDGET_EXCEEDED",
        /// The job's deadline passed.
        DeadlineExceeded = "DEADLINE_EXCEEDED",
        /// A fault of this server.
        Internal = "INTERNAL",
    }
);

/// Why a job, step or attempt ended without a result, in words that its owner may read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The class.
    pub code: FailureCode,
    /// Plain words; no vendor text that could hold secrets.
    pub message: String,
    /// May the same job succeed if it is tried again?
    pub retryable: bool,
    /// The field of the request that is at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The vendor's own code, for support requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_code: Option<String>,
}

impl Failure {
    /// With a class and words.
    #[must_use]
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        let retryable = match code {
            FailureCode::ProviderUnavailable
            | FailureCode::ProviderMisconfigured
            | FailureCode::ProviderRejected
            | FailureCode::MediaFailed
            | FailureCode::BudgetExceeded
            | FailureCode::DeadlineExceeded
            | FailureCode::Internal => true,
            FailureCode::InvalidInput | FailureCode::ContentRejected | FailureCode::Unconfirmed => {
                false
            }
        };
        Self {
            code,
            message: message.into(),
            retryable,
            field: None,
            vendor_code: None,
        }
    }
}

/// A file that a step left in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Its row.
    pub id: MediaId,
    /// Where it is in the blob store.
    pub key: String,
    /// Media type.
    pub mime: String,
    /// In bytes.
    pub size: u64,
    /// Lower-case hex.
    pub sha256: String,
    /// Playing time in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Picture width in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Picture height in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
}

/// One scene of a script.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    /// What is spoken.
    pub narration: String,
    /// What is seen.
    #[serde(default)]
    pub visual: String,
    /// Wished length in seconds.
    #[serde(default)]
    pub seconds: f64,
}

/// A script, as written or as given.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ScriptDocument {
    /// Working title.
    #[serde(default)]
    pub title: String,
    /// First sentence, meant to stop the thumb.
    #[serde(default)]
    pub hook: String,
    /// The body.
    #[serde(default)]
    pub scenes: Vec<Scene>,
    /// Last sentence: what the viewer should do.
    #[serde(default)]
    pub call_to_action: String,
    /// Everything that is spoken, in order.
    #[serde(default)]
    pub text: String,
}

impl ScriptDocument {
    /// From plain text that a user gave.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self {
            text: text.trim().to_owned(),
            ..Self::default()
        }
    }

    /// Puts the spoken parts together in `text`. Writers repeat the hook and the call to action
    /// within the scenes as often as not; nobody should hear them twice.
    #[must_use]
    pub fn with_spoken_text(mut self) -> Self {
        let narration: Vec<&str> = self
            .scenes
            .iter()
            .map(|scene| scene.narration.trim())
            .filter(|text| !text.is_empty())
            .collect();
        let narration = narration.join(" ");
        let mut parts = Vec::with_capacity(3);
        if !narration.starts_with(self.hook.trim()) {
            parts.push(self.hook.trim());
        }
        parts.push(&narration);
        if !narration.ends_with(self.call_to_action.trim()) {
            parts.push(self.call_to_action.trim());
        }
        self.text = parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        self
    }

    /// What is seen, for providers that paint from words.
    #[must_use]
    pub fn visual_prompt(&self) -> Option<String> {
        let visuals: Vec<&str> = self
            .scenes
            .iter()
            .map(|scene| scene.visual.trim())
            .filter(|text| !text.is_empty())
            .collect();
        (!visuals.is_empty()).then(|| visuals.join(". "))
    }
}

/// What a finished step left. Stored as JSON; yesterday's rows must still decode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StepOutput {
    /// Of `Script`.
    Script {
        /// The script.
        script: ScriptDocument,
    },
    /// Of `Voice`.
    Voice {
        /// The track.
        audio: StoredFile,
        /// When each word is spoken, if the provider said.
        words: Option<Vec<Word>>,
    },
    /// Of `Video`.
    Video {
        /// The film as the provider made it.
        film: StoredFile,
        /// Its subtitles, if the provider made any.
        subtitles: Option<StoredFile>,
        /// Is the spoken text heard in the film?
        voiced: bool,
        /// Does the film play in browsers as it is? If nobody looked, it counts as one that
        /// does not.
        #[serde(default)]
        plays: bool,
    },
    /// Of `Compose`.
    Compose {
        /// The film to publish.
        film: StoredFile,
        /// Subtitles as a file.
        subtitles: Option<StoredFile>,
    },
    /// Of `Thumbnail`.
    Thumbnail {
        /// The still picture.
        picture: StoredFile,
    },
    /// Of `Deliver`.
    Deliver,
}

/// A job's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its identifier.
    pub id: JobId,
    /// Who asked.
    pub owner: UserId,
    /// For which project.
    pub project: Option<ProjectId>,
    /// What it makes.
    pub kind: JobKind,
    /// Where it stands.
    pub status: JobStatus,
    /// What was asked.
    pub input: super::input::JobInput,
    /// Why it ended without a result.
    pub error: Option<Failure>,
    /// Somebody asked to stop.
    pub cancel_requested: bool,
    /// Sequence number of its last event.
    pub last_seq: i64,
    /// When it has to be done.
    pub deadline: Timestamp,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it came to rest.
    pub completed_at: Option<Timestamp>,
}

/// A step whose result another one took over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSource {
    /// Its job.
    pub job: JobId,
    /// Itself.
    pub step: StepId,
}

/// A step's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its identifier.
    pub id: StepId,
    /// The job that it belongs to.
    pub job: JobId,
    /// Place in the plan, from 0.
    pub position: i64,
    /// What it does.
    pub kind: StepKind,
    /// Where it stands.
    pub status: StepStatus,
    /// The provider that has it, or had it last.
    pub provider: Option<String>,
    /// What the vendor said, 0.0 to 1.0.
    pub progress: Option<f64>,
    /// What it left.
    pub output: Option<StepOutput>,
    /// Why it ended without a result.
    pub error: Option<Failure>,
    /// Tries of the current round and provider; a person's retry begins a new round.
    pub round: i64,
    /// What it may cost at each provider, if it is paid; nothing for one that is older than
    /// credits.
    pub quote: Option<StepQuote>,
    /// SHA-256 of what was asked for, if it may be taken over or is to be waited for.
    pub reuse_key: Option<Vec<u8>>,
    /// Whose result it took over instead of buying one.
    pub reused_from: Option<StepSource>,
    /// When a worker should look at it; nothing when there is nothing to do.
    pub due_at: Option<Timestamp>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

/// An attempt's row. Never deleted, never overwritten by another attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Its identifier; its text is the client reference.
    pub id: AttemptId,
    /// The step that it tries.
    pub step: StepId,
    /// The job.
    pub job: JobId,
    /// 1, 2, 3 … within the step.
    pub number: i64,
    /// The step's round that it belongs to.
    pub round: i64,
    /// Which provider.
    pub provider: String,
    /// The plugin's version.
    pub plugin_version: String,
    /// SHA-256 of the plugin's component.
    pub plugin_digest: String,
    /// The model that was asked for, or the usual one; nothing where there are none, and for
    /// attempts that are older than this field.
    pub model: Option<String>,
    /// Where it stands.
    pub status: AttemptStatus,
    /// Does it count as a try? Not when all of the vendor's slots were taken.
    pub counts: bool,
    /// Is it billed?
    pub charge: Charge,
    /// The vendor's task.
    pub vendor_task: Option<String>,
    /// The request as the plugin got it, for look-ups.
    pub request: serde_json::Value,
    /// What the vendor delivered, as the plugin told it, until it is stored.
    pub delivered: Option<serde_json::Value>,
    /// Why it ended without a result.
    pub error: Option<Failure>,
    /// Cost in millionths of a US dollar.
    pub cost_micro_usd: Option<i64>,
    /// Credits that it costs the owner at most.
    pub max_credits: i64,
    /// Credits that it costs the owner, once it is charged.
    pub credits: i64,
    /// When the intent was written.
    pub submitted_at: Timestamp,
    /// When the vendor accepted.
    pub accepted_at: Option<Timestamp>,
    /// Since when its outcome is unknown.
    pub uncertain_at: Option<Timestamp>,
    /// When it came to rest.
    pub finished_at: Option<Timestamp>,
}

/// An event to append.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// What it tells.
    pub event: EventType,
    /// About which step.
    pub step: Option<StepKind>,
    /// What the vendor said, 0.0 to 1.0.
    pub progress: Option<f64>,
    /// Plain words.
    pub message: Option<String>,
    /// With `TextDelta`: more text.
    pub text_delta: Option<String>,
}

impl NewEvent {
    /// About the whole job.
    #[must_use]
    pub fn job(event: EventType) -> Self {
        Self {
            event,
            step: None,
            progress: None,
            message: None,
            text_delta: None,
        }
    }

    /// About a step.
    #[must_use]
    pub fn step(event: EventType, step: StepKind) -> Self {
        Self {
            step: Some(step),
            ..Self::job(event)
        }
    }

    /// With words.
    #[must_use]
    pub fn saying(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }
}

/// An event of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// 1, 2, 3 … among all events of the owner, without a gap.
    pub position: i64,
    /// The job.
    pub job: JobId,
    /// Its owner.
    pub owner: UserId,
    /// 1, 2, 3 … within the job, without a gap.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub body: NewEvent,
}
