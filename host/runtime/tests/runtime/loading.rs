//! What is loaded and what is not, and the compiled plugins on disk.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use genvid_runtime::manifest::{Problem, SECTION};
use genvid_runtime::{Error, Exports, LoadError, Options, Runtime};
use wasm_encoder::{
    Component, ComponentImportSection, ComponentTypeRef, ComponentTypeSection, CustomSection,
    InstanceType,
};
use wasmparser::{Parser, Payload};

use crate::support::{call, grant, guest};

/// The guest with another manifest.
pub(crate) fn with_manifest(text: &str) -> Vec<u8> {
    let mut wasm = without_manifest();
    append(&mut wasm, text);
    wasm
}

fn append(wasm: &mut Vec<u8>, text: &str) {
    let section = CustomSection {
        name: SECTION.into(),
        data: text.as_bytes().into(),
    };
    wasm.push(wasm_encoder::ComponentSection::id(&section));
    wasm_encoder::Encode::encode(&section, wasm);
}

fn without_manifest() -> Vec<u8> {
    let wasm = guest();
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(&wasm) {
        match payload.expect("a valid guest") {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::CustomSection(section) if depth == 0 && section.name() == SECTION => {
                let range = section.range();
                let at = |offset: u64| usize::try_from(offset).expect("a small file");
                let range = at(range.start)..at(range.end);
                // In front of it stand the section's number and its length in LEB128.
                let mut length = range.len() >> 7;
                let mut digits = 1;
                while length > 0 {
                    digits += 1;
                    length >>= 7;
                }
                return [&wasm[..range.start - digits - 1], &wasm[range.end..]].concat();
            }
            _ => {}
        }
    }
    panic!("the guest has no manifest");
}

fn runtime(cache_dir: Option<PathBuf>) -> Runtime {
    crate::support::runtime(Options {
        cache_dir,
        max_instances: 4,
        ..Options::default()
    })
}

async fn refusal(wasm: Vec<u8>) -> LoadError {
    match runtime(None).load(wasm).await {
        Err(error) => error,
        Ok(component) => panic!("loaded {component:?}"),
    }
}

fn problems(error: LoadError) -> Vec<(String, String)> {
    match error {
        LoadError::Manifest(problems) => problems
            .into_iter()
            .map(|Problem { key, message }| (key, message))
            .collect(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_component_tells_what_it_is() {
    let runtime = runtime(None);
    let component = runtime.load(guest()).await.expect("the guest loads");
    assert_eq!(component.manifest().id, "test-guest");
    assert_eq!(component.digest().len(), 64);
    assert_eq!(component.size(), guest().len());
    let all = Exports {
        video: true,
        voice: true,
        script: true,
        tasks: true,
        catalog: true,
        account: true,
        webhook: true,
    };
    assert_eq!(component.exports(), all);
    assert_eq!(runtime.live_instances(), 0);
}

#[tokio::test]
async fn rubbish_is_refused() {
    for (wasm, why) in [
        (Vec::new(), "unexpected end"),
        (b"\0asm".to_vec(), "unexpected end"),
        (b"MZ rubbish and more rubbish".to_vec(), "magic"),
        (guest()[..guest().len() / 2].to_vec(), ""),
        (
            wasm_encoder::Module::new().finish(),
            "a core module, not a component",
        ),
    ] {
        let error = refusal(wasm).await;
        let LoadError::Invalid(message) = &error else {
            panic!("{error}")
        };
        assert!(message.contains(why), "{message}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_unread() {
    let error = refusal(vec![0; (32 << 20) + 1]).await;
    assert_eq!(
        error.to_string(),
        "the file has 33554433 bytes; a plugin may have 33554432"
    );
}

#[tokio::test]
async fn a_manifest_must_be_there_once() {
    assert!(matches!(
        refusal(without_manifest()).await,
        LoadError::NoManifest
    ));
    let mut twice = guest();
    append(&mut twice, "id = \"other\"");
    let error = refusal(twice).await;
    assert_eq!(
        error.to_string(),
        "not a valid WebAssembly component: there are two manifests"
    );
    let found = problems(refusal(with_manifest("id = \"a\"\nname = ")).await);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "manifest");
    assert!(
        found[0].1.starts_with("is not TOML, line 2: "),
        "{}",
        found[0].1
    );
}

#[tokio::test]
async fn a_manifest_must_fit_the_exports() {
    let text = include_str!("../guest/plugin.toml");
    let head = text.split("[video]").next().expect("a beginning");
    let rest = &text[text.find("[script]").expect("a table")..];
    let found = problems(refusal(with_manifest(&format!("{head}{rest}"))).await);
    assert_eq!(
        found,
        [
            ("options.video".to_owned(), "there is no [video]".to_owned()),
            (
                "video".to_owned(),
                "the component exports `video`, but the manifest has no [video]".to_owned()
            ),
            (
                "voice".to_owned(),
                "the component exports `voice`, but the manifest has no [voice]".to_owned()
            ),
        ]
    );
}

/// A component that imports these and exports nothing.
fn importing(names: &[&str]) -> Vec<u8> {
    let mut types = ComponentTypeSection::new();
    let mut imports = ComponentImportSection::new();
    for (index, name) in names.iter().enumerate() {
        types.instance(&InstanceType::new());
        let index = u32::try_from(index).expect("a few");
        imports.import(*name, ComponentTypeRef::Instance(index));
    }
    let mut component = Component::new();
    component.section(&types);
    component.section(&imports);
    let mut wasm = component.finish();
    append(&mut wasm, include_str!("../guest/plugin.toml"));
    wasm
}

#[tokio::test]
async fn imports_that_are_not_offered_are_named() {
    let error = refusal(importing(&[
        "wasi:sockets/tcp@0.2.0",
        "genvid:provider/http@0.1.0",
        "genvid:provider/http@0.2.0",
        "genvid:provider/tasks@0.1.0",
    ]))
    .await;
    assert_eq!(
        error.to_string(),
        "the component imports what this host does not offer: wasi:sockets/tcp@0.2.0, \
         genvid:provider/http@0.2.0, genvid:provider/tasks@0.1.0"
    );
}

#[tokio::test]
async fn a_component_without_exports_is_refused() {
    let found = problems(refusal(importing(&[])).await);
    let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "video", "voice", "script", "tasks", "webhook", "account", "video"
        ]
    );
    assert_eq!(
        found[0].1,
        "stands in the manifest, but the component does not export `video`"
    );
}

#[tokio::test]
async fn memory_at_the_start_must_be_granted() {
    let text = include_str!("../guest/plugin.toml").replace("memory_mib = 32", "memory_mib = 1");
    let found = problems(refusal(with_manifest(&text)).await);
    assert_eq!(
        found,
        [(
            "limits.memory_mib".to_owned(),
            "is too little to start: the plugin asked for 1114112 bytes; it may have 1048576"
                .to_owned()
        )]
    );
}

fn only_entry(folder: &std::path::Path) -> PathBuf {
    let entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("one").path())
        .collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries[0].clone()
}

#[tokio::test]
async fn compiled_plugins_are_kept_and_taken_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("compiled");
    let first = runtime(Some(cache.clone()));
    let digest = first
        .load(guest())
        .await
        .expect("the guest loads")
        .digest()
        .to_owned();
    let entry = only_entry(&cache);
    let name = entry
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    assert!(
        name.starts_with(&digest) && name.ends_with(".cwasm"),
        "{name}"
    );
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path).expect("there").permissions().mode() & 0o777
    };
    assert_eq!((mode(&cache), mode(&entry)), (0o700, 0o600));
    let written = std::fs::read(&entry).expect("a file");
    let time = std::fs::metadata(&entry)
        .and_then(|there| there.modified())
        .expect("a time");

    let second = runtime(Some(cache.clone()));
    let component = second.load(guest()).await.expect("the guest loads");
    let plugin = component
        .configure(grant("http://127.0.0.1:1"))
        .expect("the grant fits");
    assert!(plugin.check(call()).await.result.is_ok());
    let again = std::fs::metadata(&entry)
        .and_then(|there| there.modified())
        .expect("a time");
    assert_eq!(time, again, "it was compiled anew");

    // Whatever the damage, it is compiled anew and runs.
    let mut flipped = written.clone();
    *flipped.last_mut().expect("a byte") ^= 1;
    for damaged in [
        flipped,
        written[..written.len() / 2].to_vec(),
        Vec::new(),
        guest(),
    ] {
        std::fs::write(&entry, damaged).expect("a file");
        let runtime = runtime(Some(cache.clone()));
        let component = runtime.load(guest()).await.expect("the guest loads");
        let plugin = component
            .configure(grant("http://127.0.0.1:1"))
            .expect("the grant fits");
        assert!(plugin.check(call()).await.result.is_ok());
        assert_eq!(
            std::fs::read(only_entry(&cache)).expect("a file").len(),
            written.len()
        );
    }
}

#[tokio::test]
async fn a_cache_that_others_may_write_to_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777))
        .expect("permissions");
    let options = Options {
        cache_dir: Some(folder.path().to_owned()),
        ..Options::default()
    };
    let error = Runtime::new(options).expect_err("a shared folder");
    assert!(matches!(error, Error::Cache(_)), "{error}");
}
