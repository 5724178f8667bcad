//! `createJobToken`: letting somebody without an account watch one job.

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};

use super::{
    context,
    error::{Refusal, settle},
    fields::Fields,
    problems::{InvalidInputProblem, NotFoundProblem, outcome},
    scalars::DateTime,
};
use crate::ids::JobId;

/// Whom to let watch.
#[derive(InputObject)]
pub(super) struct CreateJobTokenInput {
    /// The job (`job_…`), one of the caller's.
    job_id: ID,
    /// For how many minutes, 1 to 1440; without it 60.
    minutes: Option<i32>,
}

/// The token is made.
#[derive(SimpleObject)]
pub(super) struct CreateJobTokenSuccess {
    /// Signs in for `job` and `jobEvents` of this one job, wherever an access token does; not for
    /// what it costs, its attempts and its project. It cannot be withdrawn before its time.
    token: String,
    /// Until when.
    expires_at: DateTime,
}

outcome!(
    /// What became of `createJobToken`.
    CreateJobTokenResult =
        CreateJobTokenSuccess | InvalidInput(InvalidInputProblem) | NotFound(NotFoundProblem)
);

#[derive(Default)]
pub(super) struct JobTokenMutations;

#[Object]
impl JobTokenMutations {
    /// Makes a token with which a browser or a customer can watch one job and fetch its files, and
    /// do nothing else.
    async fn create_job_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which job, and for how long.")] input: CreateJobTokenInput,
    ) -> Result<CreateJobTokenResult, Error> {
        let user = context::user(ctx)?;
        let services = context::services(ctx);
        let made = async {
            let mut fields = Fields::default();
            let id = fields.id::<JobId>("jobId", &input.job_id);
            let id = fields.finish_with(id)?;
            let found = services.jobs.find(user.id, id).await?;
            let Some(job) = found else {
                let missing = NotFoundProblem::new("job", "jobId");
                return Err(Refusal::NotFound(missing).into());
            };
            let made = services.sessions.job_token(user.id, job.id, input.minutes);
            let (token, expires_at) = made?;
            Ok(CreateJobTokenSuccess {
                token,
                expires_at: expires_at.into(),
            }
            .into())
        };
        settle(ctx, made.await)
    }
}
