//! Keeps mail in the database, for development: nothing leaves this machine.

use async_trait::async_trait;

use crate::{
    adapters::sql::Database,
    mail::{Letter, Mail, SendError, Setback},
    time,
};

/// Keeps what it is given, each letter once.
pub struct Mailbox {
    database: Database,
}

impl Mailbox {
    /// In this database.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self {
            database: database.for_worker(),
        }
    }
}

#[async_trait]
impl Mail for Mailbox {
    async fn send(&self, letter: &Letter) -> Result<Option<String>, SendError> {
        let kept = self.database.keep_mail(letter.clone(), time::now()).await;
        kept.map(|()| Some(letter.id.to_string()))
            .map_err(|error| SendError {
                setback: Setback::Later(None),
                status: None,
                words: error.to_string(),
            })
    }
}
