//! A server in this process, made of s3s, which speaks the protocol and checks signatures, and
//! s3s-fs, which keeps objects in a folder. Added to s3s-fs is what it lacks: a list of
//! unfinished uploads, and keys that contain one another. A plain one ignores conditions and
//! checksums, as stores do that know only the old protocol.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

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

use crate::server::{BUCKET, KEY_ID, SECRET, Server};

/// Domain under which buckets have hosts of their own.
pub(crate) const DOMAIN: &str = "s3.genvid.test";

/// The server. Gone when it is dropped.
pub(crate) struct Local {
    port: u16,
    uploads: Uploads,
    folder: TempDir,
    server: AbortHandle,
}

/// Key and beginning of unfinished uploads, by id.
type Uploads = Arc<Mutex<HashMap<String, (String, SystemTime)>>>;

impl Drop for Local {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Server for Local {
    fn port(&self) -> u16 {
        self.port
    }
}

impl Local {
    /// Refuses overwriting and keeps checksums.
    pub(crate) async fn start() -> Self {
        Self::listen(false).await
    }

    /// Ignores conditions and checksums.
    pub(crate) async fn plain() -> Self {
        Self::listen(true).await
    }

    async fn listen(plain: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let uploads = Uploads::default();
        let mut service = S3ServiceBuilder::new(Store {
            files: FileSystem::new(folder.path()).unwrap(),
            root: folder.path().to_owned(),
            uploads: Arc::clone(&uploads),
            plain,
        });
        service.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        service.set_host(SingleDomain::new(DOMAIN).unwrap());
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            loop {
                let Ok((connection, _)) = listener.accept().await else {
                    continue;
                };
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(connection), service.clone()),
                );
            }
        });
        Self {
            port,
            uploads,
            folder,
            server: server.abort_handle(),
        }
    }

    /// Lets all unfinished uploads have begun so much earlier.
    pub(crate) fn age_uploads(&self, by: Duration) {
        for (_, began) in self.uploads.lock().unwrap().values_mut() {
            *began -= by;
        }
    }

    /// Keys of unfinished uploads.
    pub(crate) fn uploads(&self) -> Vec<String> {
        let uploads = self.uploads.lock().unwrap();
        uploads.values().map(|(key, _)| key.clone()).collect()
    }

    /// Keys of unfinished uploads, and files of their parts.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let mut found = self.uploads();
        for file in std::fs::read_dir(self.folder.path()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            if name.starts_with(".upload") && name.contains(".part-") {
                found.push(name);
            }
        }
        found
    }

    /// Objects of the bucket.
    pub(crate) fn objects(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.folder.path().join(BUCKET))
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect()
    }
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
        let id = answer.output.upload_id.clone().unwrap();
        let begun = (key, SystemTime::now());
        self.uploads.lock().unwrap().insert(id, begun);
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
        self.uploads.lock().unwrap().remove(&id);
        Ok(answer)
    }

    async fn abort_multipart_upload(
        &self,
        mut req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let id = req.input.upload_id.clone();
        req.input.key = flat(req.input.key);
        let answer = self.files.abort_multipart_upload(req).await?;
        self.uploads.lock().unwrap().remove(&id);
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
        let mut objects: Vec<_> = std::fs::read_dir(self.root.join(bucket))
            .unwrap()
            .map(|file| file.unwrap())
            .map(|file| {
                let name = file.file_name().into_string().unwrap();
                (name.replace("%2F", "/"), file.metadata().unwrap())
            })
            .filter(|(name, _)| !name.starts_with(".tmp") && name.starts_with(&prefix))
            .filter(|(name, _)| start_after.as_ref().is_none_or(|after| name > after))
            .collect();
        objects.sort_by(|one, other| one.0.cmp(&other.0));
        // Smaller pages than asked for are allowed, and show who believes in full ones.
        let most = max_keys
            .map_or(1_000, |most| usize::try_from(most).unwrap())
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
                        size: Some(metadata.len().try_into().unwrap()),
                        last_modified: Some(metadata.modified().unwrap().into()),
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
        let mut uploads: Vec<_> = (self.uploads.lock().unwrap().iter())
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
