//! One build of one or several plugins.

use crate::cargo;
use crate::component::{self, ComponentError};
use crate::fingerprint::{self, Stamp};
use crate::machine::ThisMachine;
use crate::manifest::{self, Identity, ManifestError};
use crate::toolchain::{self, FileMemory, Preference, Toolchain, ToolchainError};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

/// What to build, and where to.
#[derive(Debug, Clone)]
pub struct Build {
    /// Folders with `Cargo.toml` and `plugin.toml`, all of one cargo workspace.
    pub crates: Vec<PathBuf>,
    /// Where `<id>.wasm` goes; made when it is not there.
    pub out_dir: PathBuf,
    /// cargo's target folder for this build; `None`: `target/wasm` of the workspace. A
    /// folder of its own keeps a wasm build and a host build from waiting for each other.
    pub target_dir: Option<PathBuf>,
    /// Which toolchain may be used.
    pub preference: Preference,
    /// Fail when `Cargo.lock` would change. Without a lock file this is not looked at.
    pub locked: bool,
    /// Build even what has not changed.
    pub force: bool,
}

/// What a build did; one entry for each of [`Build::crates`], in that order.
#[derive(Debug)]
pub struct Report {
    /// What compiled.
    pub toolchain: Toolchain,
    /// The plugins, or why there is none.
    pub plugins: Vec<Result<Plugin, Failure>>,
}

/// A component on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// From the manifest.
    pub identity: Identity,
    /// The file, `<out_dir>/<id>.wasm`.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: usize,
    /// Its SHA-256 in lower-case hex.
    pub sha256: String,
    /// Top-level imports.
    pub imports: Vec<String>,
    /// Top-level exports.
    pub exports: Vec<String>,
    /// Whether the file's content was changed by this build.
    pub changed: bool,
}

/// A plugin that was not built; the others were.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", .crate_dir.display())]
pub struct Failure {
    /// The folder as it was named in [`Build::crates`].
    pub crate_dir: PathBuf,
    /// Why.
    pub reason: FailureReason,
}

/// Why one plugin was not built.
#[derive(Debug, thiserror::Error)]
pub enum FailureReason {
    /// A file of the crate cannot be read.
    #[error("cannot read {}: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// `Cargo.toml` does not name a package.
    #[error("Cargo.toml: {0}")]
    CargoManifest(String),
    /// `plugin.toml` cannot be embedded.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Two crates of one build have the same id and would write the same file.
    #[error("the id {0:?} is that of another crate of this build")]
    DuplicateId(String),
    /// The compiler refused it, or something that it depends on; cargo has said why.
    #[error("it does not compile (the compiler's messages are above)")]
    Compile,
    /// It compiled, but to no module.
    #[error("it makes no WebAssembly module: Cargo.toml needs [lib] crate-type = [\"cdylib\"]")]
    NoModule,
    /// The module is not a component of the contract.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// The result cannot be written.
    #[error("cannot write {}: {error}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
}

/// Why nothing was built at all.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// [`Build::crates`] is empty.
    #[error("there is no plugin to build")]
    Empty,
    /// A crate is not in the workspace of the first one; one cargo call cannot build both.
    #[error("{} is not in the workspace {}", .crate_dir.display(), .workspace.display())]
    OtherWorkspace {
        /// The crate.
        crate_dir: PathBuf,
        /// The first crate's workspace.
        workspace: PathBuf,
    },
    /// No way to compile for the target.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// cargo could not be started.
    #[error("cannot run {program}: {error}")]
    Cargo {
        /// What was to be run.
        program: &'static str,
        /// The system's reason.
        error: io::Error,
    },
    /// A folder cannot be used.
    #[error("{}: {error}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
}

/// A crate whose manifests were read.
struct Source {
    crate_dir: PathBuf,
    package: String,
    manifest: String,
    identity: Identity,
}

impl Build {
    /// Builds the plugins; one that fails does not stop the others. Progress and the
    /// compiler's messages go to standard error; `say` is told what is about to happen.
    ///
    /// # Errors
    /// [`BuildError`] when nothing could be tried at all. What concerns one plugin is in
    /// [`Report::plugins`].
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<Report, BuildError> {
        let crates = self.canonical_crates()?;
        let workspace = self.workspace(&crates)?;
        let profile = profile(&workspace);
        let target_dir = match &self.target_dir {
            Some(folder) => folder.clone(),
            None => workspace.join("target/wasm"),
        };
        for folder in [&target_dir, &self.out_dir] {
            std::fs::create_dir_all(folder).map_err(|error| BuildError::Folder {
                path: folder.clone(),
                error,
            })?;
        }

        let mut sources = Vec::new();
        let mut ids = HashSet::new();
        for crate_dir in &crates {
            sources.push(Source::read(crate_dir).and_then(|source| {
                if ids.insert(source.identity.id.clone()) {
                    Ok(source)
                } else {
                    Err(FailureReason::DuplicateId(source.identity.id))
                }
            }));
        }

        let memory = FileMemory::new(target_dir.clone());
        let machine = ThisMachine {
            folder: workspace.clone(),
        };
        let toolchain = toolchain::find(&machine, &memory, self.preference, say)?;
        let stage = Stage {
            build: self,
            toolchain: &toolchain,
            workspace: &workspace,
            target_dir: &target_dir,
            profile,
        };
        let results = stage.run(sources, say)?;
        let plugins = self
            .crates
            .iter()
            .zip(results)
            .map(|(crate_dir, result)| {
                result.map_err(|reason| Failure {
                    crate_dir: crate_dir.clone(),
                    reason,
                })
            })
            .collect();
        Ok(Report { toolchain, plugins })
    }

    fn canonical_crates(&self) -> Result<Vec<PathBuf>, BuildError> {
        self.crates
            .iter()
            .map(|path| {
                path.canonicalize().map_err(|error| BuildError::Folder {
                    path: path.clone(),
                    error,
                })
            })
            .collect()
    }

    fn workspace(&self, crates: &[PathBuf]) -> Result<PathBuf, BuildError> {
        let workspace = workspace_of(crates.first().ok_or(BuildError::Empty)?);
        match crates.iter().find(|path| workspace_of(path) != workspace) {
            Some(other) => Err(BuildError::OtherWorkspace {
                crate_dir: other.clone(),
                workspace,
            }),
            None => Ok(workspace),
        }
    }
}

/// A build whose questions are settled.
struct Stage<'a> {
    build: &'a Build,
    toolchain: &'a Toolchain,
    workspace: &'a Path,
    target_dir: &'a Path,
    profile: &'static str,
}

impl Stage<'_> {
    fn run(
        &self,
        sources: Vec<Result<Source, FailureReason>>,
        say: &mut dyn FnMut(&str),
    ) -> Result<Vec<Result<Plugin, FailureReason>>, BuildError> {
        let unchanged: Vec<Option<Plugin>> = sources
            .iter()
            .map(|source| {
                source
                    .as_ref()
                    .ok()
                    .and_then(|source| self.unchanged(source))
            })
            .collect();
        let packages: Vec<&str> = sources
            .iter()
            .zip(&unchanged)
            .filter(|(_, done)| done.is_none())
            .filter_map(|(source, _)| source.as_ref().ok())
            .map(|source| source.package.as_str())
            .collect();
        let made = if packages.is_empty() {
            None
        } else {
            say(&format!(
                "building {} with {}",
                packages.join(", "),
                self.toolchain
            ));
            let order = cargo::Order {
                workspace: self.workspace,
                target_dir: self.target_dir,
                profile: self.profile,
                packages,
                locked: self.build.locked && self.workspace.join("Cargo.lock").is_file(),
            };
            let program = self.toolchain.cargo();
            Some(
                cargo::build(self.toolchain, &order)
                    .map_err(|error| BuildError::Cargo { program, error })?,
            )
        };
        let results = sources
            .into_iter()
            .zip(unchanged)
            .map(|(source, done)| {
                let source = source?;
                match (done, &made) {
                    (Some(plugin), _) => Ok(plugin),
                    (None, Some(made)) => self.finish(&source, made),
                    // Unreachable: what is not done was handed to cargo.
                    (None, None) => Err(FailureReason::Compile),
                }
            })
            .collect();
        Ok(results)
    }

    fn stamp_path(&self, source: &Source) -> PathBuf {
        self.target_dir
            .join(format!("{}.stamp.json", source.identity.id))
    }

    fn output_path(&self, source: &Source) -> PathBuf {
        self.build
            .out_dir
            .join(format!("{}.wasm", source.identity.id))
    }

    fn digest(&self, inputs: &std::collections::BTreeSet<PathBuf>) -> String {
        fingerprint::digest(inputs, &self.toolchain.identity(), self.profile)
    }

    /// The plugin as the last build left it, when neither inputs nor output have changed.
    fn unchanged(&self, source: &Source) -> Option<Plugin> {
        if self.build.force {
            return None;
        }
        let stamp = Stamp::read(&self.stamp_path(source))?;
        let path = self.output_path(source);
        let bytes = std::fs::read(&path).ok()?;
        let same = fingerprint::sha256(&bytes) == stamp.output
            && self.digest(&stamp.inputs) == stamp.digest;
        if !same {
            return None;
        }
        plugin(source, path, &bytes, false).ok()
    }

    fn finish(&self, source: &Source, made: &cargo::Made) -> Result<Plugin, FailureReason> {
        let Some(module) = made.modules.get(&source.crate_dir.join("Cargo.toml")) else {
            return Err(if made.success {
                FailureReason::NoModule
            } else {
                FailureReason::Compile
            });
        };
        let core = read(module)?;
        let component = component::encode(&core)?;
        let bytes = component::with_manifest(&component, &source.manifest)?;
        let path = self.output_path(source);
        let changed = std::fs::read(&path).map_or(true, |old| old != bytes);
        let write = |path: &Path, error| FailureReason::Write {
            path: path.to_path_buf(),
            error,
        };
        if changed {
            fingerprint::write_atomically(&path, &bytes).map_err(|error| write(&path, error))?;
        }
        let stamp_path = self.stamp_path(source);
        if made.success {
            let noted = module.with_extension("d");
            let inputs = fingerprint::inputs(self.workspace, &source.crate_dir, &noted)
                .map_err(|error| FailureReason::Read { path: noted, error })?;
            let stamp = Stamp {
                digest: self.digest(&inputs),
                output: fingerprint::sha256(&bytes),
                inputs,
            };
            stamp
                .write(&stamp_path)
                .map_err(|error| write(&stamp_path, error))?;
        } else {
            // cargo notes what was read only when everything compiled, so the notes of an
            // earlier build must not vouch for this one.
            let _ = std::fs::remove_file(&stamp_path);
        }
        plugin(source, path, &bytes, changed)
    }
}

fn plugin(
    source: &Source,
    path: PathBuf,
    bytes: &[u8],
    changed: bool,
) -> Result<Plugin, FailureReason> {
    let summary = component::inspect(bytes)?;
    Ok(Plugin {
        identity: source.identity.clone(),
        path,
        bytes: bytes.len(),
        sha256: fingerprint::sha256(bytes),
        imports: summary.imports,
        exports: summary.exports,
        changed,
    })
}

impl Source {
    fn read(crate_dir: &Path) -> Result<Self, FailureReason> {
        let cargo_manifest = read_text(&crate_dir.join("Cargo.toml"))?;
        let table: toml::Table = cargo_manifest
            .parse()
            .map_err(|error: toml::de::Error| FailureReason::CargoManifest(error.to_string()))?;
        let package = table
            .get("package")
            .and_then(|package| package.get("name"))
            .and_then(toml::Value::as_str)
            .ok_or_else(|| FailureReason::CargoManifest("there is no package.name".to_owned()))?;
        let manifest = read_text(&crate_dir.join("plugin.toml"))?;
        Ok(Self {
            crate_dir: crate_dir.to_path_buf(),
            package: package.to_owned(),
            identity: manifest::identity(&manifest)?,
            manifest,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FailureReason> {
    std::fs::read(path).map_err(|error| FailureReason::Read {
        path: path.to_path_buf(),
        error,
    })
}

fn read_text(path: &Path) -> Result<String, FailureReason> {
    std::fs::read_to_string(path).map_err(|error| FailureReason::Read {
        path: path.to_path_buf(),
        error,
    })
}

/// The nearest folder from `crate_dir` upwards whose `Cargo.toml` has `[workspace]`, as cargo
/// looks for it; `crate_dir` itself when there is none.
fn workspace_of(crate_dir: &Path) -> PathBuf {
    crate_dir
        .ancestors()
        .find(|folder| cargo_table(folder).is_some_and(|table| table.contains_key("workspace")))
        .unwrap_or(crate_dir)
        .to_path_buf()
}

/// The profile made for plugins where the workspace has one, or else `release`.
fn profile(workspace: &Path) -> &'static str {
    let has_own = cargo_table(workspace)
        .and_then(|table| table.get("profile")?.get("plugin").cloned())
        .is_some();
    if has_own { "plugin" } else { "release" }
}

fn cargo_table(folder: &Path) -> Option<toml::Table> {
    std::fs::read_to_string(folder.join("Cargo.toml"))
        .ok()?
        .parse()
        .ok()
}
