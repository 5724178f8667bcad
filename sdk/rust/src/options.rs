//! From the JSON of the contract to the types of a plugin.

use serde::de::DeserializeOwned;

use crate::{Context, Error, Result, script, tasks, video, voice};

impl Context {
    /// The operator's settings as a type of the plugin's own. The host has checked them
    /// against the manifest's schema, so a failure means that type and schema disagree.
    pub fn parse_settings<T: DeserializeOwned>(&self) -> Result<T> {
        parse("settings", &self.settings)
    }
}

impl video::Request {
    /// `options` as a type of the plugin's own.
    pub fn parse_options<T: DeserializeOwned>(&self) -> Result<T> {
        parse("options", &self.options)
    }
}

impl voice::Request {
    /// `options` as a type of the plugin's own.
    pub fn parse_options<T: DeserializeOwned>(&self) -> Result<T> {
        parse("options", &self.options)
    }
}

impl script::Request {
    /// `options` as a type of the plugin's own.
    pub fn parse_options<T: DeserializeOwned>(&self) -> Result<T> {
        parse("options", &self.options)
    }
}

impl tasks::Lost {
    /// The film that was submitted, when it was one.
    pub fn video(&self) -> Result<Option<video::Request>> {
        self.of_kind("video")
    }

    /// The text that was submitted to be spoken, when it was one.
    pub fn voice(&self) -> Result<Option<voice::Request>> {
        self.of_kind("voice")
    }

    /// The brief that was submitted, when it was one.
    pub fn script(&self) -> Result<Option<script::Request>> {
        self.of_kind("script")
    }

    fn of_kind<T: DeserializeOwned>(&self, kind: &str) -> Result<Option<T>> {
        if self.kind != kind {
            return Ok(None);
        }
        serde_json::from_str(&self.request)
            .map(Some)
            .map_err(|error| Error::unexpected(format!("the lost {kind} request: {error}")))
    }
}

fn parse<T: DeserializeOwned>(field: &str, json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| Error::invalid(field, error.to_string()))
}
