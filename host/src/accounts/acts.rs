//! What administrators did: each act with who, when and to what, written down in its transaction.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Service;
use crate::{
    adapters::sql,
    ids::ActId,
    jobs::{model::words, store::Page},
    time::Timestamp,
};

/// Who acts when a node does it by itself.
pub const NODE: &str = "genvid";
/// Who acts on the command line.
pub const OPERATOR: &str = "operator";

words!(
    /// What was done.
    ActKind {
        /// Credits were given.
        GrantCredits = "GRANT_CREDITS",
        /// Credits were corrected.
        AdjustCredits = "ADJUST_CREDITS",
        /// A call whose outcome nobody knew was settled.
        SettleAttempt = "SETTLE_ATTEMPT",
        /// A user got another role.
        SetRole = "SET_ROLE",
        /// A user was put on a plan.
        SetPlan = "SET_PLAN",
        /// A key that signs access tokens was made.
        AddSigningKey = "ADD_SIGNING_KEY",
        /// A key that signed access tokens was withdrawn.
        RevokeSigningKey = "REVOKE_SIGNING_KEY",
        /// A version of a plugin was installed.
        InstallPlugin = "INSTALL_PLUGIN",
        /// Another version of a plugin was made the active one.
        UsePlugin = "USE_PLUGIN",
        /// A version of a plugin was removed.
        RemovePlugin = "REMOVE_PLUGIN",
        /// A provider was set up for every node.
        SetProvider = "SET_PROVIDER",
        /// What was set for a provider was forgotten.
        ResetProvider = "RESET_PROVIDER",
        /// A vendor's credential was set for every node, or forgotten.
        SetProviderSecret = "SET_PROVIDER_SECRET",
        /// Secrets were sealed with another encryption key.
        Reseal = "RESEAL",
    }
);

/// How many secrets got another seal.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Keys that sign access tokens.
    pub signing_keys: u64,
    /// Webhook endpoints.
    pub webhook_endpoints: u64,
    /// Credentials of providers.
    pub provider_secrets: u64,
}

/// An act as it is written down.
#[derive(Debug, Clone, PartialEq)]
pub struct Act {
    /// Its identifier.
    pub id: ActId,
    /// When.
    pub at: Timestamp,
    /// Who: a user's id, or what did it on the command line.
    pub actor: String,
    /// What.
    pub kind: ActKind,
    /// To what: an id, or a name.
    pub subject: String,
    /// The rest, by name. Never a secret.
    pub details: Value,
}

impl Service {
    /// What administrators did, newest first, behind (before) one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn acts(&self, after: Option<ActId>, first: u32) -> Result<Page<Act>, sql::Error> {
        self.database.list_acts(after, first).await
    }
}
