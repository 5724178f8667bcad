//! `job`, `jobs` and `node`.

use std::sync::Arc;

use async_graphql::{Context, Error, ID, InputObject, Interface, Object};

use super::{
    connection::{Connection, decode_cursor, encode_cursor, page_cost, page_size},
    context,
    enums::{JobKind, JobStatus},
    error,
    family::Kin,
    fields,
    job::Job,
    project::Project,
    user::User,
};
use crate::{
    ids::{JobId, ProjectId, UserId},
    jobs::store,
};

/// Which jobs to list. Conditions are joined by "and".
#[derive(InputObject, Default)]
pub(super) struct JobFilter {
    /// Only those of this project.
    project_id: Option<ID>,
    /// Only those in this state.
    status: Option<JobStatus>,
    /// Only those that make this.
    kind: Option<JobKind>,
}

impl JobFilter {
    fn parse(self) -> Result<store::JobFilter, Error> {
        let project = match &self.project_id {
            Some(id) => Some(fields::argument("filter.projectId", id)?),
            None => None,
        };
        Ok(store::JobFilter {
            project,
            status: self.status.map(Into::into),
            kind: self.kind.map(Into::into),
        })
    }
}

/// Something with an id that is unique among everything.
#[derive(Interface)]
#[graphql(field(
    name = "id",
    ty = "ID",
    desc = "Opaque; its beginning tells the type to people."
))]
pub(super) enum Node {
    Job(Job),
    Project(Project),
    User(User),
}

#[derive(Default)]
pub(super) struct JobQueries;

#[Object]
impl JobQueries {
    /// Anything of the caller's by its id; null when there is no such thing.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Id of a job, a project, or the caller.")] id: ID,
    ) -> Result<Option<Node>, Error> {
        let user = context::user(ctx)?;
        let services = context::services(ctx);
        if let Ok(id) = id.parse::<JobId>() {
            let found = services.jobs.find(user.id, id).await;
            let found = found.map_err(|failed| error::job(ctx, failed))?;
            return Ok(found.map(|row| Job(Kin::alone(services, row)).into()));
        }
        if let Ok(id) = id.parse::<ProjectId>() {
            let found = services.projects.find(user.id, id).await;
            let found = found.map_err(|failed| error::project(ctx, failed))?;
            return Ok(found.map(|row| Project(Arc::new(row)).into()));
        }
        let id: UserId = id.parse().map_err(|_| {
            error::invalid_argument("id", "must be an id that begins with job_, prj_ or usr_")
        })?;
        Ok((id == user.id).then(|| User(user).into()))
    }

    /// One of the caller's jobs; null when there is no such one. Also for tokens of
    /// `createJobToken`, for their job.
    async fn job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Id of the job.")] id: ID,
    ) -> Result<Option<Job>, Error> {
        let (user, only) = context::watcher(ctx)?;
        let id: JobId = fields::argument("id", &id)?;
        if only.is_some_and(|only| only != id) {
            return Ok(None);
        }
        let services = context::services(ctx);
        let found = services.jobs.find(user.id, id).await;
        let found = found.map_err(|failed| error::job(ctx, failed))?;
        Ok(found.map(|row| Job(Kin::alone(services, row))))
    }

    /// The caller's jobs, newest first.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At most so many, 1 to 100; without it 20.")] first: Option<i32>,
        #[graphql(desc = "Only those behind this cursor.")] after: Option<String>,
        #[graphql(desc = "Only those that fit; without it all.")] filter: Option<JobFilter>,
    ) -> Result<Connection<Job>, Error> {
        let user = context::user(ctx)?;
        let first = page_size(first)?;
        let after: Option<JobId> = decode_cursor("after", after.as_deref())?;
        let filter = filter.unwrap_or_default().parse()?;
        let services = context::services(ctx);
        let page = services
            .jobs
            .list(user.id, filter, after, first)
            .await
            .map_err(|failed| error::job(ctx, failed))?;
        let entries = Kin::together(services, user.id, page.items)
            .map(|kin| (encode_cursor(kin.row.id), Job(kin)));
        Ok(Connection::new(entries, after.is_some(), page.more))
    }
}
