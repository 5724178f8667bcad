//! The servers that a world on servers has beside its database: one each for every world, so
//! that a test may stop or empty them.

use genvid_testing::{BUCKET, KEY_ID, ObjectStore, Redis, SECRET};

use crate::backend::Backend;

/// Redis and the store of media.
#[derive(Debug)]
pub(crate) struct Outside {
    /// Redis.
    pub(crate) redis: Redis,
    /// The store.
    pub(crate) store: ObjectStore,
}

impl Outside {
    /// Starts what a world on this backend needs.
    pub(crate) async fn start(backend: Backend) -> Option<Self> {
        if backend == Backend::Embedded {
            return None;
        }
        let redis = tokio::task::spawn_blocking(Redis::start)
            .await
            .expect("it ran");
        Some(Self {
            redis: redis.unwrap_or_else(|error| panic!("no Redis: {error}")),
            store: ObjectStore::start().await.expect("a store"),
        })
    }

    /// What a server is told of them, by environment.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        [
            ("REDIS_URL", self.redis.url()),
            ("GENVID__MEDIA__STORE", "s3".to_owned()),
            ("GENVID__MEDIA__S3__BUCKET", BUCKET.to_owned()),
            (
                "GENVID__MEDIA__S3__ENDPOINT",
                self.store.address().to_string(),
            ),
            ("GENVID__MEDIA__S3__PATH_STYLE", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}
