//! Passwords: hashed with argon2id, off the threads that answer, a few at a time.

use std::{sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use rand::Rng as _;
use tokio::sync::Semaphore;

use crate::input::Problems;

/// Fewest characters (NIST SP 800-63B asks for 8 at least).
const SHORTEST: usize = 8;
/// Most bytes.
const LONGEST: usize = 256;
/// Longest wait for a turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// Words that everybody tries first, as they are and with what is put behind them.
const COMMON: &[&str] = &[
    "password", "passw0rd", "12345678", "qwertyui", "qwerty", "iloveyou", "11111111", "abc12345",
    "letmein", "welcome", "sunshine", "football", "baseball", "princess", "trustno1", "admin",
    "changeme", "superman", "1q2w3e4r", "asdfghjk", "1qaz2wsx", "zxcvbnm", "monkey", "dragon",
];

/// What a hash costs (RFC 9106).
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
    /// Hashes at a time.
    pub at_once: usize,
}

impl Default for Cost {
    /// What OWASP asks for at least (Password Storage Cheat Sheet).
    fn default() -> Self {
        Self {
            memory_kib: 19_456,
            iterations: 2,
            parallelism: 1,
            at_once: 2,
        }
    }
}

/// Why there is no hash.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// So many are hashed that none gets its turn in time.
    #[error("too many passwords are checked at the moment")]
    Busy,
    /// These costs cannot be used.
    #[error("passwords cannot be hashed: {0}")]
    Failed(String),
}

/// Makes and checks hashes.
#[derive(Clone)]
pub struct Hasher {
    argon: Argon2<'static>,
    turns: Arc<Semaphore>,
    /// Of no password: what is checked when there is none, so that it takes as long.
    decoy: Arc<str>,
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Hasher").finish_non_exhaustive()
    }
}

/// What became of a password that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Which of the hashes it fits.
    pub fits: Option<usize>,
    /// A hash with the costs of now, when the one that it fits has others.
    pub better: Option<String>,
}

impl Hasher {
    /// With these costs.
    ///
    /// # Errors
    /// When they are out of argon2's range.
    pub fn new(cost: Cost) -> Result<Self, Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Failed(error.to_string());
        let params = Params::new(cost.memory_kib, cost.iterations, cost.parallelism, None);
        let params = params.map_err(|error| failed(&error))?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        Ok(Self {
            argon,
            turns: Arc::new(Semaphore::new(cost.at_once.max(1))),
            decoy: decoy(&cost).into(),
        })
    }

    /// Hashes a password, as a PHC string.
    ///
    /// # Errors
    /// `Busy`, or `Failed`.
    pub async fn hash(&self, password: String) -> Result<String, Error> {
        let argon = self.argon.clone();
        self.run(move || hash(&argon, &password)).await?
    }

    /// Checks a password against hashes, always against `tries` of them: missing ones take as long
    /// and fit nothing.
    ///
    /// # Errors
    /// `Busy`, or `Failed`.
    pub async fn check(
        &self,
        password: String,
        hashes: Vec<String>,
        tries: usize,
    ) -> Result<Checked, Error> {
        let argon = self.argon.clone();
        let decoy = Arc::clone(&self.decoy);
        self.run(move || {
            let mut fits = None;
            for turn in 0..tries {
                let known = hashes.get(turn);
                let hash = known.map_or(&*decoy, String::as_str);
                let fit = PasswordHash::new(hash)
                    .is_ok_and(|hash| argon.verify_password(password.as_bytes(), &hash).is_ok());
                if fit && known.is_some() && fits.is_none() {
                    fits = Some(turn);
                }
            }
            let old = fits.and_then(|turn| hashes.get(turn));
            let better = match old {
                Some(old) if is_outdated(&argon, old) => Some(self::hash(&argon, &password)?),
                _ => None,
            };
            Ok(Checked { fits, better })
        })
        .await?
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned());
        let turn = turn.await.map_err(|_| Error::Busy)?;
        let turn = turn.map_err(|_| Error::Busy)?;
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
        .map_err(|error| Error::Failed(error.to_string()))
    }
}

fn hash(argon: &Argon2<'_>, password: &str) -> Result<String, Error> {
    argon
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| Error::Failed(error.to_string()))
}

/// A hash with these costs that is drawn, not computed: finding that nothing fits it takes as long as
/// with any other, and a server that starts need not wait for it.
fn decoy(cost: &Cost) -> String {
    let (mut salt, mut hash) = ([0_u8; 16], [0_u8; 32]);
    rand::rng().fill_bytes(&mut salt);
    rand::rng().fill_bytes(&mut hash);
    let Cost {
        memory_kib,
        iterations,
        parallelism,
        ..
    } = cost;
    let [salt, hash] = [&salt[..], &hash[..]].map(|part| STANDARD_NO_PAD.encode(part));
    format!("$argon2id$v=19$m={memory_kib},t={iterations},p={parallelism}${salt}${hash}")
}

fn is_outdated(argon: &Argon2<'_>, hash: &str) -> bool {
    let known = PasswordHash::new(hash).ok();
    let params = known.and_then(|hash| Params::try_from(&hash).ok());
    params.is_none_or(|params| {
        let now = argon.params();
        (params.m_cost(), params.t_cost(), params.p_cost())
            != (now.m_cost(), now.t_cost(), now.p_cost())
    })
}

/// Checks a new password: nothing but its length, and that nobody would try it first.
pub(super) fn check_new(field: &str, password: &str, email: &str, problems: &mut Problems) {
    let characters = password.chars().count();
    if characters < SHORTEST {
        problems.add(field, format!("must have at least {SHORTEST} characters"));
        return;
    }
    if password.len() > LONGEST {
        problems.add(field, format!("must have at most {LONGEST} bytes"));
        return;
    }
    let small = password.to_lowercase();
    let bare = small.trim_end_matches(|c: char| c.is_ascii_digit() || c.is_ascii_punctuation());
    let local = email.split('@').next().unwrap_or_default();
    let mut rest = small.chars();
    let first = rest.next();
    let one = rest.all(|c| Some(c) == first);
    if one || COMMON.contains(&small.as_str()) || COMMON.contains(&bare) {
        problems.add(field, "is one of the first that anybody would try");
    } else if small == email || bare == local {
        problems.add(field, "must not be the address");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap(memory_kib: u32) -> Hasher {
        let cost = Cost {
            memory_kib,
            iterations: 1,
            ..Cost::default()
        };
        Hasher::new(cost).expect("a hasher")
    }

    #[tokio::test]
    async fn a_password_fits_its_hash_and_costs_grow_with_it() {
        let hasher = cheap(64);
        let hash = hasher.hash("correct horse".to_owned()).await.expect("hash");
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        let check = async |hasher: &Hasher, word: &str, hashes: Vec<String>| {
            let checked = hasher.check(word.to_owned(), hashes, 2).await;
            checked.expect("checked")
        };
        let none = check(&hasher, "wrong horse", vec![hash.clone()]).await;
        assert_eq!((none.fits, none.better), (None, None));
        let other = hasher.hash("other".to_owned()).await.expect("hash");
        let second = check(&hasher, "correct horse", vec![other, hash.clone()]).await;
        assert_eq!((second.fits, second.better), (Some(1), None));
        let nobody = check(&hasher, "correct horse", vec![]).await;
        assert_eq!(nobody.fits, None);
        let grown = check(&cheap(128), "correct horse", vec![hash]).await;
        assert_eq!(grown.fits, Some(0));
        let better = grown.better.expect("hashed anew");
        assert!(better.contains("m=128"), "{better}");
    }

    /// What is checked where there is no password has to be as much work as what is checked where there
    /// is one: the same form, costs and lengths.
    #[test]
    fn a_decoy_looks_like_a_hash() {
        let hasher = cheap(64);
        let real = hash(&hasher.argon, "correct horse").expect("a hash");
        let [real, decoy] =
            [&*real, &hasher.decoy].map(|text| PasswordHash::new(text).expect(text));
        assert_eq!(decoy.algorithm, real.algorithm);
        assert_eq!(decoy.version, real.version);
        assert_eq!(
            (decoy.params.to_string(), decoy.hash.map(|hash| hash.len())),
            (real.params.to_string(), real.hash.map(|hash| hash.len()))
        );
        assert!(!is_outdated(&hasher.argon, &hasher.decoy));
        let checked = hasher.argon.verify_password(b"correct horse", &decoy);
        assert_eq!(checked, Err(argon2::password_hash::Error::PasswordInvalid));
        assert_ne!(hasher.decoy, cheap(64).decoy);
    }

    #[test]
    fn new_passwords() {
        let check = |password: &str| {
            let mut problems = Problems::default();
            check_new("password", password, "lena.holm@example.com", &mut problems);
            problems.into_result().is_ok()
        };
        for good in ["correct horse", "ünïcödé!", &"x1".repeat(128)] {
            assert!(check(good), "{good}");
        }
        for bad in [
            "",
            "short12",
            "Password",
            "password1",
            "Password123!",
            "aaaaaaaaaa",
            "12345678",
            "lena.holm@example.com",
            "lena.holm1",
            &"x1".repeat(129),
        ] {
            assert!(!check(bad), "{bad}");
        }
    }
}
