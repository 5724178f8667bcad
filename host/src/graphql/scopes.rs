//! What an API key needs for each field of the roots. Fields that are not here are public, or not for
//! API keys at all; the walk over the schema (`walk.rs`) knows them, so that a new one is decided on.

use crate::accounts::keys::Scope;

/// What a key needs to ask for a field.
pub(super) fn of(field: &str) -> Option<Scope> {
    Some(match field {
        "administrativeActs" | "openAttempts" | "providerSecrets" | "users" | "batch"
        | "batches" | "createJobToken" | "creditLedger" | "job" | "jobEvents" | "jobs" | "me"
        | "myJobEvents" | "node" | "project" | "projects" | "avatars" | "voices"
        | "jobWebhookSecret" | "webhookEndpoint" | "webhookEndpoints" => Scope::Read,
        "completeUpload" | "createProject" | "createUpload" | "deleteProject" | "updateProject" => {
            Scope::Projects
        }
        "cancelBatch" | "cancelJob" | "editCaptions" | "generateScript" | "generateVideo"
        | "generateVideos" | "generateVoice" | "quoteScript" | "quoteVideo" | "quoteVideos"
        | "quoteVoice" => Scope::Generate,
        "createWebhookEndpoint"
        | "deleteWebhookEndpoint"
        | "redeliverWebhook"
        | "rotateWebhookSecret"
        | "sendTestWebhook"
        | "updateWebhookEndpoint" => Scope::Webhooks,
        "createCheckout" | "createPortalSession" => Scope::Billing,
        _ => return None,
    })
}
