//! The built plugins, as they are or with another manifest.

use std::{
    fs,
    path::{Path, PathBuf},
};

use genvid_testkit::Vendor;

/// Where `cargo xtask plugins` leaves the components.
const BUILT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/plugins");
/// Where it leaves the guest that misbehaves.
const BUILT_FOR_TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/test-plugins");

/// A change of one line of a manifest: the text to find, and what stands there instead. Not
/// longer than the found text, because the section's length stays.
#[derive(Debug, Clone)]
pub(crate) struct Edit {
    /// Which plugin.
    pub(crate) id: &'static str,
    /// What stands there.
    pub(crate) find: &'static str,
    /// What is to stand there.
    pub(crate) put: String,
}

/// Fills a folder with the four vendors' plugins and, if wanted, the guest that misbehaves.
pub(crate) fn install(folder: &Path, edits: &[Edit], with_guest: bool) {
    fs::create_dir_all(folder).expect("a folder for plugins");
    let vendors = Vendor::ALL.into_iter().map(|vendor| (BUILT, vendor.id()));
    let guest = with_guest.then_some((BUILT_FOR_TESTS, "test-guest"));
    for (place, id) in vendors.chain(guest) {
        let built = PathBuf::from(place).join(format!("{id}.wasm"));
        assert!(
            built.is_file(),
            "{} is missing: build it with `cargo xtask plugins`",
            built.display()
        );
        let installed = folder.join(format!("{id}.wasm"));
        let mine: Vec<_> = edits.iter().filter(|edit| edit.id == id).collect();
        if mine.is_empty() {
            fs::copy(&built, &installed).expect("a copy of the plugin");
            continue;
        }
        let mut wasm = fs::read(&built).expect("a readable plugin");
        for edit in mine {
            replace(&mut wasm, edit);
        }
        fs::write(&installed, wasm).expect("a place for the plugin");
    }
}

/// Copies a component that says version 0.1.0, or another one of five letters, as one that says
/// `version`.
pub(crate) fn with_version(from: &Path, version: &str, to: &Path) {
    let mut wasm = fs::read(from).expect("a readable plugin");
    let begins = b"\nversion = \"";
    let place = wasm
        .windows(begins.len())
        .position(|bytes| bytes == begins)
        .expect("a version")
        + begins.len();
    wasm[place..place + 5].copy_from_slice(version.as_bytes());
    fs::write(to, wasm).expect("a place for the plugin");
}

fn replace(wasm: &mut [u8], edit: &Edit) {
    let Edit { id, find, put } = edit;
    assert!(
        put.len() <= find.len(),
        "{put:?} does not fit in the place of {find:?}"
    );
    let places: Vec<usize> = wasm
        .windows(find.len())
        .enumerate()
        .filter(|(_, bytes)| *bytes == find.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert_eq!(places.len(), 1, "{id}: {find:?} has to be there once");
    let place = &mut wasm[places[0]..places[0] + find.len()];
    place.fill(b' ');
    place[..put.len()].copy_from_slice(put.as_bytes());
}
