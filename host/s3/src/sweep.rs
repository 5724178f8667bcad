//! Uploads that nobody will finish: their process died.
//!
//! The store keeps, and bills, the parts of an upload until somebody completes or removes it
//! (S3 User Guide, "Uploading and copying objects using multipart upload").

use std::time::{Duration, SystemTime};

use crate::client::Failure;
use crate::store::Inner;
use crate::upload;

/// After this no upload is still being made. A file is streamed in one go, within hours.
pub(crate) const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// Most pages of a thousand uploads that are looked through at a time.
const MAX_PAGES: usize = 20;

/// Removes uploads under the prefix that began longer ago than `age`. Tells how many.
pub(crate) async fn sweep(inner: &Inner, age: Duration) -> Result<usize, Failure> {
    let mut removed = 0;
    let mut after: Option<(String, Option<String>)> = None;
    for _ in 0..MAX_PAGES {
        let (key, id) = after.take().unzip();
        let page = inner
            .client
            .list_multipart_uploads()
            .bucket(&inner.options.bucket)
            .prefix(&inner.options.prefix)
            .set_key_marker(key)
            .set_upload_id_marker(id.flatten())
            .send()
            .await
            .map_err(|error| Failure::of("cannot list uploads", &error))?;
        for found in page.uploads() {
            let (Some(name), Some(id), Some(began)) =
                (found.key(), found.upload_id(), found.initiated())
            else {
                continue;
            };
            let ours = name.starts_with(&inner.options.prefix);
            let stale = SystemTime::try_from(*began)
                .ok()
                .and_then(|began| SystemTime::now().duration_since(began).ok())
                .is_some_and(|since| since >= age);
            if ours && stale {
                upload::abort(&inner.client, &inner.options.bucket, name, id).await?;
                removed += 1;
            }
        }
        match page.next_key_marker() {
            Some(key) if page.is_truncated() == Some(true) => {
                let id = page.next_upload_id_marker().map(str::to_owned);
                after = Some((key.to_owned(), id));
            }
            _ => break,
        }
    }
    Ok(removed)
}
