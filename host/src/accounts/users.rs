//! What administrators do with users.

use super::{Role, Service, User, UserFilter};
use crate::{adapters::sql, ids::UserId, jobs::store::Page};

impl Service {
    /// Users whose accounts were not deleted, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn users(
        &self,
        filter: UserFilter,
        after: Option<UserId>,
        first: u32,
    ) -> Result<Page<User>, sql::Error> {
        self.database.list_users(filter, after, first).await
    }

    /// Gives a user another role, from their next request on; nothing when there is no such user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_role(
        &self,
        admin: &User,
        named: &str,
        role: Role,
    ) -> Result<Option<User>, sql::Error> {
        let Some(user) = self.database.find_user_named(named).await? else {
            return Ok(None);
        };
        let by = admin.id.to_string();
        let there = self.database.set_role(user.id, role, by).await?;
        Ok(there.then_some(User { role, ..user }))
    }

    /// Puts a user on a plan, for jobs that are accepted from now on; nothing when there is no such
    /// user. Whether there is such a plan is for the caller to know.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_plan(
        &self,
        admin: &User,
        named: &str,
        plan: &str,
    ) -> Result<Option<User>, sql::Error> {
        let Some(user) = self.database.find_user_named(named).await? else {
            return Ok(None);
        };
        let by = admin.id.to_string();
        let there = self.database.set_plan(user.id, plan.to_owned(), by).await?;
        Ok(there.then_some(user))
    }
}
