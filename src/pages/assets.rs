//! The style and the scripts of the pages. All stand in one folder that is named by the content of all of them, so that
//! scripts can load each other by name and clients can keep each for ever.

use std::sync::Arc;

use poem::{Endpoint, Request, Response, Route};

use crate::platform::web::{Asset, SCRIPT, STYLE, content_hash};
use crate::static_file;

/// The files of the pages.
#[derive(Debug)]
pub struct Assets {
    hash: String,
    files: Vec<(&'static str, Asset)>,
}

impl Assets {
    /// What the program carries.
    #[must_use]
    pub fn embedded() -> Self {
        let files = vec![
            static_file!(STYLE, "gatehouse.css"),
            static_file!(SCRIPT, "api.js"),
            static_file!(SCRIPT, "ui.js"),
            static_file!(SCRIPT, "forms.js"),
            static_file!(SCRIPT, "prove.js"),
            static_file!(SCRIPT, "account.js"),
            static_file!(SCRIPT, "picture.js"),
            static_file!(STYLE, "console.css"),
            static_file!(SCRIPT, "chart.js"),
            static_file!(SCRIPT, "console-audit.js"),
            static_file!(SCRIPT, "console-events.js"),
            static_file!(SCRIPT, "console-files.js"),
            static_file!(SCRIPT, "console-flags.js"),
            static_file!(SCRIPT, "console-health.js"),
            static_file!(SCRIPT, "console-mail.js"),
            static_file!(SCRIPT, "console-overview.js"),
            static_file!(SCRIPT, "console-permissions.js"),
            static_file!(SCRIPT, "console-user.js"),
            static_file!(SCRIPT, "console-users.js"),
            static_file!(SCRIPT, "console-webhooks.js"),
            static_file!(SCRIPT, "console.js"),
            static_file!(SCRIPT, "picker.js"),
        ];
        let hashes: String = files.iter().map(|(_, asset)| asset.hash()).collect();
        Self { hash: content_hash(hashes.as_bytes()), files }
    }

    /// Where a file is served.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        format!("/assets/{}/{name}", self.hash)
    }

    /// Puts the files on the route.
    #[must_use]
    pub fn on(self: &Arc<Self>, route: Route) -> Route {
        route.at("/assets/:hash/:name", poem::get(Served(Arc::clone(self))))
    }

    fn find(&self, hash: &str, name: &str) -> Option<&Asset> {
        let file = self.files.iter().find(|(known, _)| *known == name);
        file.filter(|_| hash == self.hash).map(|(_, asset)| asset)
    }
}

struct Served(Arc<Assets>);

impl Endpoint for Served {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let wanted = |name| request.raw_path_param(name).unwrap_or_default();
        let asset = self.0.find(wanted("hash"), wanted("name")).ok_or(poem::error::NotFoundError)?;
        Ok(asset.answer_for_ever(request.headers()).await)
    }
}
