//! What is in the bucket.

use genvid_media::{Key, Listed};

use crate::client::Failure;
use crate::store::{About, Inner};

/// Most names that the store tells at a time (`ListObjectsV2`, `MaxKeys`).
const PAGE: usize = 1_000;

/// At most `most` blobs whose keys begin with `prefix`, behind `after`, in the order of keys.
pub(crate) async fn list(
    inner: &Inner,
    prefix: &str,
    after: Option<&Key>,
    most: usize,
) -> Result<Vec<Listed>, Failure> {
    let ours = &inner.options.prefix;
    let mut found = Vec::new();
    let mut start = after.map(|key| inner.name(key));
    while found.len() < most {
        let wanted = (most - found.len()).min(PAGE);
        let page = inner
            .client
            .list_objects_v2()
            .bucket(&inner.options.bucket)
            .prefix(format!("{ours}{prefix}"))
            .set_start_after(start.take())
            .max_keys(i32::try_from(wanted).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| Failure::of("cannot list objects", &error))?;
        for object in page.contents() {
            let Some(name) = object.key() else { continue };
            start = Some(name.to_owned());
            // Names that are no keys are notes of this store: checksums, its experiment.
            if let Some(key) = name.strip_prefix(ours.as_str())
                && let Ok(key) = Key::parse(key)
            {
                found.push(Listed {
                    key,
                    size: object
                        .size()
                        .and_then(|size| size.try_into().ok())
                        .unwrap_or(0),
                    modified: About::time(object.last_modified().copied()),
                });
            }
        }
        if page.is_truncated() != Some(true) || start.is_none() {
            break;
        }
    }
    Ok(found)
}
