//! `ScriptTemplate`.

use async_graphql::{ID, Object};

use crate::scripts::{TEMPLATES, Template};

pub(super) struct ScriptTemplate(&'static Template);

/// A way of telling about a product, for `generateScript`.
#[Object]
impl ScriptTemplate {
    /// For `GenerateScriptInput.templateId`.
    async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// Its name, in English.
    async fn name(&self) -> &str {
        self.0.name
    }

    /// What it is good for, in English.
    async fn description(&self) -> &str {
        self.0.description
    }
}

#[derive(Default)]
pub(super) struct ScriptQueries;

#[Object]
impl ScriptQueries {
    /// The ways in which scripts can be written; the first is the one of those who do not
    /// choose.
    async fn script_templates(&self) -> Vec<ScriptTemplate> {
        TEMPLATES.iter().map(ScriptTemplate).collect()
    }
}
