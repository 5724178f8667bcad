//! Where the programs are, and whether they can do what is needed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Error;
use super::process::{Limits, Run};

/// Oldest major version whose options are used here; Debian 12 has 5.1.
const OLDEST: u32 = 5;

const LIMITS: Limits = Limits {
    time: Duration::from_secs(20),
    memory_mib: 4096,
    output_mib: 1,
    threads: 1,
};

/// ffmpeg and ffprobe, found and checked.
#[derive(Clone, Debug)]
pub struct Tools {
    ffmpeg: PathBuf,
    ffprobe: PathBuf,
    version: String,
}

impl Tools {
    /// Finds the programs, on the search path unless a path is given, and checks that they are
    /// version 5 or later and have the encoders (libx264, aac) and the subtitle filter (ass)
    /// that films are made with. The error says what to install.
    pub async fn locate(ffmpeg: Option<PathBuf>, ffprobe: Option<PathBuf>) -> Result<Self, Error> {
        let (ffmpeg, ffprobe) = tokio::try_join!(find("ffmpeg", ffmpeg), find("ffprobe", ffprobe))?;
        // At once: what takes time is that each loads its hundred libraries.
        let (version, probe, encoders, filters) = tokio::join!(
            check_version("ffmpeg", &ffmpeg),
            check_version("ffprobe", &ffprobe),
            ask("ffmpeg", &ffmpeg, &["-encoders"]),
            ask("ffmpeg", &ffmpeg, &["-filters"]),
        );
        let version = version?;
        probe?;
        let (encoders, filters) = (encoders?, filters?);
        for (list, kind, names) in [
            (&encoders, "encoder", ["libx264", "aac"]),
            (&filters, "filter", ["ass", "gblur"]),
        ] {
            for name in names {
                if !list.split_whitespace().any(|word| word == name) {
                    let reason = format!(
                        "it was built without the {kind} {name}; Debian's package ffmpeg has it"
                    );
                    return Err(Error::Unusable {
                        program: ffmpeg,
                        reason,
                    });
                }
            }
        }
        Ok(Self {
            ffmpeg,
            ffprobe,
            version,
        })
    }

    /// Path of ffmpeg.
    pub fn ffmpeg(&self) -> &Path {
        &self.ffmpeg
    }

    /// Path of ffprobe.
    pub fn ffprobe(&self) -> &Path {
        &self.ffprobe
    }

    /// What ffmpeg calls its version, for example `5.1.9-0+deb12u1`.
    pub fn version(&self) -> &str {
        &self.version
    }
}

async fn find(name: &'static str, given: Option<PathBuf>) -> Result<PathBuf, Error> {
    if let Some(path) = given {
        return match tokio::fs::canonicalize(&path).await {
            Ok(path) => Ok(path),
            Err(_) => Err(Error::Missing { program: path }),
        };
    }
    // The shell knows the search path; only the settings module reads the environment.
    let answer = tokio::process::Command::new("sh")
        .args(["-c", "command -v \"$1\"", "sh", name])
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let path = PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim());
    if answer.status.success() && path.is_absolute() {
        Ok(path)
    } else {
        Err(Error::Missing {
            program: name.into(),
        })
    }
}

async fn ask(name: &'static str, program: &Path, arguments: &[&str]) -> Result<String, Error> {
    let arguments = std::iter::once("-hide_banner")
        .chain(arguments.iter().copied())
        .map(OsString::from);
    let run = Run {
        name,
        program,
        arguments: arguments.collect(),
        folder: Path::new("/"),
        limits: LIMITS,
    };
    let said = run.finish(&mut |_| {}).await?;
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}

async fn check_version(name: &'static str, program: &Path) -> Result<String, Error> {
    let banner = ask(name, program, &["-version"]).await?;
    let unusable = |reason| Error::Unusable {
        program: program.to_owned(),
        reason,
    };
    let version = banner
        .strip_prefix(name)
        .and_then(|rest| rest.trim_start().strip_prefix("version "))
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or_else(|| unusable(format!("`-version` does not answer as {name} does")))?;
    // Builds from the repository call themselves after a commit, not a release.
    match version
        .split(['.', '-'])
        .next()
        .unwrap_or_default()
        .parse::<u32>()
    {
        Ok(major) if major < OLDEST => Err(unusable(format!(
            "it is version {version}; version {OLDEST} or later is needed"
        ))),
        _ => Ok(version.to_owned()),
    }
}
