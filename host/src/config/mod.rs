//! Settings: defaults, file, environment and flags, checked all at once. The only code that
//! reads the environment.

mod check;
mod guards;
mod offers;
mod settings;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
};
use secrecy::{ExposeSecret, SecretString};

pub use settings::{
    Accounts, Data, Database, Development, Encryption, Fairness, Graphql, Jobs, Log, LogFormat,
    Mail, MailDelivery, Media, MediaStore, Offer, Payments, Plan, Plugins, Provider, RateLimits,
    Redis, Role, Routing, S3, Server, Settings,
};

/// The defaults, which are their documentation too.
pub const DEFAULTS: &str = include_str!("../../config.default.toml");
/// The file that is read when none is named.
const USUAL_FILE: &str = "genvid.toml";
const PREFIX: &str = "GENVID__";
/// Names the settings file.
const FILE_VARIABLE: &str = "GENVID_CONFIG";

/// One setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its path, for example `server.port`.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Where it was set.
    pub source: String,
}

/// All settings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl std::fmt::Display for Problems {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "the settings cannot be used:")?;
        for problem in &self.0 {
            write!(
                formatter,
                "\n  {} ({}): {}",
                problem.key, problem.source, problem.message
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Reads the settings. `overrides` are the flags, by path.
///
/// # Errors
/// Every problem at once.
pub fn load(file: Option<&Path>, overrides: &[(&str, String)]) -> Result<Settings, Problems> {
    let mut figment = Figment::from(Toml::string(DEFAULTS));
    let usual = PathBuf::from(USUAL_FILE);
    let file = match file {
        Some(file) if !file.is_file() => {
            return Err(Problems(vec![Problem {
                key: "--config".to_owned(),
                message: "there is no such file".to_owned(),
                source: file.display().to_string(),
            }]));
        }
        Some(file) => Some(file.to_owned()),
        None => match std::env::var_os(FILE_VARIABLE) {
            Some(named) => Some(PathBuf::from(named)),
            None => usual.is_file().then_some(usual),
        },
    };
    if let Some(file) = file {
        figment = figment.merge(Toml::file_exact(file));
    }
    for (key, variable) in [("database.url", "DATABASE_URL"), ("redis.url", "REDIS_URL")] {
        if let Some(url) = handed_out(key, variable)? {
            figment = figment.merge(Serialized::default(key, url));
        }
    }
    figment = figment.merge(Env::prefixed(PREFIX).split("__"));
    for (key, value) in overrides {
        // A flag is text; what looks like a number or a truth value is one.
        let value: figment::value::Value = value
            .parse::<i64>()
            .map(Into::into)
            .or_else(|_| value.parse::<bool>().map(Into::into))
            .unwrap_or_else(|_| value.clone().into());
        figment = figment.merge(Serialized::default(key, value));
    }
    check::settings(&figment)
}

/// The names under which platforms hand out their databases and such.
fn handed_out(key: &str, variable: &str) -> Result<Option<String>, Problems> {
    secret(variable, &BTreeMap::new())
        .map(|found| found.map(|url| url.expose_secret().to_owned()))
        .map_err(|message| {
            Problems(vec![Problem {
                key: key.to_owned(),
                message,
                source: "environment".to_owned(),
            }])
        })
}

/// A secret of a provider: from the settings, the environment, or the file that the
/// environment names.
///
/// # Errors
/// When the named file cannot be read.
pub fn secret(
    name: &str,
    settings: &BTreeMap<String, SecretString>,
) -> Result<Option<SecretString>, String> {
    if let Some(secret) = settings.get(name) {
        return Ok(Some(secret.clone()));
    }
    if let Some(path) = std::env::var_os(format!("{name}_FILE")) {
        let path = PathBuf::from(path);
        return std::fs::read_to_string(&path)
            // Nothing in it is no secret: what needs it says so.
            .map(|text| Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
            .map(|text| text.map(Into::into))
            .map_err(|error| format!("{name}_FILE: cannot read {}: {error}", path.display()));
    }
    Ok(std::env::var(name)
        .ok()
        .filter(|text| !text.is_empty())
        .map(Into::into))
}

/// The keys for a bucket: from the settings, or from the environment under the names that AWS's
/// tools use. Incomplete ones are told by the store.
///
/// # Errors
/// When a file that the environment names cannot be read.
pub fn s3_credentials(settings: &S3) -> Result<genvid_s3::Credentials, String> {
    let given = |secret: &SecretString| {
        Some(secret.clone()).filter(|text| !text.expose_secret().is_empty())
    };
    let found = |name: &str| secret(name, &BTreeMap::new());
    // Keys belong together: none of the environment's completes one of the settings'.
    let (id, key, session_token) = if let Some(id) = given(&settings.access_key_id) {
        let key = given(&settings.secret_access_key);
        (Some(id), key, given(&settings.session_token))
    } else {
        (
            found("AWS_ACCESS_KEY_ID")?,
            found("AWS_SECRET_ACCESS_KEY")?,
            found("AWS_SESSION_TOKEN")?,
        )
    };
    Ok(genvid_s3::Credentials {
        access_key_id: id.map_or_else(String::new, |id| id.expose_secret().to_owned()),
        secret_access_key: key.unwrap_or_default(),
        session_token,
    })
}

/// A secret of a vendor that is no plugin: from the settings, or from the environment under its usual name; nothing
/// when it is nowhere.
///
/// # Errors
/// When a file that the environment names cannot be read.
pub fn vendor_secret(given: &SecretString, name: &str) -> Result<Option<SecretString>, String> {
    if given.expose_secret().is_empty() {
        secret(name, &BTreeMap::new())
    } else {
        Ok(Some(given.clone()))
    }
}

/// This user's folder for what can be made again, such as compiled plugins.
#[must_use]
pub fn user_cache() -> PathBuf {
    let named = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    named
        .or_else(home)
        .unwrap_or_else(std::env::temp_dir)
        .join("genvid")
}

/// Folders in which plugins are looked for when the settings name none.
#[must_use]
pub fn usual_plugin_folders() -> Vec<PathBuf> {
    let Ok(binary) = std::env::current_exe() else {
        return Vec::new();
    };
    binary
        .ancestors()
        .skip(1)
        .take(3)
        .map(|folder| folder.join("plugins"))
        .collect()
}
