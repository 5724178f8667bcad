//! `Project`: queries and mutations.

use std::sync::Arc;

use async_graphql::{Context, Error, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use super::{
    budget::{ProjectBudget, SetProjectBudgetInput, SetProjectBudgetSuccess},
    connection::{Connection, Named, decode_cursor, encode_cursor, page_cost, page_size},
    context,
    error::{self, Refusal, Setback, settle},
    fields::{self, Fields},
    problems::{InvalidInputProblem, NotFoundProblem, RateLimitedProblem, outcome},
    scalars::{DateTime, Url},
};
use crate::{
    billing::budget::Limit,
    ids::ProjectId,
    projects::{self, Draft},
    rates::Act,
    uploads,
};

pub(super) struct Project(pub(super) Arc<projects::Project>);

/// A product that videos are made for.
#[Object]
impl Project {
    /// Opaque, begins with `prj_`.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// What its owner calls it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Name of the product, as scripts should speak it; null: the project's name is used.
    async fn product_name(&self) -> Option<&str> {
        some(&self.0.product_name)
    }

    /// What the product is, for the writer of scripts.
    async fn product_description(&self) -> Option<&str> {
        some(&self.0.product_description)
    }

    /// Pictures of the product, in order of importance, as they were given: addresses, and
    /// references to uploads (`upload:upl_…`).
    async fn product_images(&self) -> Vec<Url> {
        self.0
            .product_images
            .iter()
            .filter_map(|link| Url::picture(link))
            .collect()
    }

    /// The same pictures, in the same order, as a browser can show them.
    #[graphql(complexity = "projects::MAX_IMAGES * child_complexity + 1")]
    async fn pictures(&self, ctx: &Context<'_>) -> Vec<ProductPicture> {
        let links = &context::services(ctx).links;
        let mut pictures = Vec::new();
        for link in &self.0.product_images {
            let Some(reference) = Url::picture(link) else {
                continue;
            };
            let url = match uploads::referred(link) {
                Some(upload) => links.picture(upload).await.map(Url::trusted),
                None => Url::foreign(link),
            };
            pictures.push(ProductPicture { reference, url });
        }
        pictures
    }

    /// The most that its jobs may cost; null: as much as the caller has.
    async fn budget(&self) -> Option<ProjectBudget> {
        self.0.budget.map(Into::into)
    }

    /// Since when.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When its words or pictures changed last.
    async fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }
}

/// A picture of a product.
#[derive(SimpleObject)]
pub(super) struct ProductPicture {
    /// What stands for it in `productImages`: stable, also for an upload.
    reference: Url,
    /// Where a browser can show it. Of an upload, a link that is signed for a limited time: ask
    /// again for a fresh one rather than storing it.
    url: Option<Url>,
}

impl Named for Project {
    const NAME: &'static str = "Project";
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

#[derive(Default)]
pub(super) struct ProjectQueries;

#[Object]
impl ProjectQueries {
    /// One of the caller's projects; null when there is no such one.
    async fn project(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Id of the project.")] id: ID,
    ) -> Result<Option<Project>, Error> {
        let user = context::user(ctx)?;
        let id: ProjectId = fields::argument("id", &id)?;
        let found = context::services(ctx).projects.find(user.id, id).await;
        let found = found.map_err(|failed| error::project(ctx, failed))?;
        Ok(found.map(|project| Project(Arc::new(project))))
    }

    /// The caller's projects, newest first.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn projects(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At most so many, 1 to 100; without it 20.")] first: Option<i32>,
        #[graphql(desc = "Only those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<Project>, Error> {
        let user = context::user(ctx)?;
        let first = page_size(first)?;
        let after: Option<ProjectId> = decode_cursor("after", after.as_deref())?;
        let page = context::services(ctx)
            .projects
            .list(user.id, after, first)
            .await
            .map_err(|failed| error::project(ctx, failed))?;
        let entries = page
            .items
            .into_iter()
            .map(|project| (encode_cursor(project.id), Project(Arc::new(project))));
        Ok(Connection::new(entries, after.is_some(), page.more))
    }
}

/// A project to add.
#[derive(InputObject)]
pub(super) struct CreateProjectInput {
    /// What its owner calls it, 1 to 200 characters.
    name: String,
    /// Name of the product, at most 200 characters; without it, scripts speak `name`.
    product_name: Option<String>,
    /// What the product is and whom it helps, at most 5,000 characters. Scripts claim only
    /// what stands here.
    product_description: Option<String>,
    /// Pictures of the product, at most 9, most important first: public `https` addresses, or
    /// `reference`s of completed uploads.
    product_images: Option<Vec<Url>>,
}

/// Changes of a project. What is left out stays as it is; `null` empties it.
#[derive(InputObject)]
pub(super) struct UpdateProjectInput {
    /// Which project.
    id: ID,
    /// What its owner calls it, 1 to 200 characters.
    name: MaybeUndefined<String>,
    /// Name of the product, at most 200 characters.
    product_name: MaybeUndefined<String>,
    /// What the product is, at most 5,000 characters.
    product_description: MaybeUndefined<String>,
    /// Pictures of the product, at most 9 public `https` addresses or `reference`s of completed
    /// uploads; replaces all of them.
    product_images: MaybeUndefined<Vec<Url>>,
}

/// A project to delete.
#[derive(InputObject)]
pub(super) struct DeleteProjectInput {
    /// Which project.
    id: ID,
}

/// The project was added.
#[derive(SimpleObject)]
pub(super) struct CreateProjectSuccess {
    /// The new project.
    project: Project,
}

/// The project was changed.
#[derive(SimpleObject)]
pub(super) struct UpdateProjectSuccess {
    /// The project as it is now.
    project: Project,
}

/// The project is out of sight.
#[derive(SimpleObject)]
pub(super) struct DeleteProjectSuccess {
    /// Id of the project that was deleted.
    deleted_project_id: ID,
}

outcome!(
    /// What became of `createProject`.
    CreateProjectResult = CreateProjectSuccess | InvalidInput(InvalidInputProblem)
        | RateLimited(RateLimitedProblem)
);

outcome!(
    /// What became of `updateProject`.
    UpdateProjectResult =
        UpdateProjectSuccess | InvalidInput(InvalidInputProblem) | NotFound(NotFoundProblem)
);

outcome!(
    /// What became of `deleteProject`.
    DeleteProjectResult =
        DeleteProjectSuccess | InvalidInput(InvalidInputProblem) | NotFound(NotFoundProblem)
);

impl CreateProjectInput {
    fn draft(self) -> Result<Draft, Refusal> {
        let mut fields = Fields::default();
        let images = self
            .product_images
            .map(|links| fields.links("productImages", links));
        fields.finish()?;
        Ok(Draft {
            name: Some(self.name),
            product_name: self.product_name,
            product_description: self.product_description,
            product_images: images,
        })
    }
}

impl UpdateProjectInput {
    fn draft(self) -> Result<(ProjectId, Draft), Refusal> {
        let mut fields = Fields::default();
        let id = fields.id("id", &self.id);
        let images = given(self.product_images).map(|links| fields.links("productImages", links));
        let id = fields.finish_with(id)?;
        let draft = Draft {
            name: given(self.name),
            product_name: given(self.product_name),
            product_description: given(self.product_description),
            product_images: images,
        };
        Ok((id, draft))
    }
}

/// What was given: `null` empties.
fn given<T: Default>(value: MaybeUndefined<T>) -> Option<T> {
    match value {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(T::default()),
        MaybeUndefined::Value(value) => Some(value),
    }
}

outcome!(
    /// What became of `setProjectBudget`.
    SetProjectBudgetResult =
        SetProjectBudgetSuccess | InvalidInput(InvalidInputProblem) | NotFound(NotFoundProblem)
);

#[derive(Default)]
pub(super) struct ProjectMutations;

#[Object]
impl ProjectMutations {
    /// Adds a project.
    async fn create_project(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project.")] input: CreateProjectInput,
    ) -> Result<CreateProjectResult, Error> {
        let user = context::user(ctx)?;
        let created = async {
            let draft = input.draft()?;
            let row = context::services(ctx)
                .projects
                .create(user.id, draft)
                .await?;
            let project = Project(Arc::new(row));
            Ok(CreateProjectSuccess { project }.into())
        };
        let created = context::counted(ctx, Act::CreateProject, created).await;
        settle(ctx, created)
    }

    /// Changes a project's words and pictures. Jobs that were accepted before keep the old
    /// ones.
    async fn update_project(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which project, and what changes.")] input: UpdateProjectInput,
    ) -> Result<UpdateProjectResult, Error> {
        let user = context::user(ctx)?;
        let updated = async {
            let (id, draft) = input.draft()?;
            let row = context::services(ctx)
                .projects
                .update(user.id, id, draft)
                .await?;
            let project = Project(Arc::new(row));
            Ok(UpdateProjectSuccess { project }.into())
        };
        settle(ctx, updated.await)
    }

    /// Sets the most that a project's jobs may cost, or takes that back. A job that would pass it
    /// is not accepted. When it is lowered below what jobs hold, those that come to their next
    /// paid call are stopped, one after the other, until the others fit; nothing more is bought. Not
    /// for API keys.
    async fn set_project_budget(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which project, and how much.")] input: SetProjectBudgetInput,
    ) -> Result<SetProjectBudgetResult, Error> {
        let user = context::person(ctx)?;
        let set = async {
            let mut fields = Fields::default();
            let id = fields.id::<ProjectId>("projectId", &input.project_id);
            let id = fields.finish_with(id)?;
            let limit = input.credits.map(|credits| Limit {
                credits: credits.into(),
                period: input.period.into(),
            });
            let row = context::services(ctx)
                .projects
                .set_budget(user.id, id, limit)
                .await
                .map_err(|error| match error {
                    projects::Error::NotFound => {
                        Refusal::NotFound(NotFoundProblem::new("project", "projectId")).into()
                    }
                    other => Setback::from(other),
                })?;
            let project = Project(Arc::new(row));
            Ok(SetProjectBudgetSuccess { project }.into())
        };
        settle(ctx, set.await)
    }

    /// Takes a project out of sight. Its jobs stay; links to their files are given out no more,
    /// those of the server itself stop working, and the files are removed after the operator's
    /// time, a week by default. Jobs that run go on to their end.
    async fn delete_project(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which project.")] input: DeleteProjectInput,
    ) -> Result<DeleteProjectResult, Error> {
        let user = context::user(ctx)?;
        let deleted = async {
            let mut fields = Fields::default();
            let id = fields.id::<ProjectId>("id", &input.id);
            let id = fields.finish_with(id)?;
            context::services(ctx).projects.delete(user.id, id).await?;
            let deleted_project_id = id.into();
            Ok(DeleteProjectSuccess { deleted_project_id }.into())
        };
        settle(ctx, deleted.await)
    }
}
