//! A part of a list: what a client asks for, which rows that are to be read, and where the neighbours are.

use super::cursor::Cursor;
use super::listing::{Links, Listing};
use super::paging::Paging;
use crate::platform::db::{Mark, Order, Span};
use crate::platform::problem::FieldError;

/// What a cursor begins with that leads back. No [`Mark`] begins so.
const BACK: u8 = 0xff;

/// What a client asks for of a list.
#[derive(Clone, Debug)]
pub struct PartQuery<'a, M> {
    /// The rows to read: one more than is shown, which tells whether there is another part. On the way back they are read
    /// against the order asked for, so that the index is entered at the mark and both ways cost the same.
    pub span: Span<M>,
    is_back: bool,
    paging: &'a Paging,
    key: &'a [u8; 32],
}

/// Rows in the order asked for, and the way to their neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<R> {
    /// The rows, at most as many as were asked for.
    pub rows: Vec<R>,
    /// How many rows there are without paging.
    pub total: u64,
    /// The cursor of what comes behind them.
    pub next: Option<String>,
    /// The addresses of the neighbouring parts.
    pub links: Links,
}

impl<'a, M: Mark> PartQuery<'a, M> {
    /// Of a list that is in the order `usual` unless the client says otherwise; `key` seals its cursors. What is wrong if
    /// the client's cursor is none of this kind of list.
    pub fn of(paging: &'a Paging, key: &'a [u8; 32], usual: Order) -> Result<Self, Vec<FieldError>> {
        let opened = paging.range.cursor().map(|cursor| Cursor::open(key, cursor)).transpose();
        let opened = opened.map_err(|problem| problem.errors)?;
        let (is_back, mark) = match opened.as_deref() {
            Some([BACK, mark @ ..]) => (true, Some(mark)),
            mark => (false, mark),
        };
        let foreign = || vec![FieldError::new("cursor", "is of another list")];
        let after = mark.map(|mark| M::from_bytes(mark).ok_or_else(foreign)).transpose()?;
        let order = paging.order.unwrap_or(usual);
        let order = if is_back { order.reversed() } else { order };
        let span = Span { order, after, offset: paging.range.offset(), limit: paging.range.limit() + 1 };
        Ok(Self { span, is_back, paging, key })
    }

    /// The part, of the rows that were read; `mark` names a row.
    #[must_use]
    pub fn part<R>(&self, mut rows: Vec<R>, total: u64, mark: impl Fn(&R) -> M) -> Part<R> {
        let limit = usize::try_from(self.paging.range.limit()).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        if self.is_back {
            rows.reverse();
        }
        // Where a cursor came from there was a row; whether it is still there is not worth a query.
        let (is_more_behind, is_more_before) =
            if self.is_back { (true, has_more) } else { (has_more, self.span.after.is_some()) };
        let last = rows.last().filter(|_| is_more_behind);
        let next = last.map(|last| Cursor::seal(self.key, &mark(last).to_bytes()));
        let first = rows.first().filter(|_| is_more_before);
        let previous =
            first.map(|first| Cursor::seal(self.key, &[&[BACK][..], &mark(first).to_bytes()].concat()));
        let links = self.paging.links(total, rows.len(), next.as_deref(), previous.as_deref());
        Part { rows, total, next, links }
    }
}

impl<R> Part<R> {
    /// As an answer, each row as the client sees it.
    #[must_use]
    pub fn listing<T>(self, shown: impl FnMut(R) -> T) -> Listing<T> {
        Listing { rows: self.rows.into_iter().map(shown).collect(), total: self.total, links: self.links }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    /// The part of the numbers below `end` that this link leads to.
    fn part(end: i64, link: Option<&str>) -> Part<i64> {
        let query = link.map_or("limit=3", |link| link.split_once('?').unwrap().1);
        let paging = Paging::parse(query).unwrap();
        let asked = PartQuery::<i64>::of(&paging, &KEY, Order::Asc).unwrap();
        let (begin, limit) = (asked.span.begin(), usize::try_from(asked.span.limit).unwrap());
        let read = match asked.span.order {
            Order::Asc => (begin.max(-1) + 1..end).take(limit).collect(),
            Order::Desc => (0..begin.min(end)).rev().take(limit).collect(),
        };
        asked.part(read, end.unsigned_abs(), |row| *row)
    }

    #[test]
    fn the_way_back_shows_what_the_way_there_did() {
        let first = part(8, None);
        let second = part(8, first.links.next.as_deref());
        let third = part(8, second.links.next.as_deref());
        assert_eq!((&first.rows[..], &first.links.previous), (&[0, 1, 2][..], &None));
        assert_eq!(second.rows, [3, 4, 5]);
        assert_eq!((&third.rows[..], &third.next, &third.links.next), (&[6, 7][..], &None, &None));
        let back = part(8, third.links.previous.as_deref());
        assert_eq!(back, second);
        assert_eq!(part(8, back.links.previous.as_deref()).rows, first.rows);
    }

    #[test]
    fn what_is_gone_by_now_leaves_a_part_without_rows() {
        let first = part(8, None);
        let second = part(8, first.links.next.as_deref());
        for link in [first.links.next, second.links.previous] {
            let empty = part(0, link.as_deref());
            assert_eq!(
                (empty.rows, empty.next, empty.links.next, empty.links.previous),
                (vec![], None, None, None)
            );
        }
    }

    #[test]
    fn a_cursor_that_leads_on_is_the_bare_mark() {
        assert_eq!(part(8, None).next, Some(Cursor::seal(&KEY, &2_i64.to_be_bytes())));
    }

    #[test]
    fn a_cursor_of_another_kind_of_list_is_refused() {
        for position in [&[][..], &[BACK], &[0; 7], &[BACK, 0, 0, 0, 0, 0, 0, 0], &[0; 16]] {
            let paging = Paging::parse(&format!("cursor={}", Cursor::seal(&KEY, position))).unwrap();
            let errors = PartQuery::<i64>::of(&paging, &KEY, Order::Asc).unwrap_err();
            assert_eq!(errors, [FieldError::new("cursor", "is of another list")]);
        }
    }
}
