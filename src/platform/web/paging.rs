//! Which part of a list is asked for: by offset and limit, by page, or by cursor; never by two of them.

use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaParamIn, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::listing::Links;
use super::query::{QueryFault, decoded};
use super::trace::Visit;
use crate::platform::db::Order;
use crate::platform::problem::{FieldError, Problem};

/// Parameters of a list: `offset` (or `skip`) and `limit`; `page` and `per_page`; `cursor` and `limit`; `order`.
///
/// A handler takes it as one argument; the document shows each of them. 422 for a value out of range, a value
/// given twice, and two kinds at once.
#[derive(Clone, Debug)]
pub struct Paging {
    /// The rows that are asked for.
    pub(super) range: Range,
    /// The order that is asked for, if one is.
    pub(super) order: Option<Order>,
    asked_by: Kind,
    place: Place,
}

/// The rows that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Range {
    /// At most `limit` rows after the first `offset`.
    Rows {
        /// Rows to leave out; at most `i64::MAX`.
        offset: u64,
        /// 1–1000.
        limit: u64,
    },
    /// At most `limit` rows from where the cursor points.
    From {
        /// As the client sent it.
        cursor: String,
        /// 1–1000.
        limit: u64,
    },
}

impl Range {
    /// Rows to leave out before the first that is shown; none behind a cursor.
    #[must_use]
    pub(super) const fn offset(&self) -> u64 {
        match self {
            Self::Rows { offset, .. } => *offset,
            Self::From { .. } => 0,
        }
    }

    /// The most rows to answer: 1–1000.
    #[must_use]
    pub(super) const fn limit(&self) -> u64 {
        match self {
            Self::Rows { limit, .. } | Self::From { limit, .. } => *limit,
        }
    }

    /// Where the client wants to go on, as it sent it.
    pub(super) fn cursor(&self) -> Option<&str> {
        match self {
            Self::Rows { .. } => None,
            Self::From { cursor, .. } => Some(cursor),
        }
    }
}

/// How the client named the part that it wants; links go on in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unsaid,
    Offset,
    Page,
    Cursor,
}

/// What links are made of: the address of the list, and the parameters that are not about paging.
#[derive(Clone, Debug, Default)]
struct Place {
    url: String,
    others: String,
}

#[derive(Default)]
struct Given {
    offset: Option<u64>,
    skip: Option<u64>,
    limit: Option<u64>,
    page: Option<u64>,
    per_page: Option<u64>,
    cursor: Option<String>,
    order: Option<Order>,
}

const MAX_OFFSET: u64 = i64::MAX.unsigned_abs();
/// Rows of one answer: at most, and if nobody says how many; then the same of a page.
const MOST_ROWS: u64 = 1000;
const USUAL_ROWS: u64 = 100;
const MOST_ON_PAGE: u64 = 100;
const USUAL_ON_PAGE: u64 = 10;

impl Paging {
    /// Reads the parameters out of a query string.
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let (given, others) = Given::read(query)?;
        let asked_by = given.kind()?;
        let order = given.order;
        let range = match asked_by {
            Kind::Page => by_page(given.page.unwrap_or(1), given.per_page.unwrap_or(USUAL_ON_PAGE))?,
            Kind::Cursor => Range::From {
                cursor: given.cursor.unwrap_or_default(),
                limit: given.limit.unwrap_or(USUAL_ROWS),
            },
            Kind::Offset | Kind::Unsaid => Range::Rows {
                offset: given.offset.or(given.skip).unwrap_or(0),
                limit: given.limit.unwrap_or(USUAL_ROWS),
            },
        };
        Ok(Self { range, order, asked_by, place: Place { url: String::new(), others } })
    }

    /// Links to the neighbouring parts. `next` and `previous` are sealed cursors; they are used unless the client
    /// counts by offset or page.
    #[must_use]
    pub(super) fn links(
        &self,
        total: u64,
        returned: usize,
        next: Option<&str>,
        previous: Option<&str>,
    ) -> Links {
        let returned = u64::try_from(returned).unwrap_or(u64::MAX);
        match (&self.range, self.asked_by) {
            (Range::Rows { offset, limit }, Kind::Page) => self.page_links(*offset, *limit, total),
            (Range::Rows { offset, limit }, Kind::Offset) => {
                self.offset_links(*offset, *limit, offset.saturating_add(returned) < total)
            }
            (Range::Rows { offset, limit }, _) if next.is_none() => {
                self.offset_links(*offset, *limit, offset.saturating_add(returned) < total)
            }
            (range, _) => self.cursor_links(range.limit(), next, previous),
        }
    }

    fn offset_links(&self, offset: u64, limit: u64, more: bool) -> Links {
        let at = |offset: u64| self.link(&format!("offset={offset}&limit={limit}"));
        Links {
            next: more.then(|| at(offset + limit)),
            previous: (offset > 0).then(|| at(offset.saturating_sub(limit))),
            first: Some(at(0)),
        }
    }

    fn page_links(&self, offset: u64, per_page: u64, total: u64) -> Links {
        let at = |page: u64| self.link(&format!("page={page}&per_page={per_page}"));
        let page = offset / per_page + 1;
        Links {
            next: (offset.saturating_add(per_page) < total).then(|| at(page + 1)),
            previous: (page > 1).then(|| at(page - 1)),
            first: Some(at(1)),
        }
    }

    fn cursor_links(&self, limit: u64, next: Option<&str>, previous: Option<&str>) -> Links {
        let at = |cursor: &str| self.link(&format!("cursor={cursor}&limit={limit}"));
        let first = Some(self.link(&format!("limit={limit}")));
        Links { next: next.map(at), previous: previous.map(at), first }
    }

    fn link(&self, paging: &str) -> String {
        let Place { url, others } = &self.place;
        let order = match self.order {
            Some(Order::Asc) => "&order=asc",
            Some(Order::Desc) => "&order=desc",
            None => "",
        };
        format!("{url}?{others}{paging}{order}")
    }
}

fn by_page(page: u64, per_page: u64) -> Result<Range, Problem> {
    let offset = (page - 1).checked_mul(per_page).filter(|offset| *offset <= MAX_OFFSET);
    let offset = offset.ok_or_else(|| invalid("page", "is out of range"))?;
    Ok(Range::Rows { offset, limit: per_page })
}

impl Given {
    /// The parameters of paging, and the rest as it came, each with `&` behind.
    fn read(query: &str) -> Result<(Self, String), Problem> {
        let mut given = Self::default();
        let mut others = String::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decoded(name).map_err(QueryFault::problem)?;
            let value = decoded(value).map_err(QueryFault::problem)?;
            if !given.take(&name, &value)? {
                others.push_str(pair);
                others.push('&');
            }
        }
        Ok((given, others))
    }

    /// Whether the parameter is one of paging.
    fn take(&mut self, name: &str, value: &str) -> Result<bool, Problem> {
        match name {
            "offset" => once(&mut self.offset, "offset", number("offset", value, 0, MAX_OFFSET)?)?,
            "skip" => once(&mut self.skip, "skip", number("skip", value, 0, MAX_OFFSET)?)?,
            "limit" => once(&mut self.limit, "limit", number("limit", value, 1, MOST_ROWS)?)?,
            "page" => once(&mut self.page, "page", number("page", value, 1, MAX_OFFSET)?)?,
            "per_page" => once(&mut self.per_page, "per_page", number("per_page", value, 1, MOST_ON_PAGE)?)?,
            "cursor" => once(&mut self.cursor, "cursor", value.to_owned())?,
            "order" => once(&mut self.order, "order", order(value)?)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn kind(&self) -> Result<Kind, Problem> {
        if self.offset.is_some() && self.skip.is_some() {
            return Err(invalid("skip", "is another name of offset: give one of them"));
        }
        let by_offset = self.offset.is_some() || self.skip.is_some();
        let by_page = self.page.is_some() || self.per_page.is_some();
        match (by_offset, by_page, self.cursor.is_some()) {
            (false, false, false) => Ok(Kind::Unsaid),
            (true, false, false) => Ok(Kind::Offset),
            (false, true, false) if self.limit.is_none() => Ok(Kind::Page),
            (false, true, false) => Err(invalid("limit", "does not go with page: use per_page")),
            (false, false, true) => Ok(Kind::Cursor),
            (_, true, _) => Err(invalid("page", "does not go with offset or cursor")),
            (true, _, true) => Err(invalid("offset", "does not go with cursor")),
        }
    }
}

fn invalid(field: &str, message: impl Into<String>) -> Problem {
    Problem::invalid(vec![FieldError::new(field, message)])
}

fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), Problem> {
    match place.replace(value) {
        Some(_) => Err(QueryFault::Twice(name.to_owned()).problem()),
        None => Ok(()),
    }
}

/// Digits only: no sign, no fraction, no exponent.
fn number(name: &str, text: &str, least: u64, most: u64) -> Result<u64, Problem> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && (least..=most).contains(number));
    number.ok_or_else(|| invalid(name, format!("must be a whole number from {least} to {most}")))
}

fn order(text: &str) -> Result<Order, Problem> {
    match text {
        "asc" => Ok(Order::Asc),
        "desc" => Ok(Order::Desc),
        _ => Err(invalid("order", "must be asc or desc")),
    }
}

impl<'a> ApiExtractor<'a> for Paging {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Query)
    }

    /// An object in the query stands for one parameter per property (OpenAPI 3.0, style `form` with `explode`).
    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(MetaSchemaRef::Inline(Box::new(schema())))
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let mut paging = Self::parse(request.uri().query().unwrap_or_default())?;
        let base = request.data::<Visit>().map_or("", |visit| visit.settings.base_url.as_str());
        paging.place.url = format!("{base}{}", request.original_uri().path());
        Ok(paging)
    }
}

fn schema() -> MetaSchema {
    let properties = vec![
        ("offset", integer("Rows to leave out.", 0, None, 0)),
        ("skip", integer("The same as `offset`.", 0, None, 0)),
        ("limit", integer("The most rows to answer.", 1, Some(MOST_ROWS), USUAL_ROWS)),
        (
            "page",
            integer(
                "Number of the page, from 1; not together with `offset`, `limit` or `cursor`.",
                1,
                None,
                1,
            ),
        ),
        ("per_page", integer("Rows on a page.", 1, Some(MOST_ON_PAGE), USUAL_ON_PAGE)),
        ("cursor", text("Where to go on: from the `Link` header of the answer before.", None)),
        ("order", text("By creation: oldest (`asc`) or newest (`desc`) first.", Some(&["asc", "desc"]))),
    ];
    MetaSchema { properties, ..MetaSchema::new("object") }
}

#[expect(clippy::cast_precision_loss, reason = "the document's bounds are small numbers")]
fn integer(description: &'static str, least: u64, most: Option<u64>, default: u64) -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(MetaSchema {
        description: Some(description),
        minimum: Some(least as f64),
        maximum: most.map(|most| most as f64),
        default: Some(default.into()),
        ..MetaSchema::new_with_format("integer", "int64")
    }))
}

fn text(description: &'static str, values: Option<&[&str]>) -> MetaSchemaRef {
    let enum_items = values.unwrap_or_default().iter().map(|value| (*value).into()).collect();
    let schema = MetaSchema { description: Some(description), enum_items, ..MetaSchema::new("string") };
    MetaSchemaRef::Inline(Box::new(schema))
}

#[cfg(test)]
mod tests;
