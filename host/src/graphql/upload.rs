//! Uploads: announcing and completing them.

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};

use super::{
    context,
    error::settle,
    fields::Fields,
    problems::{ConflictProblem, InvalidInputProblem, NotFoundProblem, outcome},
    scalars::{DateTime, Url},
};
use crate::{
    ids::UploadId,
    media::{Intake, Links},
    uploads::{self, Wish},
};

/// A picture to upload.
#[derive(InputObject)]
pub(super) struct CreateUploadInput {
    /// Media type of the picture: `image/png`, `image/jpeg` or `image/webp`. What arrives is
    /// looked at; what it is called proves nothing. Not every provider takes every type.
    content_type: String,
    /// Its exact size in bytes, 1 to the operator's limit, 20 MiB by default.
    size: i32,
    /// Its SHA-256 in 64 hexadecimal digits. When it is given, what arrives must have it.
    sha256: Option<String>,
    /// What the file is called, at most 200 characters; for people only.
    file_name: Option<String>,
}

/// An upload to complete.
#[derive(InputObject)]
pub(super) struct CompleteUploadInput {
    /// Which upload.
    upload_id: ID,
}

/// Where a picture is sent to. Send it as it is, as the body of one request, then call
/// `completeUpload`.
#[derive(SimpleObject)]
pub(super) struct Upload {
    /// Opaque, begins with `upl_`.
    id: ID,
    /// The address. It is a permission: whoever has it may send this one picture.
    url: Url,
    /// The HTTP method, always `PUT`.
    method: &'static str,
    /// Headers that the request must have, besides those that every client sends by itself.
    headers: Vec<UploadHeader>,
    /// When the address stops working, and the upload can be completed no more.
    expires_at: DateTime,
}

/// A header of an HTTP request.
#[derive(SimpleObject)]
pub(super) struct UploadHeader {
    /// Its name.
    name: String,
    /// Its value.
    value: String,
}

/// A picture that was uploaded and checked.
#[derive(SimpleObject)]
pub(super) struct UploadedImage {
    /// Id of the upload.
    id: ID,
    /// What stands for the picture in `productImages` and `images`, for example
    /// `upload:upl_01a204190f667761916d48463c070a46`. Stable as long as a project names it;
    /// otherwise the picture is removed after the operator's time, a week by default.
    reference: Url,
    /// Where a browser can show it, signed for a limited time: ask again for a fresh one rather
    /// than storing it.
    url: Option<Url>,
    /// Media type, as the bytes show it.
    content_type: String,
    /// Size in bytes.
    size: i32,
    /// SHA-256 in 64 hexadecimal digits.
    sha256: Option<String>,
    /// What the file is called.
    file_name: Option<String>,
}

/// The upload was announced.
#[derive(SimpleObject)]
pub(super) struct CreateUploadSuccess {
    /// Where to send the picture.
    upload: Upload,
}

/// The picture is there.
#[derive(SimpleObject)]
pub(super) struct CompleteUploadSuccess {
    /// The picture.
    image: UploadedImage,
}

outcome!(
    /// What became of `createUpload`.
    CreateUploadResult =
        CreateUploadSuccess | InvalidInput(InvalidInputProblem) | Conflict(ConflictProblem)
);

outcome!(
    /// What became of `completeUpload`.
    CompleteUploadResult = CompleteUploadSuccess
        | InvalidInput(InvalidInputProblem)
        | NotFound(NotFoundProblem)
        | Conflict(ConflictProblem)
);

impl Upload {
    fn new(row: &uploads::Upload, intake: Intake) -> Self {
        Self {
            id: row.id.into(),
            url: Url::trusted(intake.url),
            method: "PUT",
            headers: intake
                .headers
                .into_iter()
                .map(|(name, value)| UploadHeader { name, value })
                .collect(),
            expires_at: row.expires_at.into(),
        }
    }
}

impl UploadedImage {
    async fn new(row: uploads::Upload, links: &Links) -> Self {
        Self {
            id: row.id.into(),
            reference: Url::trusted(uploads::reference(row.id)),
            url: links.picture(row.id).await.map(Url::trusted),
            content_type: row.mime,
            // The operator's limit is below 2^31.
            size: i32::try_from(row.size).unwrap_or(i32::MAX),
            sha256: row.found_sha256,
            file_name: row.file_name,
        }
    }
}

#[derive(Default)]
pub(super) struct UploadMutations;

#[Object]
impl UploadMutations {
    /// Announces a picture of a product, and answers where to send it: past this API, straight
    /// to the store. At most 20 of a user's uploads are open at a time.
    async fn create_upload(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The picture.")] input: CreateUploadInput,
    ) -> Result<CreateUploadResult, Error> {
        let user = context::user(ctx)?;
        let created = async {
            let wish = Wish {
                mime: input.content_type,
                size: u64::try_from(input.size).unwrap_or(0),
                sha256: input.sha256,
                file_name: input.file_name,
            };
            let services = context::services(ctx);
            let (row, intake) = services.uploads.create(user.id, wish).await?;
            let upload = Upload::new(&row, intake);
            Ok(CreateUploadSuccess { upload }.into())
        };
        settle(ctx, created.await)
    }

    /// Takes the picture that was sent, after a look at its bytes. What is not the picture that
    /// was announced is removed, and the problem's `path` names the field of `createUpload` that
    /// it does not fit: `contentType`, `size` or `sha256`. May be repeated: the answer stays the
    /// same.
    async fn complete_upload(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which upload.")] input: CompleteUploadInput,
    ) -> Result<CompleteUploadResult, Error> {
        let user = context::user(ctx)?;
        let completed = async {
            let mut fields = Fields::default();
            let id = fields.id::<UploadId>("uploadId", &input.upload_id);
            let id = fields.finish_with(id)?;
            let services = context::services(ctx);
            let row = services.uploads.complete(user.id, id).await?;
            let image = UploadedImage::new(row, &services.links).await;
            Ok(CompleteUploadSuccess { image }.into())
        };
        settle(ctx, completed.await)
    }
}
