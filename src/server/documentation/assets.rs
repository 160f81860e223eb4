//! The files of the documentation in the binary, found by name and content hash.

use std::sync::Arc;

use poem::{Endpoint, Request, Response};

use crate::platform::web::{Asset, SCRIPT, STYLE};
use crate::static_file;

/// The files of the documentation.
#[derive(Debug)]
pub(super) struct Assets(Vec<(&'static str, Asset)>);

impl Assets {
    pub(super) fn embedded() -> Self {
        Self(vec![
            static_file!(SCRIPT, "redoc.standalone.js"),
            static_file!(SCRIPT, "swagger-ui-bundle.js"),
            static_file!(STYLE, "swagger-ui.css"),
            static_file!(SCRIPT, "redoc.js"),
            static_file!(SCRIPT, "swagger.js"),
        ])
    }

    /// Where the file is served.
    pub(super) fn path(&self, name: &str) -> String {
        let hash = self.find(name).map_or("", |asset| asset.hash());
        format!("/static/{hash}/{name}")
    }

    fn find(&self, name: &str) -> Option<&Asset> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, asset)| asset)
    }
}

/// Serves the files by hash and name.
pub(super) struct Served(pub(super) Arc<Assets>);

impl Endpoint for Served {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let wanted = |name| request.raw_path_param(name).unwrap_or_default();
        let asset = self.0.find(wanted("name")).filter(|asset| asset.hash() == wanted("hash"));
        let asset = asset.ok_or(poem::error::NotFoundError)?;
        Ok(asset.answer_for_ever(request.headers()).await)
    }
}
