//! `cargo xtask plugins`.

use crate::check::Tally;
use anyhow::Context as _;
use clap::Args;
use genvid_build::{Build, Plugin, Preference};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Where the components go, from the repository's root.
pub(crate) const OUT_DIR: &str = "target/plugins";

/// Where the test guest goes, from the repository's root.
const TEST_OUT_DIR: &str = "target/test-plugins";

/// A guest for the sandbox's tests: built like a plugin, shipped with none.
const TEST_GUEST: &str = "host/runtime/tests/guest";

#[derive(Debug, Args, Default)]
pub(crate) struct Options {
    /// Build only these ids (folders of plugins/, or test-guest); none: all.
    ids: Vec<String>,
    /// Build again what has not changed.
    #[arg(long)]
    force: bool,
    /// Which compiler: any (the first that works), active (the active Rust toolchain, after
    /// `rustup target add` if need be), debian (rustc-web and rust-web-src).
    #[arg(long, default_value = "any", value_name = "WHICH")]
    toolchain: Preference,
    /// Fail when Cargo.lock would change.
    #[arg(long)]
    pub(crate) locked: bool,
    /// Print one JSON object instead of the table.
    #[arg(long)]
    json: bool,
}

/// Builds all plugins and fails unless each is ready.
pub(crate) fn ensure(root: &Path, locked: bool) -> anyhow::Result<()> {
    let options = Options {
        locked,
        ..Options::default()
    };
    let outcome = build(root, &options)?;
    anyhow::ensure!(
        outcome.failures.is_empty(),
        "{} of the plugins could not be built (see above)",
        outcome.failures.len()
    );
    Ok(())
}

/// Builds all plugins and counts each as a check.
pub(crate) fn tally(root: &Path) -> anyhow::Result<Tally> {
    let options = Options {
        locked: true,
        ..Options::default()
    };
    let outcome = build(root, &options)?;
    Ok(Tally {
        passed: outcome.ready as u64,
        failed: outcome.failures.len() as u64,
        skipped: 0,
    })
}

/// Builds and reports; the exit code is 1 when one plugin could not be built.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<ExitCode> {
    let outcome = build(root, options)?;
    Ok(if outcome.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// How many plugins are ready, and what is wrong with the others.
pub(crate) struct BuildOutcome {
    pub(crate) ready: usize,
    pub(crate) failures: Vec<String>,
}

pub(crate) fn build(root: &Path, options: &Options) -> anyhow::Result<BuildOutcome> {
    let started = Instant::now();
    let (guests, plugins): (Vec<_>, Vec<_>) = crates(root, &options.ids)?
        .into_iter()
        .partition(|path| path.ends_with(TEST_GUEST));
    let mut results = Vec::new();
    // A server loads whatever is in the plugins' folder: the test guest stays out of it.
    for (crates, folder) in [(plugins, OUT_DIR), (guests, TEST_OUT_DIR)] {
        if crates.is_empty() {
            continue;
        }
        let report = Build {
            crates,
            out_dir: root.join(folder),
            target_dir: Some(root.join("target/wasm")),
            preference: options.toolchain,
            locked: options.locked,
            force: options.force,
        }
        .run(&mut |text| eprintln!("plugins: {text}"))?;
        results.extend(report.plugins);
    }

    let built: Vec<&Plugin> = results.iter().flatten().collect();
    let failures: Vec<String> = results
        .iter()
        .filter_map(|result| result.as_ref().err())
        .map(|failure| {
            let place = failure
                .crate_dir
                .strip_prefix(root)
                .unwrap_or(&failure.crate_dir);
            format!("{}: {}", place.display(), failure.reason)
        })
        .collect();
    if options.json {
        println!("{}", json(root, &built, &failures));
    } else {
        for plugin in &built {
            eprintln!("{}", line(root, plugin));
        }
    }
    for failure in &failures {
        eprintln!("plugins: FAILED {failure}");
    }
    eprintln!(
        "plugins: {} ready, {} failed, {:.1} s",
        built.len(),
        failures.len(),
        started.elapsed().as_secs_f64()
    );
    Ok(BuildOutcome {
        ready: built.len(),
        failures,
    })
}

/// The crates with the given ids: every folder of `plugins/` that has a `Cargo.toml`, and
/// the test guest.
fn crates(root: &Path, ids: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    let folder = root.join("plugins");
    let mut all = vec![("test-guest".to_owned(), root.join(TEST_GUEST))];
    let entries =
        std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.join("Cargo.toml").is_file()
            && let Some(name) = path.file_name()
        {
            all.push((name.to_string_lossy().into_owned(), path));
        }
    }
    all.sort();
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    if let Some(unknown) = ids.iter().find(|id| !names.contains(&id.as_str())) {
        anyhow::bail!(
            "there is no plugin {unknown:?}; there are: {}",
            names.join(", ")
        );
    }
    Ok(all
        .iter()
        .filter(|(name, _)| ids.is_empty() || ids.contains(name))
        .map(|(_, path)| path.clone())
        .collect())
}

fn line(root: &Path, plugin: &Plugin) -> String {
    let short = |names: &[String]| {
        names
            .iter()
            .map(|name| {
                let name = name.rsplit('/').next().unwrap_or(name);
                name.split('@').next().unwrap_or(name)
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    let path = plugin.path.strip_prefix(root).unwrap_or(&plugin.path);
    format!(
        "plugins: {:<9} {} {}  {} KB  sha256 {}  exports: {}  imports: {}",
        if plugin.changed { "built" } else { "unchanged" },
        path.display(),
        plugin.identity.version,
        plugin.bytes.div_ceil(1000),
        &plugin.sha256[..12],
        short(&plugin.exports),
        short(&plugin.imports),
    )
}

fn json(root: &Path, built: &[&Plugin], failures: &[String]) -> serde_json::Value {
    let plugins: Vec<_> = built
        .iter()
        .map(|plugin| {
            serde_json::json!({
                "id": plugin.identity.id,
                "version": plugin.identity.version,
                "path": plugin.path.strip_prefix(root).unwrap_or(&plugin.path),
                "bytes": plugin.bytes,
                "sha256": plugin.sha256,
                "imports": plugin.imports,
                "exports": plugin.exports,
                "changed": plugin.changed,
            })
        })
        .collect();
    serde_json::json!({ "ok": failures.is_empty(), "plugins": plugins, "failures": failures })
}
