//! Tokens that let somebody without an account watch one job: sealed, so that nothing is stored and
//! any node reads them, and over after hours at most, since none can be withdrawn.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::sessions::{Error, Sessions};
use crate::{
    ids::{JobId, UserId},
    input::Problems,
    time::{self, Timestamp},
    vault::{self, Vault},
};

/// How they begin.
pub const PREFIX: &str = "gv_job_";
/// How long one lasts that nobody says more of.
pub const USUAL: Duration = Duration::from_secs(3_600);
/// How long one lasts at most.
pub const MOST: Duration = Duration::from_secs(86_400);
/// Longest token that is looked at, in bytes.
const LONGEST: usize = 256;
const PURPOSE: &str = "job token";
const UUID: usize = 16;

/// What a token lets somebody see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// Whose job.
    pub owner: UserId,
    /// Which one.
    pub job: JobId,
    /// Until when.
    pub until: Timestamp,
}

/// Makes and reads them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct JobTokens {
    vault: Vault,
}

impl JobTokens {
    /// Sealed by this vault: with another key, those of before are read as long as it is given.
    #[must_use]
    pub fn new(vault: Vault) -> Self {
        Self { vault }
    }

    /// A token.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn issue(&self, watch: &Watch) -> Result<String, vault::Error> {
        let mut plain = Vec::with_capacity(UUID * 2 + 8);
        plain.extend_from_slice(watch.owner.uuid().as_bytes());
        plain.extend_from_slice(watch.job.uuid().as_bytes());
        plain.extend_from_slice(&watch.until.millis().to_be_bytes());
        let sealed = self.vault.seal(PURPOSE, &plain)?;
        Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// What a token is for, unless it is over or none of ours.
    #[must_use]
    pub fn read(&self, token: &str) -> Option<Watch> {
        let sealed = token.strip_prefix(PREFIX)?;
        let sealed = URL_SAFE_NO_PAD
            .decode(sealed)
            .ok()
            .filter(|_| token.len() <= LONGEST)?;
        let plain = self.vault.open(PURPOSE, &sealed).ok()?;
        let (owner, rest) = plain.split_first_chunk::<UUID>()?;
        let (job, until) = rest.split_first_chunk::<UUID>()?;
        let watch = Watch {
            owner: UserId::from_uuid(Uuid::from_bytes(*owner)),
            job: JobId::from_uuid(Uuid::from_bytes(*job)),
            until: Timestamp::from_millis(i64::from_be_bytes(until.try_into().ok()?)),
        };
        (watch.until > time::now()).then_some(watch)
    }
}

impl Sessions {
    /// A token that lets whoever has it look at one job of this owner's, and when it is over.
    ///
    /// # Errors
    /// `Invalid` for the time.
    pub fn job_token(
        &self,
        owner: UserId,
        job: JobId,
        minutes: Option<i32>,
    ) -> Result<(String, Timestamp), Error> {
        let most = MOST.as_secs() / 60;
        let mut problems = Problems::default();
        let life = match minutes.map(u64::try_from) {
            None => USUAL,
            Some(Ok(minutes)) if (1..=most).contains(&minutes) => Duration::from_secs(minutes * 60),
            Some(_) => {
                problems.add("minutes", format!("must be 1 to {most}"));
                Duration::ZERO
            }
        };
        problems.into_result().map_err(Error::Invalid)?;
        let until = time::now().after(life);
        let token = self.job_tokens.issue(&Watch { owner, job, until });
        Ok((token.map_err(|error| Error::Failed(error.into()))?, until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_issued_is_read_and_only_for_its_time() {
        let tokens = JobTokens::new(Vault::new(&[1; 32], &[]));
        let watch = Watch {
            owner: UserId::generate(),
            job: JobId::generate(),
            until: time::now().after(USUAL),
        };
        // To the millisecond, as it is written.
        let watch = Watch {
            until: Timestamp::from_millis(watch.until.millis()),
            ..watch
        };
        let token = tokens.issue(&watch).expect("a token");
        assert_eq!(tokens.read(&token), Some(watch));
        let over = Watch {
            until: time::now(),
            ..watch
        };
        assert_eq!(tokens.read(&tokens.issue(&over).expect("a token")), None);
        let other = JobTokens::new(Vault::new(&[2; 32], &[]));
        assert_eq!(other.read(&token), None);
        let both = JobTokens::new(Vault::new(&[2; 32], &[[1; 32]]));
        assert_eq!(both.read(&token), Some(watch));
        // What the same key has sealed for something else is no token.
        let sealed = Vault::new(&[1; 32], &[]).seal("google sign-in", &[0; 40]);
        let sealed = URL_SAFE_NO_PAD.encode(sealed.expect("sealed"));
        assert_eq!(tokens.read(&format!("{PREFIX}{sealed}")), None);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("text");
            let read = tokens.read(&changed);
            // The last character has bits that stand for nothing.
            assert!(read.is_none() || at + 1 == token.len(), "at {at}");
        }
    }
}
