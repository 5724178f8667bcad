//! Who signs in, as the settings want it.

use std::{os::unix::fs::OpenOptionsExt as _, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;

use crate::{
    accounts::{
        self,
        google::Google,
        job_tokens::JobTokens,
        password::{Cost, Hasher},
        sessions::{self, Sessions},
        tokens::Keyring,
    },
    adapters::{
        openid::{OpenId, Registered},
        sql::Database,
    },
    config::{self, Settings},
    rates::{Counter, Rates},
    vault::{self, Vault},
};

/// Where the key lies that is made for an embedded database.
const KEY_FILE: &str = "encryption.key";
/// Names the key's setting in the environment.
const VARIABLE: &str = "GENVID_ENCRYPTION_KEY";

/// What secrets in the database are sealed with.
///
/// # Errors
/// When there is no key, or none can be made.
pub async fn vault(settings: &Settings, database: &Database) -> anyhow::Result<Vault> {
    let given = config::vendor_secret(&settings.encryption.key, VARIABLE);
    let given = given.map_err(anyhow::Error::msg)?;
    let text = match given {
        Some(key) => key.expose_secret().to_owned(),
        None if database.is_embedded() => key_file(&settings.data.dir).await?,
        None if !settings.development.user.is_empty() => {
            tracing::warn!(
                "for development: the key that seals secrets lies in the database that it is to guard; \
                 set {VARIABLE}"
            );
            let fresh = vault::new_key().into_bytes();
            let kept = database.installation_fact("development encryption key", fresh);
            String::from_utf8(kept.await?).context("the development key is damaged")?
        }
        None => anyhow::bail!(
            "encryption.key is missing, which seals secrets in the database: make one with \
             `openssl rand -base64 32`, and give the same one to every node as {VARIABLE}, or as a file \
             that {VARIABLE}_FILE names"
        ),
    };
    let current = vault::parse_key(&text);
    let current = current.with_context(|| format!("encryption.key ({VARIABLE})"))?;
    let previous = settings.encryption.previous_keys.iter();
    let previous = previous.filter_map(|key| vault::parse_key(key.expose_secret()).ok());
    Ok(Vault::new(&current, &previous.collect::<Vec<_>>()))
}

/// The key beside an embedded database, made at the first start.
async fn key_file(folder: &Path) -> anyhow::Result<String> {
    let path = folder.join(KEY_FILE);
    let work = move || -> anyhow::Result<String> {
        use std::io::Write as _;
        let made = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let cannot = || format!("the encryption key in {} cannot be used", path.display());
        match made {
            Ok(mut file) => {
                let key = vault::new_key();
                let written = writeln!(file, "{key}").and_then(|()| file.sync_all());
                if let Err(error) = written {
                    // Half a key would be in the way for ever.
                    let _ = std::fs::remove_file(&path);
                    return Err(error).with_context(cannot);
                }
                tracing::info!(
                    path = %path.display(),
                    "made the key that seals secrets in the database; keep a copy of it, apart from copies of \
                     the database"
                );
                Ok(key)
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                std::fs::read_to_string(&path).with_context(cannot)
            }
            Err(error) => Err(error).with_context(cannot),
        }
    };
    tokio::task::spawn_blocking(work).await?
}

/// The keys that sign access tokens.
#[must_use]
pub fn keyring(settings: &Settings, database: &Database, vault: Vault, url: &str) -> Keyring {
    let wanted = &settings.accounts;
    let issuer = match wanted.issuer.is_empty() {
        true => url.to_owned(),
        false => wanted.issuer.clone(),
    };
    Keyring::new(database.clone(), vault, issuer, wanted.audience.clone())
}

/// Sign-in with Google, if it is registered there.
pub(super) fn google(
    settings: &Settings,
    sessions: Sessions,
    vault: Vault,
    url: &str,
) -> anyhow::Result<Option<Google>> {
    const SECRET: &str = "GOOGLE_CLIENT_SECRET";
    let wanted = &settings.accounts.google;
    if wanted.client_id.is_empty() {
        return Ok(None);
    }
    let secret =
        config::vendor_secret(&wanted.client_secret, SECRET).map_err(anyhow::Error::msg)?;
    let redirect = format!("{url}/api/auth/callback");
    tracing::info!(
        redirect,
        "Google signs users in; this redirect URI has to be authorised there"
    );
    let registered = Registered {
        issuer: wanted.issuer.clone(),
        client_id: wanted.client_id.clone(),
        client_secret: secret.with_context(|| {
            format!("accounts.google.client_id is set, and {SECRET} is missing")
        })?,
        redirect,
    };
    let provider = OpenId::new(registered).context("accounts.google")?;
    Ok(Some(Google::new(sessions, vault, Arc::new(provider))))
}

/// Who signs users up and in.
pub(super) fn sessions(
    settings: &Settings,
    accounts: accounts::Service,
    keyring: Keyring,
    vault: Vault,
    shared: Option<Arc<dyn Counter>>,
    url: &str,
    mail: bool,
) -> anyhow::Result<Sessions> {
    const DAY: u64 = 86_400;
    let wanted = &settings.accounts;
    let hasher = Hasher::new(Cost {
        memory_kib: wanted.argon2_memory_kib,
        iterations: wanted.argon2_iterations,
        parallelism: wanted.argon2_parallelism,
        at_once: wanted.argon2_at_once,
    });
    let hasher = hasher.context("accounts.argon2_…")?;
    let rates = Rates::new(settings.limits.limits(), shared);
    let app_url = Some(settings.mail.app_url.clone()).filter(|url| !url.is_empty());
    let credits = match settings.development.user.is_empty() {
        true => 0,
        false => settings.development.credits.into(),
    };
    let numbers = sessions::Settings {
        open: wanted.registration,
        session_life: Duration::from_secs(wanted.session_days * DAY),
        idle_life: Duration::from_secs(wanted.idle_days * DAY),
        verify_life: Duration::from_secs(wanted.verify_minutes * 60),
        reset_life: Duration::from_secs(wanted.reset_minutes * 60),
        app_url,
        base: url.to_owned(),
        mail,
        credits,
    };
    Ok(Sessions::new(
        accounts,
        keyring,
        hasher,
        JobTokens::new(vault),
        rates,
        numbers,
    ))
}
