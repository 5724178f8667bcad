//! Embeds the assets of the GraphiQL page, when they were installed before the build (`npm ci` in `graphiql`).

use std::{env, fmt::Write as _, fs, io, path::Path};

/// Name and media type of each asset. All or none: half a page helps nobody.
const ASSETS: [(&str, &str); 5] = [
    ("react.js", "text/javascript; charset=utf-8"),
    ("react-dom.js", "text/javascript; charset=utf-8"),
    ("graphiql.js", "text/javascript; charset=utf-8"),
    ("graphiql.css", "text/css; charset=utf-8"),
    ("licences.txt", "text/plain; charset=utf-8"),
];

fn main() -> io::Result<()> {
    // Asked when it runs: a target folder may have been brought here from another clone.
    let root = env::var_os("CARGO_MANIFEST_DIR")
        .ok_or_else(|| io::Error::other("CARGO_MANIFEST_DIR is not set"))?;
    let folder = Path::new(&root).join("graphiql").join("assets");
    println!("cargo::rerun-if-changed=build.rs");
    // A path that is not there would be news at every build.
    println!(
        "cargo::rerun-if-changed={}",
        if folder.is_dir() {
            "graphiql/assets"
        } else {
            "graphiql"
        }
    );
    let mut code = String::from("&[\n");
    if ASSETS.iter().all(|(name, _)| folder.join(name).is_file()) {
        for (name, media) in ASSETS {
            let path = folder.join(name);
            // Writing to a string cannot fail.
            let _ = writeln!(
                code,
                "    Asset {{ name: {name:?}, media: {media:?}, bytes: include_bytes!({path:?}) }},"
            );
        }
    }
    code.push(']');
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("OUT_DIR is not set"))?;
    fs::write(Path::new(&out).join("graphiql_assets.rs"), code)
}
