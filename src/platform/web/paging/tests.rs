//! Which parameters are taken, and what links they give.

use super::*;

fn rows(query: &str) -> (u64, u64) {
    match Paging::parse(query).unwrap().range {
        Range::Rows { offset, limit } => (offset, limit),
        Range::From { .. } => panic!("{query} gave a cursor"),
    }
}

#[track_caller]
fn refused(query: &str, field: &str) {
    let problem = Paging::parse(query).unwrap_err();
    assert_eq!((problem.status.as_u16(), problem.errors[0].field.as_str()), (422, field), "{query}");
}

#[test]
fn each_kind_of_paging_has_its_defaults() {
    assert_eq!(rows(""), (0, 100));
    assert_eq!(rows("q=ann"), (0, 100));
    assert_eq!(rows("offset=5"), (5, 100));
    assert_eq!(rows("skip=5&limit=7"), (5, 7));
    assert_eq!(rows("page=3"), (20, 10));
    assert_eq!(rows("per_page=50"), (0, 50));
    assert_eq!(Paging::parse("cursor=abc").unwrap().range, Range::From { cursor: "abc".into(), limit: 100 });
    assert_eq!(Paging::parse("order=desc").unwrap().order, Some(Order::Desc));
}

#[test]
fn the_ends_of_each_range_are_in() {
    assert_eq!(rows("limit=1"), (0, 1));
    assert_eq!(rows("limit=1000"), (0, 1000));
    assert_eq!(rows("page=1&per_page=100"), (0, 100));
    assert_eq!(rows("offset=9223372036854775807").0, MAX_OFFSET);
}

#[test]
fn what_is_out_of_range_is_refused_by_name() {
    for value in
        ["0", "1001", "-1", "1.5", "NaN", "", "+1", "1e3", "2147483648", "9223372036854775808", "%201"]
    {
        refused(&format!("limit={value}"), "limit");
    }
    for value in ["-1", "x", "", "9223372036854775808", "99999999999999999999999"] {
        refused(&format!("offset={value}"), "offset");
        refused(&format!("skip={value}"), "skip");
    }
    refused("page=0", "page");
    refused("per_page=0", "per_page");
    refused("per_page=101", "per_page");
    refused("page=9223372036854775807&per_page=100", "page");
    refused("order=DESC", "order");
}

#[test]
fn two_kinds_at_once_are_refused() {
    refused("offset=0&skip=0", "skip");
    refused("offset=0&page=1", "page");
    refused("page=1&cursor=x", "page");
    refused("offset=0&cursor=x", "offset");
    refused("page=1&limit=5", "limit");
    refused("limit=5&limit=5", "limit");
}

fn links(query: &str, total: u64, returned: usize, next: Option<&str>) -> String {
    Paging::parse(query).unwrap().links(total, returned, next, None).header().unwrap_or_default()
}

#[test]
fn links_go_on_in_the_kind_that_was_asked_for_and_keep_the_filters() {
    assert_eq!(
        links("q=a%20b&offset=10&limit=10", 25, 10, Some("c")),
        "<?q=a%20b&offset=20&limit=10>; rel=\"next\", <?q=a%20b&offset=0&limit=10>; rel=\"prev\", \
         <?q=a%20b&offset=0&limit=10>; rel=\"first\""
    );
    assert_eq!(
        links("page=3&per_page=10&order=desc", 25, 5, None),
        "<?page=2&per_page=10&order=desc>; rel=\"prev\", <?page=1&per_page=10&order=desc>; rel=\"first\""
    );
    assert_eq!(
        links("limit=2", 25, 2, Some("c")),
        "<?cursor=c&limit=2>; rel=\"next\", <?limit=2>; rel=\"first\""
    );
    assert_eq!(
        links("limit=2", 25, 2, None),
        "<?offset=2&limit=2>; rel=\"next\", <?offset=0&limit=2>; rel=\"first\""
    );
}

#[test]
fn a_link_cannot_be_broken_out_of() {
    let header = links("q=<>\"&limit=2", 25, 2, None);
    assert!(header.starts_with("<?q=%3C%3E%22&offset=2"), "{header}");
}
