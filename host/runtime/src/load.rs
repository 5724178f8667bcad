//! From bytes to a component that is ready to run.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmparser::{Encoding, Parser, Payload, Validator};
use wasmtime::component::Component as Code;

use crate::component::{Component, Exports, Loaded};
use crate::error::LoadError;
use crate::functions::Functions;
use crate::manifest::{Manifest, Problem, SECTION};
use crate::runtime::Shared;

/// Largest plugin. Python's is about 19 MB, everything else is smaller.
const MAX_SIZE: usize = 32 << 20;

/// The contract's package and version as the names of interfaces spell it.
const PACKAGE: &str = "genvid:provider/";
const TRACK: &str = "0.1.";

pub(crate) async fn load(shared: &Arc<Shared>, wasm: Vec<u8>) -> Result<Component, LoadError> {
    if wasm.len() > MAX_SIZE {
        return Err(LoadError::TooLarge {
            size: wasm.len(),
            limit: MAX_SIZE,
        });
    }
    let _turn = shared
        .compiling
        .acquire()
        .await
        .map_err(|_| LoadError::Interrupted)?;
    let worker = Arc::clone(shared);
    let loaded = tokio::task::spawn_blocking(move || prepare(worker, &wasm))
        .await
        .map_err(|_| LoadError::Interrupted)??;
    let component = Component::new(loaded);
    component.probe().await?;
    Ok(component)
}

fn prepare(shared: Arc<Shared>, wasm: &[u8]) -> Result<Loaded, LoadError> {
    let digest = hex::encode(Sha256::digest(wasm));
    let cached = (shared.cache.as_ref()).and_then(|cache| cache.get(&shared.engine, &digest));
    if cached.is_none() {
        // What was compiled was valid: to look again is most of a load's time.
        let invalid = |error: wasmparser::BinaryReaderError| LoadError::Invalid(error.to_string());
        Validator::new().validate_all(wasm).map_err(invalid)?;
    }
    let outline = Outline::read(wasm)?;
    let text = outline.manifest.ok_or(LoadError::NoManifest)?;
    let unknown: Vec<String> = outline
        .imports
        .into_iter()
        .filter(|name| !is_offered(name))
        .collect();
    if !unknown.is_empty() {
        return Err(LoadError::Imports(unknown));
    }
    let (manifest, mut problems) = Manifest::read(&text);
    if let Some(manifest) = &manifest {
        compare(manifest, &outline.exports, &mut problems);
    }
    let (Some(manifest), true) = (manifest, problems.is_empty()) else {
        return Err(LoadError::Manifest(problems));
    };

    let code = match cached {
        Some(code) => code,
        None => compile(&shared, wasm, &digest)?,
    };
    let pre = shared
        .linker
        .instantiate_pre(&code)
        .map_err(|error| LoadError::Contract(format!("{error:#}")))?;
    let functions = Functions::find(&code);
    let exports = Exports::of(&outline.exports);
    Ok(Loaded {
        shared,
        manifest,
        digest,
        size: wasm.len(),
        exports,
        functions,
        pre,
    })
}

fn compile(shared: &Shared, wasm: &[u8], digest: &str) -> Result<Code, LoadError> {
    let code = Code::from_binary(&shared.engine, wasm)
        .map_err(|error| LoadError::Compile(format!("{error:#}")))?;
    if let Some(cache) = &shared.cache {
        cache.put(digest, &code);
    }
    Ok(code)
}

/// What a component says about itself.
#[derive(Default)]
struct Outline {
    manifest: Option<String>,
    /// Names of the contract's interfaces that it exports, for example `video`.
    exports: BTreeSet<String>,
    imports: Vec<String>,
}

impl Outline {
    /// Notes the outer names of a component that is valid, function bodies included.
    fn read(wasm: &[u8]) -> Result<Self, LoadError> {
        let invalid = |error: wasmparser::BinaryReaderError| LoadError::Invalid(error.to_string());
        let mut outline = Self::default();
        // What lies inside nested modules and components is theirs and says nothing here.
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.map_err(invalid)? {
                Payload::Version {
                    encoding: Encoding::Module,
                    ..
                } if depth == 0 => {
                    return Err(LoadError::Invalid(
                        "this is a core module, not a component".to_owned(),
                    ));
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CustomSection(section) if depth == 0 && section.name() == SECTION => {
                    if outline.manifest.is_some() {
                        return Err(LoadError::Invalid("there are two manifests".to_owned()));
                    }
                    let text = std::str::from_utf8(section.data()).ok();
                    outline.manifest = text.map(str::to_owned);
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        let name = export.map_err(invalid)?.name.name;
                        if let Some(interface) = interface_of(name) {
                            outline.exports.insert(interface.to_owned());
                        }
                    }
                }
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        outline
                            .imports
                            .push(import.map_err(invalid)?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(outline)
    }
}

/// `video` of `genvid:provider/video@0.1.0`; nothing for other packages and other versions.
fn interface_of(name: &str) -> Option<&str> {
    let (interface, version) = name.strip_prefix(PACKAGE)?.split_once('@')?;
    version.starts_with(TRACK).then_some(interface)
}

fn is_offered(name: &str) -> bool {
    matches!(
        interface_of(name),
        Some("types" | "http" | "report" | "clock")
    )
}

/// The manifest's tables against the exports.
fn compare(manifest: &Manifest, exports: &BTreeSet<String>, problems: &mut Vec<Problem>) {
    for (name, declared) in [
        ("video", manifest.video.is_some()),
        ("voice", manifest.voice.is_some()),
        ("script", manifest.script.is_some()),
        ("tasks", manifest.tasks.is_some()),
        ("webhook", manifest.webhook.is_some()),
    ] {
        match (declared, exports.contains(name)) {
            (true, false) => problems.push(Problem::new(
                name,
                format!("stands in the manifest, but the component does not export `{name}`"),
            )),
            (false, true) => problems.push(Problem::new(
                name,
                format!("the component exports `{name}`, but the manifest has no [{name}]"),
            )),
            (true, true) | (false, false) => {}
        }
    }
    if !exports.contains("account") {
        problems.push(Problem::new(
            "account",
            "the component must export `account`",
        ));
    }
    if !["video", "voice", "script"]
        .iter()
        .any(|kind| exports.contains(*kind))
    {
        problems.push(Problem::new(
            "video",
            "the component must export at least one of `video`, `voice` and `script`",
        ));
    }
}
