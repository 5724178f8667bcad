//! From a core module to a component that carries its manifest, and back.

use crate::MANIFEST_SECTION;
use wasm_encoder::{ComponentSection as _, CustomSection};
use wasmparser::{Parser, Payload};

/// Why a module cannot become a component, or a component cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// The module does not fit the WIT world that its metadata names (a missing export, an
    /// import that the world does not have), or carries no such metadata.
    #[error("cannot wrap the module as a component: {0}")]
    Encode(String),
    /// The bytes are not a readable component.
    #[error("not a readable component: {0}")]
    Parse(String),
    /// The manifest section is there more than once; which one counts would be a guess.
    #[error("the component has {0} sections named {MANIFEST_SECTION:?}, expected one")]
    ManyManifests(usize),
    /// The manifest section is not UTF-8.
    #[error("the section {MANIFEST_SECTION:?} is not UTF-8")]
    ManifestEncoding,
}

/// What can be told of a component without running it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Names of the top-level imports, in the component's order.
    pub imports: Vec<String>,
    /// Names of the top-level exports, in the component's order.
    pub exports: Vec<String>,
    /// Text of the manifest section, if it has one.
    pub manifest: Option<String>,
}

/// Wraps a core module made by `wit-bindgen` as a component and validates the result.
///
/// # Errors
/// [`ComponentError::Encode`] with the whole chain of reasons.
pub fn encode(module: &[u8]) -> Result<Vec<u8>, ComponentError> {
    let mut encoder = wit_component::ComponentEncoder::default();
    encoder
        .validate(true)
        .module(module)
        .and_then(wit_component::ComponentEncoder::encode)
        .map_err(|error| ComponentError::Encode(format!("{error:#}")))
}

/// Appends the manifest's text to a component as its last section.
///
/// # Errors
/// [`ComponentError::Parse`] when `component` is not a component,
/// [`ComponentError::ManyManifests`] when it carries a manifest already.
pub fn with_manifest(component: &[u8], manifest: &str) -> Result<Vec<u8>, ComponentError> {
    if inspect(component)?.manifest.is_some() {
        return Err(ComponentError::ManyManifests(2));
    }
    let mut bytes = component.to_vec();
    CustomSection {
        name: MANIFEST_SECTION.into(),
        data: manifest.as_bytes().into(),
    }
    .append_to_component(&mut bytes);
    Ok(bytes)
}

/// Reads imports, exports and the manifest of a component, without validating its code.
///
/// # Errors
/// [`ComponentError::Parse`], [`ComponentError::ManyManifests`] or
/// [`ComponentError::ManifestEncoding`].
pub fn inspect(component: &[u8]) -> Result<Summary, ComponentError> {
    let parse = |error: wasmparser::BinaryReaderError| ComponentError::Parse(error.to_string());
    if !Parser::is_component(component) {
        return Err(ComponentError::Parse(
            "it does not start with a component's header".to_owned(),
        ));
    }
    let mut summary = Summary::default();
    let mut manifests = Vec::new();
    // Sections of nested modules and components come in the same stream; only depth 1 is ours.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(parse)? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    summary
                        .imports
                        .push(import.map_err(parse)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    summary
                        .exports
                        .push(export.map_err(parse)?.name.name.to_owned());
                }
            }
            Payload::CustomSection(section) if depth == 1 && section.name() == MANIFEST_SECTION => {
                manifests.push(section.data());
            }
            _ => {}
        }
    }
    if manifests.len() > 1 {
        return Err(ComponentError::ManyManifests(manifests.len()));
    }
    if let Some(bytes) = manifests.pop() {
        let text = std::str::from_utf8(bytes).map_err(|_| ComponentError::ManifestEncoding)?;
        summary.manifest = Some(text.to_owned());
    }
    Ok(summary)
}
