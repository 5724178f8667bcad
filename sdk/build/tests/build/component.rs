use genvid_build::MANIFEST_SECTION;
use genvid_build::component::{ComponentError, encode, inspect, with_manifest};
use wasm_encoder::{
    ComponentBuilder, ComponentExportKind, ComponentTypeRef, CustomSection, InstanceType, Module,
};

/// Imports an instance and exports it again under another name. Its nested component and
/// core module have a name and a manifest section of their own, which are not the outer one's.
fn handmade() -> ComponentBuilder {
    let mut nested = ComponentBuilder::default();
    let empty = nested.type_instance(None, &InstanceType::new());
    nested.import("inner", ComponentTypeRef::Instance(empty));
    nested.custom_section(&manifest_section(b"inner"));
    let mut module = Module::new();
    module.section(&manifest_section(b"core"));

    let mut component = ComponentBuilder::default();
    component.component(None, nested);
    component.core_module(None, &module);
    let empty = component.type_instance(None, &InstanceType::new());
    let import = component.import(
        "genvid:provider/http@0.1.0",
        ComponentTypeRef::Instance(empty),
    );
    component.export(
        "genvid:provider/video@0.1.0",
        ComponentExportKind::Instance,
        import,
        None,
    );
    component
}

fn manifest_section(data: &[u8]) -> CustomSection<'_> {
    CustomSection {
        name: MANIFEST_SECTION.into(),
        data: data.into(),
    }
}

#[test]
fn the_manifest_comes_back_as_it_went_in() {
    let component = handmade().finish();
    let before = inspect(&component).expect("a component");
    assert_eq!(
        before.manifest, None,
        "a nested manifest is not the component's"
    );
    assert_eq!(before.imports, ["genvid:provider/http@0.1.0"]);
    assert_eq!(before.exports, ["genvid:provider/video@0.1.0"]);

    let text = "id = \"heygen\"\nname = \"HeyGen – é\"\n";
    let bytes = with_manifest(&component, text).expect("appended");
    assert!(bytes.starts_with(&component), "nothing before it changes");
    let after = inspect(&bytes).expect("a component");
    assert_eq!(after.manifest.as_deref(), Some(text));
    assert_eq!(
        (after.imports, after.exports),
        (before.imports, before.exports)
    );
    wasmparser::Validator::new()
        .validate_all(&bytes)
        .expect("still valid");
}

#[test]
fn a_second_manifest_is_refused() {
    let once = with_manifest(&handmade().finish(), "id = \"a1\"").expect("appended");
    assert!(matches!(
        with_manifest(&once, "id = \"a2\""),
        Err(ComponentError::ManyManifests(2))
    ));

    let mut twice = handmade();
    twice.custom_section(&manifest_section(b"a"));
    twice.custom_section(&manifest_section(b"b"));
    assert!(matches!(
        inspect(&twice.finish()),
        Err(ComponentError::ManyManifests(2))
    ));
}

#[test]
fn what_is_no_component_is_told() {
    let module = Module::new().finish();
    let mut cut = handmade().finish();
    cut.truncate(cut.len() - 3);
    for bytes in [&b""[..], b"\0asm", b"# plugin", &module, &cut] {
        assert!(
            matches!(inspect(bytes), Err(ComponentError::Parse(_))),
            "{bytes:?}"
        );
    }
    let mut wrong = handmade();
    wrong.custom_section(&manifest_section(b"\xff\xfe"));
    assert!(matches!(
        inspect(&wrong.finish()),
        Err(ComponentError::ManifestEncoding)
    ));
}

#[test]
fn a_core_module_becomes_a_component() {
    let component = encode(&Module::new().finish()).expect("an empty module");
    let summary = inspect(&component).expect("a component");
    assert!(summary.imports.is_empty() && summary.exports.is_empty());
    assert!(matches!(
        encode(b"not wasm"),
        Err(ComponentError::Encode(_))
    ));
}
