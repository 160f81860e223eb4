//! What handlers read requests with and write answers with: bodies, parameters, pages of lists, the client.
//!
//! Every refusal made here is a [`Problem`](super::problem::Problem); `server::edge` writes its body. The edge
//! also puts a [`Visit`] into each request, which the extractors here read; without one (a handler tested alone)
//! they fall back to the connection's address and the default limits.

mod asset;
mod body;
mod client;
mod cursor;
mod device;
mod etag;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod json;
mod listing;
mod multipart;
mod own_path;
mod paging;
mod part;
mod path;
mod query;
mod strict;
mod text;
mod trace;

pub use asset::{Asset, SCRIPT, STYLE, content_hash};
pub use body::read_body;
pub(crate) use body::{asked_again, broken_off, too_large, unsupported};
pub(crate) use client::is_forwarded;
pub use client::{ClientInfo, TrustedProxies, client_network, home_network, wide_network};
pub use cursor::Cursor;
pub use device::Device;
pub use etag::{if_match, is_known, is_wanted};
pub(crate) use json::ok_of;
pub use json::{Json, JsonOrForm, Only, RawJson, Unread, given, object_or_null, read_json};
pub use listing::{Links, Listing, Whole, Within};
pub use multipart::{Incoming, Upload};
pub use own_path::is_own_path;
pub use paging::Paging;
pub use part::{Part, PartQuery};
pub use path::first_parameter;
pub(crate) use query::bad_request;
pub use query::{QueryFault, check_query};
pub(crate) use strict::check_json;
pub use text::TextBody;
pub use trace::{Errand, TraceId, TraceIds, TraceParent, Visit, VisitSettings, w3c_trace_id};
