//! Projects. Every statement names the owner.

use sqlx::AssertSqlSafe;

use super::{
    Database, Error,
    database::Scope,
    jobs::placeholders,
    query::{Connection, Row, query},
    removals, rows,
    spending::{self, BUDGET},
    uploads,
    values::{Json, to_json},
};
use crate::{
    ids::{ProjectId, UserId},
    jobs::store::Page,
    projects::Project,
    time::Timestamp,
    uploads::all_referred,
};

/// A project and its budget.
fn select() -> String {
    format!(
        "SELECT projects.id, projects.owner_id, projects.name, projects.product_name, \
         projects.product_description, projects.product_images, projects.created_at, \
         projects.updated_at, {BUDGET} FROM projects \
         LEFT JOIN spending ON spending.scope_id = projects.id"
    )
}

fn project(row: &Row) -> Result<Project, Error> {
    let images: Json = row.try_get("product_images")?;
    Ok(Project {
        id: ProjectId::from_uuid(rows::uuid(row, "id")?),
        owner: UserId::from_uuid(rows::uuid(row, "owner_id")?),
        name: row.try_get("name")?,
        product_name: row.try_get("product_name")?,
        product_description: row.try_get("product_description")?,
        product_images: images.read("product images")?,
        created_at: rows::time(row, "created_at")?,
        updated_at: rows::time(row, "updated_at")?,
        budget: spending::budget(row)?,
    })
}

impl Database {
    /// Adds a project.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_project(&self, new: Project) -> Result<Project, Error> {
        self.write(Scope::User(new.owner), move |connection| {
            Box::pin(async move {
                query(
                    "INSERT INTO projects (id, owner_id, name, product_name, product_description, \
                     product_images, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                )
                .bind(new.id.uuid())
                .bind(new.owner.uuid())
                .bind(&new.name)
                .bind(&new.product_name)
                .bind(&new.product_description)
                .bind(to_json(&new.product_images)?)
                .bind(new.created_at)
                .bind(new.updated_at)
                .execute(&mut *connection)
                .await?;
                let named = all_referred(&new.product_images);
                uploads::note_use(connection, new.owner, &named).await?;
                Ok(new)
            })
        })
        .await
    }

    /// Writes a project's words; false when it is not there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn update_project(&self, project: Project) -> Result<bool, Error> {
        self.write(Scope::User(project.owner), move |connection| {
            Box::pin(async move {
                let mut images = images_of(connection, project.owner, project.id).await?;
                let written = query(
                    "UPDATE projects SET name = $3, product_name = $4, product_description = $5, \
                     product_images = $6, updated_at = $7 \
                     WHERE id = $1 AND owner_id = $2 AND deleted_at IS NULL",
                )
                .bind(project.id.uuid())
                .bind(project.owner.uuid())
                .bind(&project.name)
                .bind(&project.product_name)
                .bind(&project.product_description)
                .bind(to_json(&project.product_images)?)
                .bind(project.updated_at)
                .execute(&mut *connection)
                .await?
                .rows_affected();
                images.extend(project.product_images);
                uploads::note_use(connection, project.owner, &all_referred(&images)).await?;
                Ok(written > 0)
            })
        })
        .await
    }

    /// Marks a project as deleted, and withdraws the files of its jobs; false when it is not
    /// there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_project(
        &self,
        owner: UserId,
        id: ProjectId,
        now: Timestamp,
    ) -> Result<bool, Error> {
        self.write(Scope::User(owner), move |connection| {
            Box::pin(async move {
                let images = images_of(connection, owner, id).await?;
                let written = query(
                    "UPDATE projects SET deleted_at = $3 \
                     WHERE id = $1 AND owner_id = $2 AND deleted_at IS NULL",
                )
                .bind(id.uuid())
                .bind(owner.uuid())
                .bind(now)
                .execute(&mut *connection)
                .await?
                .rows_affected();
                if written == 0 {
                    return Ok(false);
                }
                removals::discard_jobs(connection, owner, id).await?;
                uploads::note_use(connection, owner, &all_referred(&images)).await?;
                Ok(true)
            })
        })
        .await
    }

    /// A project of `owner`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_project(
        &self,
        owner: UserId,
        id: ProjectId,
    ) -> Result<Option<Project>, Error> {
        query(AssertSqlSafe(format!(
            "{} WHERE projects.id = $1 AND projects.owner_id = $2 AND deleted_at IS NULL",
            select()
        )))
        .bind(id.uuid())
        .bind(owner.uuid())
        .fetch_optional(&mut self.read(Scope::User(owner)).await?)
        .await?
        .as_ref()
        .map(project)
        .transpose()
    }

    /// Those of these projects that are `owner`'s.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_projects(
        &self,
        owner: UserId,
        ids: &[ProjectId],
    ) -> Result<Vec<Project>, Error> {
        let list = placeholders(ids.len());
        let sql = format!(
            "{} WHERE projects.id IN ({list}) AND projects.owner_id = ${} AND deleted_at IS NULL",
            select(),
            ids.len() + 1
        );
        let mut query = query(AssertSqlSafe(sql));
        for id in ids {
            query = query.bind(id.uuid());
        }
        query
            .bind(owner.uuid())
            .fetch_all(&mut self.read(Scope::User(owner)).await?)
            .await?
            .iter()
            .map(project)
            .collect()
    }

    /// Projects of `owner`, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_projects(
        &self,
        owner: UserId,
        after: Option<ProjectId>,
        first: u32,
    ) -> Result<Page<Project>, Error> {
        let rows = query(AssertSqlSafe(format!(
            "{} WHERE projects.owner_id = $1 AND projects.id < $2 AND deleted_at IS NULL \
             ORDER BY projects.id DESC LIMIT $3",
            select()
        )))
        .bind(owner.uuid())
        .bind(after.map_or(uuid::Uuid::max(), ProjectId::uuid))
        .bind(i64::from(first) + 1)
        .fetch_all(&mut self.read(Scope::User(owner)).await?)
        .await?;
        let items = rows.iter().map(project).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(items, first))
    }
}

/// The pictures of a project, which is locked from here on.
async fn images_of(
    connection: &mut Connection,
    owner: UserId,
    id: ProjectId,
) -> Result<Vec<String>, Error> {
    let lock = connection.dialect().lock;
    let row = query(AssertSqlSafe(format!(
        "SELECT product_images FROM projects WHERE id = $1 AND owner_id = $2 {lock}"
    )))
    .bind(id.uuid())
    .bind(owner.uuid())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else {
        return Ok(Vec::new());
    };
    row.try_get::<Json>("product_images")?
        .read("product images")
}
