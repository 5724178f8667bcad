//! Where a component's functions are. A component exports what it can do, so each may be
//! missing.

use wasmtime::component::{Component, ComponentExportIndex};

/// Index of each function that the component exports.
pub(crate) struct Functions {
    pub(crate) video_submit: Option<ComponentExportIndex>,
    pub(crate) voice_submit: Option<ComponentExportIndex>,
    pub(crate) script_submit: Option<ComponentExportIndex>,
    pub(crate) tasks_poll: Option<ComponentExportIndex>,
    pub(crate) tasks_cancel: Option<ComponentExportIndex>,
    pub(crate) tasks_find: Option<ComponentExportIndex>,
    pub(crate) catalog_list: Option<ComponentExportIndex>,
    pub(crate) account_check: Option<ComponentExportIndex>,
    pub(crate) webhook_parse: Option<ComponentExportIndex>,
}

impl Functions {
    pub(crate) fn find(component: &Component) -> Self {
        let function = |interface: &str, function: &str| {
            let name = format!("genvid:provider/{interface}@0.1.0");
            let interface = component.get_export_index(None, &name)?;
            component.get_export_index(Some(&interface), function)
        };
        Self {
            video_submit: function("video", "submit"),
            voice_submit: function("voice", "submit"),
            script_submit: function("script", "submit"),
            tasks_poll: function("tasks", "poll"),
            tasks_cancel: function("tasks", "cancel"),
            tasks_find: function("tasks", "find"),
            catalog_list: function("catalog", "list"),
            account_check: function("account", "check"),
            webhook_parse: function("webhook", "parse"),
        }
    }
}
