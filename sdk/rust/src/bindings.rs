//! What `wit-bindgen` makes of the contract, one small world for each exported interface.
//!
//! One world with all exports would force every plugin to export everything. Each world
//! here carries its own `export!` macro and its own metadata section, so a component has
//! exactly the interfaces whose macros its author called. The sections are merged when the
//! module is wrapped as a component.

/// The shared types and what the host offers: imported by every plugin.
pub mod imports {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        inline: "package genvid:sdk-imports; world sdk-imports { include genvid:provider/imports@0.1.0; }",
        generate_all,
        generate_unused_types: true,
        pub_export_macro: true,
        additional_derives: [PartialEq],
        additional_type_attributes: {
            "genvid:provider/types@0.1.0/media": [
                #[derive(serde::Serialize, serde::Deserialize)]
                #[serde(rename_all = "kebab-case")]
            ],
        },
        type_section_suffix: ":imports",
    });
}

/// `tasks`
pub mod tasks {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        inline: "package genvid:sdk-tasks; world sdk-tasks { export genvid:provider/tasks@0.1.0; }",
        with: {
            "genvid:provider/types@0.1.0": crate::bindings::imports::genvid::provider::types,
            "genvid:provider/tasks@0.1.0": generate,
        },
        pub_export_macro: true,
        additional_derives: [PartialEq],
        type_section_suffix: ":tasks",
    });
}

/// `video`
pub mod video {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        inline: "package genvid:sdk-video; world sdk-video { export genvid:provider/video@0.1.0; }",
        with: {
            "genvid:provider/types@0.1.0": crate::bindings::imports::genvid::provider::types,
            "genvid:provider/video@0.1.0": generate,
        },
        pub_export_macro: true,
        additional_derives: [PartialEq],
        additional_type_attributes: {
            "genvid:provider/video@0.1.0/request": [
                #[derive(serde::Serialize, serde::Deserialize)]
            ],
            "genvid:provider/video@0.1.0/speech": [
                #[derive(serde::Serialize, serde::Deserialize)]
                #[serde(rename_all = "kebab-case")]
            ],
            "genvid:provider/video@0.1.0/aspect": [
                #[derive(serde::Serialize, serde::Deserialize)]
                #[serde(rename_all = "kebab-case")]
            ],
        },
        type_section_suffix: ":video",
    });
}

/// `voice`
pub mod voice {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        inline: "package genvid:sdk-voice; world sdk-voice { export genvid:provider/voice@0.1.0; }",
        with: {
            "genvid:provider/types@0.1.0": crate::bindings::imports::genvid::provider::types,
            "genvid:provider/voice@0.1.0": generate,
        },
        pub_export_macro: true,
        additional_derives: [PartialEq],
        additional_type_attributes: {
            "genvid:provider/voice@0.1.0/request": [
                #[derive(serde::Serialize, serde::Deserialize)]
            ],
        },
        type_section_suffix: ":voice",
    });
}

/// `script`
pub mod script {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        inline: "package genvid:sdk-script; world sdk-script { export genvid:provider/script@0.1.0; }",
        with: {
            "genvid:provider/types@0.1.0": crate::bindings::imports::genvid::provider::types,
            "genvid:provider/script@0.1.0": generate,
        },
        pub_export_macro: true,
        additional_derives: [PartialEq],
        additional_type_attributes: {
            "genvid:provider/script@0.1.0/request": [
                #[derive(serde::Serialize, serde::Deserialize)]
            ],
        },
        type_section_suffix: ":script",
    });
}

/// `catalog`
pub mod catalog {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        inline: "package genvid:sdk-catalog; world sdk-catalog { export genvid:provider/catalog@0.1.0; }",
        with: {
            "genvid:provider/types@0.1.0": crate::bindings::imports::genvid::provider::types,
            "genvid:provider/catalog@0.1.0": generate,
        },
        pub_export_macro: true,
        additional_derives: [PartialEq],
        type_section_suffix: ":catalog",
    });
}

/// `account`
pub mod account {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        inline: "package genvid:sdk-account; world sdk-account { export genvid:provider/account@0.1.0; }",
        with: {
            "genvid:provider/types@0.1.0": crate::bindings::imports::genvid::provider::types,
            "genvid:provider/account@0.1.0": generate,
        },
        pub_export_macro: true,
        additional_derives: [PartialEq],
        type_section_suffix: ":account",
    });
}

/// `webhook`
pub mod webhook {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        inline: "package genvid:sdk-webhook; world sdk-webhook { export genvid:provider/webhook@0.1.0; }",
        with: {
            "genvid:provider/types@0.1.0": crate::bindings::imports::genvid::provider::types,
            "genvid:provider/webhook@0.1.0": generate,
        },
        pub_export_macro: true,
        additional_derives: [PartialEq],
        type_section_suffix: ":webhook",
    });
}
