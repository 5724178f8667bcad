//! Blobs in S3, or in a store that speaks its protocol.
//!
//! [`S3Store`] is the second adapter of [`genvid_media::BlobStore`]. It streams: a blob is
//! sent in parts of 8 MiB, two at a time, and never held as a whole. Links are presigned, so
//! that readers fetch from the store itself.
//!
//! The store's user needs `s3:GetObject`, `s3:PutObject`, `s3:DeleteObject`,
//! `s3:AbortMultipartUpload` on the prefix, and `s3:ListBucket` on the bucket: it lists
//! what is old, and without it S3 answers 403 for what is not there, so that a missing blob
//! looks like a refusal. Pages that send to presigned links need a CORS rule that allows PUT. With
//! `s3:ListBucketMultipartUploads` uploads that a crash left are removed at the next start; a
//! life-cycle rule of the bucket (`AbortIncompleteMultipartUpload`) does the same.
//!
//! Architecture invariant: this package knows blobs, not jobs. Only it knows the SDK, which
//! takes long to compile; nothing of the SDK is in its public signatures.

mod client;
mod links;
mod list;
mod options;
mod probe;
mod read;
mod store;
mod sweep;
mod upload;
mod writer;

pub use links::{Intake, MAX_LINK};
pub use options::{Credentials, OptionsError, S3Options};
pub use store::{OpenError, S3Store};
pub use writer::PART_BYTES;
