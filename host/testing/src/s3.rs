//! S3: a server in this process, made of s3s, which speaks the protocol and checks signatures, and
//! s3s-fs, which keeps objects in a folder. Added to s3s-fs is what it lacks: a list of
//! unfinished uploads, and keys that contain one another. A plain one ignores conditions and
//! checksums, as stores do that know only the old protocol.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    DeleteObjectInput, DeleteObjectOutput, GetObjectInput, GetObjectOutput, HeadObjectInput,
    HeadObjectOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectsV2Input,
    ListObjectsV2Output, MultipartUpload, Object, PutObjectInput, PutObjectOutput, UploadPartInput,
    UploadPartOutput,
};
use s3s::host::SingleDomain;
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use url::Url;

/// The bucket that the server has.
pub const BUCKET: &str = "films";
/// Its one user.
pub const KEY_ID: &str = "TESTS";
/// The user's secret.
pub const SECRET: &str = "a secret of nobody";
/// Domain under which buckets have hosts of their own.
pub const DOMAIN: &str = "s3.genvid.test";

/// The server, with one bucket and one user. It runs on the tokio runtime that started it and
/// is gone when it is dropped.
#[derive(Debug)]
pub struct ObjectStore {
    port: u16,
    uploads: Uploads,
    weather: Arc<Weather>,
    folder: TempDir,
    server: AbortHandle,
}

/// How the server treats requests.
#[derive(Debug, Default)]
struct Weather {
    /// Every so many requests one is answered with 500; none with 0.
    fails_every: AtomicU64,
    /// How long every request waits, in milliseconds.
    waits: AtomicU64,
    requests: AtomicU64,
}

/// Key and beginning of unfinished uploads, by id.
type Uploads = Arc<Mutex<HashMap<String, (String, SystemTime)>>>;

impl Drop for ObjectStore {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl ObjectStore {
    /// Refuses overwriting and keeps checksums.
    ///
    /// # Errors
    /// When there is no room or no port.
    pub async fn start() -> std::io::Result<Self> {
        Self::listen(false).await
    }

    /// Ignores conditions and checksums.
    ///
    /// # Errors
    /// As [`ObjectStore::start`].
    pub async fn plain() -> std::io::Result<Self> {
        Self::listen(true).await
    }

    async fn listen(plain: bool) -> std::io::Result<Self> {
        let folder = TempDir::with_prefix("genvid-s3-")?;
        std::fs::create_dir(folder.path().join(BUCKET))?;
        let uploads = Uploads::default();
        let weather = Arc::new(Weather::default());
        let files = FileSystem::new(folder.path())
            .map_err(|error| std::io::Error::other(format!("{error:?}")))?;
        let mut service = S3ServiceBuilder::new(Store {
            files,
            root: folder.path().to_owned(),
            uploads: Arc::clone(&uploads),
            plain,
        });
        service.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        let domain = SingleDomain::new(DOMAIN).map_err(std::io::Error::other)?;
        service.set_host(domain);
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let sky = Arc::clone(&weather);
        let server = tokio::spawn(async move {
            loop {
                let Ok((connection, _)) = listener.accept().await else {
                    continue;
                };
                let (service, sky) = (service.clone(), Arc::clone(&sky));
                let answer = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let (service, sky) = (service.clone(), Arc::clone(&sky));
                    async move {
                        if sky.strikes().await {
                            let mut answer = http::Response::new(s3s::Body::empty());
                            *answer.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
                            return Ok(answer);
                        }
                        Service::call(&service, request).await
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(connection), answer),
                );
            }
        });
        Ok(Self {
            port,
            uploads,
            weather,
            folder,
            server: server.abort_handle(),
        })
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    ///
    /// # Panics
    /// Never: a port makes a good address.
    #[must_use]
    pub fn address(&self) -> Url {
        format!("http://127.0.0.1:{}", self.port)
            .parse()
            .expect("an address")
    }

    /// From now on one of so many requests is answered with 500; none with 0.
    pub fn fail_every(&self, requests: u64) {
        self.weather.fails_every.store(requests, Ordering::Relaxed);
    }

    /// From now on every request waits so long before anything is done with it.
    pub fn wait(&self, wait: Duration) {
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.weather.waits.store(wait, Ordering::Relaxed);
    }

    /// Lets all unfinished uploads have begun so much earlier.
    pub fn age_uploads(&self, by: Duration) {
        for (_, began) in lock(&self.uploads).values_mut() {
            *began -= by;
        }
    }

    /// Keys of unfinished uploads.
    #[must_use]
    pub fn uploads(&self) -> Vec<String> {
        let uploads = lock(&self.uploads);
        uploads.values().map(|(key, _)| key.clone()).collect()
    }

    /// Keys of unfinished uploads, and files of their parts.
    ///
    /// # Panics
    /// When the server's folder cannot be read.
    #[must_use]
    pub fn unfinished(&self) -> Vec<String> {
        let mut found = self.uploads();
        for file in std::fs::read_dir(self.folder.path()).expect("the server's folder") {
            let name = file.expect("a file").file_name();
            let name = name.to_string_lossy().into_owned();
            if name.starts_with(".upload") && name.contains(".part-") {
                found.push(name);
            }
        }
        found
    }

    /// Bytes of everything that is kept, parts of unfinished uploads included.
    ///
    /// # Panics
    /// When the server's folder cannot be read.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        fn below(folder: &std::path::Path) -> u64 {
            std::fs::read_dir(folder)
                .expect("a readable folder")
                .map(|entry| {
                    let path = entry.expect("an entry").path();
                    if path.is_dir() {
                        return below(&path);
                    }
                    // It may have been removed meanwhile.
                    std::fs::metadata(&path).map_or(0, |file| file.len())
                })
                .sum()
        }
        below(self.folder.path())
    }

    /// Objects of the bucket, as files.
    ///
    /// # Panics
    /// When the server's folder cannot be read.
    #[must_use]
    pub fn objects(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.folder.path().join(BUCKET))
            .expect("the bucket's folder")
            .map(|file| file.expect("a file").path())
            .collect()
    }
}

impl Weather {
    /// Waits; whether this request fails.
    async fn strikes(&self) -> bool {
        let wait = self.waits.load(Ordering::Relaxed);
        if wait > 0 {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        let every = self.fails_every.load(Ordering::Relaxed);
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        every > 0 && number.is_multiple_of(every)
    }
}

/// A test that panicked while it held them left them whole.
fn lock(uploads: &Uploads) -> MutexGuard<'_, HashMap<String, (String, SystemTime)>> {
    uploads.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Store {
    files: FileSystem,
    root: PathBuf,
    uploads: Uploads,
    plain: bool,
}

/// s3s-fs makes folders of the parts of a key, so `a` and `a/b` could not both be kept.
fn flat(key: String) -> String {
    key.replace('/', "%2F")
}

#[async_trait::async_trait]
impl S3 for Store {
    async fn put_object(
        &self,
        mut req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        req.input.key = flat(req.input.key);
        if self.plain {
            req.input.if_none_match = None;
            req.input.checksum_sha256 = None;
            req.input.checksum_algorithm = None;
        }
        self.files.put_object(req).await
    }

    async fn get_object(
        &self,
        mut req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        req.input.key = flat(req.input.key);
        self.files.get_object(req).await
    }

    async fn head_object(
        &self,
        mut req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        req.input.key = flat(req.input.key);
        self.files.head_object(req).await
    }

    async fn delete_object(
        &self,
        mut req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        req.input.key = flat(req.input.key);
        self.files.delete_object(req).await
    }

    async fn create_multipart_upload(
        &self,
        mut req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let key = req.input.key.clone();
        req.input.key = flat(req.input.key);
        let answer = self.files.create_multipart_upload(req).await?;
        if let Some(id) = answer.output.upload_id.clone() {
            lock(&self.uploads).insert(id, (key, SystemTime::now()));
        }
        Ok(answer)
    }

    async fn upload_part(
        &self,
        mut req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        req.input.key = flat(req.input.key);
        self.files.upload_part(req).await
    }

    async fn complete_multipart_upload(
        &self,
        mut req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let id = req.input.upload_id.clone();
        req.input.key = flat(req.input.key);
        if self.plain {
            req.input.if_none_match = None;
        }
        let answer = self.files.complete_multipart_upload(req).await?;
        lock(&self.uploads).remove(&id);
        Ok(answer)
    }

    async fn abort_multipart_upload(
        &self,
        mut req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let id = req.input.upload_id.clone();
        req.input.key = flat(req.input.key);
        let answer = self.files.abort_multipart_upload(req).await?;
        lock(&self.uploads).remove(&id);
        Ok(answer)
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let ListObjectsV2Input {
            bucket,
            prefix,
            start_after,
            max_keys,
            ..
        } = req.input;
        let prefix = prefix.unwrap_or_default();
        // What goes meanwhile is not listed.
        let mut objects: Vec<_> = std::fs::read_dir(self.root.join(bucket))
            .into_iter()
            .flatten()
            .filter_map(|file| {
                let file = file.ok()?;
                let name = file.file_name().into_string().ok()?;
                Some((name.replace("%2F", "/"), file.metadata().ok()?))
            })
            .filter(|(name, _)| !name.starts_with(".tmp") && name.starts_with(&prefix))
            .filter(|(name, _)| start_after.as_ref().is_none_or(|after| name > after))
            .collect();
        objects.sort_by(|one, other| one.0.cmp(&other.0));
        // Smaller pages than asked for are allowed, and show who believes in full ones.
        let most = max_keys
            .map_or(1_000, |most| usize::try_from(most).unwrap_or(0))
            .min(2);
        let more = objects.len() > most;
        objects.truncate(most);
        Ok(S3Response::new(ListObjectsV2Output {
            is_truncated: Some(more),
            contents: Some(
                objects
                    .into_iter()
                    .map(|(key, metadata)| Object {
                        key: Some(key),
                        size: i64::try_from(metadata.len()).ok(),
                        last_modified: metadata.modified().ok().map(Into::into),
                        ..Object::default()
                    })
                    .collect(),
            ),
            ..ListObjectsV2Output::default()
        }))
    }

    /// One upload a page, in the order of keys and ids.
    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let ListMultipartUploadsInput {
            prefix,
            key_marker,
            upload_id_marker,
            ..
        } = req.input;
        let after = key_marker.map(|key| (key, upload_id_marker.unwrap_or_default()));
        let prefix = prefix.unwrap_or_default();
        let mut uploads: Vec<_> = (lock(&self.uploads).iter())
            .map(|(id, (key, began))| ((key.clone(), id.clone()), *began))
            .filter(|(place, _)| place.0.starts_with(&prefix))
            .filter(|(place, _)| after.as_ref().is_none_or(|after| place > after))
            .collect();
        uploads.sort();
        let more = uploads.len() > 1;
        uploads.truncate(1);
        let last = uploads.last().map(|(place, _)| place.clone());
        Ok(S3Response::new(ListMultipartUploadsOutput {
            is_truncated: Some(more),
            next_key_marker: last.clone().map(|(key, _)| key),
            next_upload_id_marker: last.map(|(_, id)| id),
            uploads: Some(
                uploads
                    .into_iter()
                    .map(|((key, id), began)| MultipartUpload {
                        key: Some(key),
                        upload_id: Some(id),
                        initiated: Some(began.into()),
                        ..MultipartUpload::default()
                    })
                    .collect(),
            ),
            ..ListMultipartUploadsOutput::default()
        }))
    }
}
