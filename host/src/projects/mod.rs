//! Projects: the products that videos are made for.

use url::Url;

use crate::{
    adapters::sql::{self, Database},
    billing::{
        MOST,
        budget::{Budget, Limit},
    },
    ids::{ProjectId, UserId},
    input::{Problems, check_public_link},
    jobs::{input::ProductBrief, store::Page},
    time::{self, Timestamp},
    uploads::{self, check_references},
};

/// Most pictures of one product.
pub const MAX_IMAGES: usize = 9;
const MAX_NAME: usize = 200;
const MAX_DESCRIPTION: usize = 5_000;
const MAX_URL: usize = 2_048;

/// A product that videos are made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its identifier.
    pub id: ProjectId,
    /// Whose it is.
    pub owner: UserId,
    /// What the owner calls it.
    pub name: String,
    /// Name of the product.
    pub product_name: String,
    /// What the product is.
    pub product_description: String,
    /// Pictures of it: public https links, and references to uploads.
    pub product_images: Vec<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// Last change of its words.
    pub updated_at: Timestamp,
    /// What its jobs may cost, if somebody said so.
    pub budget: Option<Budget>,
}

impl Project {
    /// What a writer needs to know of the product.
    #[must_use]
    pub fn brief(&self) -> ProductBrief {
        let name = if self.product_name.is_empty() {
            &self.name
        } else {
            &self.product_name
        };
        ProductBrief {
            name: name.clone(),
            description: self.product_description.clone(),
            images: self.product_images.clone(),
        }
    }
}

/// The words of a project, as they come from outside.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// What the owner calls it, 1 to 200 characters.
    pub name: Option<String>,
    /// Name of the product, up to 200 characters.
    pub product_name: Option<String>,
    /// What the product is, up to 5,000 characters.
    pub product_description: Option<String>,
    /// Up to nine public https links.
    pub product_images: Option<Vec<Url>>,
}

/// Why a project could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields that cannot be taken.
    #[error("the input is not valid")]
    Invalid(Problems),
    /// There is no such project for this caller.
    #[error("no such project")]
    NotFound,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sql::Error),
}

/// Projects.
#[derive(Clone)]
pub struct Service {
    database: Database,
    /// Are http links and private addresses good enough? In development only.
    lenient_links: bool,
}

impl Service {
    /// Over a database.
    #[must_use]
    pub fn new(database: Database, lenient_links: bool) -> Self {
        Self {
            database,
            lenient_links,
        }
    }

    /// Adds a project.
    ///
    /// # Errors
    /// `Invalid` names every field that is wrong.
    pub async fn create(&self, owner: UserId, draft: Draft) -> Result<Project, Error> {
        let now = time::now();
        let mut project = Project {
            id: ProjectId::generate(),
            owner,
            name: String::new(),
            product_name: String::new(),
            product_description: String::new(),
            product_images: Vec::new(),
            created_at: now,
            updated_at: now,
            budget: None,
        };
        let mut problems = Problems::default();
        if draft.name.is_none() {
            problems.add("name", "is required");
        }
        self.fill(&mut project, draft, &mut problems).await?;
        problems.into_result().map_err(Error::Invalid)?;
        Ok(self.database.insert_project(project).await?)
    }

    /// Changes the words that the draft carries.
    ///
    /// # Errors
    /// `NotFound`, or `Invalid` with every field that is wrong.
    pub async fn update(
        &self,
        owner: UserId,
        id: ProjectId,
        draft: Draft,
    ) -> Result<Project, Error> {
        let mut project = self
            .database
            .find_project(owner, id)
            .await?
            .ok_or(Error::NotFound)?;
        let mut problems = Problems::default();
        self.fill(&mut project, draft, &mut problems).await?;
        problems.into_result().map_err(Error::Invalid)?;
        project.updated_at = time::now();
        if !self.database.update_project(project.clone()).await? {
            return Err(Error::NotFound);
        }
        Ok(project)
    }

    /// Sets what a project's jobs may cost, or takes that back.
    ///
    /// # Errors
    /// `NotFound`, or `Invalid`.
    pub async fn set_budget(
        &self,
        owner: UserId,
        id: ProjectId,
        limit: Option<Limit>,
    ) -> Result<Project, Error> {
        if limit.is_some_and(|limit| !(0..=MOST).contains(&limit.credits)) {
            let problem = Problems::one("credits", format!("must be 0 to {MOST}"));
            return Err(Error::Invalid(problem));
        }
        if !self.database.set_project_budget(owner, id, limit).await? {
            return Err(Error::NotFound);
        }
        self.find(owner, id).await?.ok_or(Error::NotFound)
    }

    /// Takes a project out of sight. Its jobs stay; their files are withdrawn at once, and
    /// removed later.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete(&self, owner: UserId, id: ProjectId) -> Result<(), Error> {
        if self.database.delete_project(owner, id, time::now()).await? {
            Ok(())
        } else {
            Err(Error::NotFound)
        }
    }

    /// A project of the caller's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(&self, owner: UserId, id: ProjectId) -> Result<Option<Project>, Error> {
        Ok(self.database.find_project(owner, id).await?)
    }

    /// Those of these projects that are the caller's, in no order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_many(&self, owner: UserId, ids: &[ProjectId]) -> Result<Vec<Project>, Error> {
        Ok(self.database.find_projects(owner, ids).await?)
    }

    /// The caller's projects, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(
        &self,
        owner: UserId,
        after: Option<ProjectId>,
        first: u32,
    ) -> Result<Page<Project>, Error> {
        Ok(self.database.list_projects(owner, after, first).await?)
    }

    async fn fill(
        &self,
        project: &mut Project,
        draft: Draft,
        problems: &mut Problems,
    ) -> Result<(), Error> {
        if let Some(name) = draft.name {
            project.name = problems.text("name", &name, 1, MAX_NAME);
        }
        if let Some(name) = draft.product_name {
            project.product_name = problems.text("productName", &name, 0, MAX_NAME);
        }
        if let Some(text) = draft.product_description {
            project.product_description =
                problems.text("productDescription", &text, 0, MAX_DESCRIPTION);
        }
        if let Some(images) = draft.product_images {
            const FIELD: &str = "productImages";
            project.product_images = check_links(FIELD, &images, self.lenient_links, problems);
            check_references(&self.database, project.owner, FIELD, &images, problems).await?;
        }
        Ok(())
    }
}

/// Checks links to pictures that vendors will fetch: public https ones, unless `lenient`.
/// References to uploads are left to [`check_references`].
pub fn check_links(
    field: &str,
    links: &[Url],
    lenient: bool,
    problems: &mut Problems,
) -> Vec<String> {
    if links.len() > MAX_IMAGES {
        problems.add(field, format!("at most {MAX_IMAGES} links"));
    }
    for (index, link) in links.iter().enumerate() {
        let place = format!("{field}.{index}");
        if link.as_str().len() > MAX_URL {
            problems.add(&place, format!("at most {MAX_URL} characters"));
        } else if uploads::is_reference(link.as_str()) {
            continue;
        } else {
            // Vendors fetch these links and resolve names themselves; this host never does.
            check_public_link(&place, link, lenient, problems);
        }
    }
    links.iter().map(ToString::to_string).collect()
}
