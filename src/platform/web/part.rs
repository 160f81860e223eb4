//! A part of a list that is read from a cursor on, onward or back, and the cursors that lead away from it.

use super::cursor::Cursor;
use super::paging::{Paging, Range};

/// What the position of a cursor begins with that leads back. No list begins a mark with it.
const BACK: u8 = 0xff;

/// Where a part of a list begins, as the client's cursor says, if there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The row beside which it begins, in the words of the list; without it the list begins where it begins.
    pub mark: Option<Vec<u8>>,
    /// Whether it is what comes before that row: to be read against the order asked for, from the row on. The index is
    /// entered at the row in either direction, so that the way back costs what the way there did.
    pub is_back: bool,
}

/// Rows in the order asked for, and the cursors of their neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<R> {
    /// The rows, at most as many as were asked for.
    pub rows: Vec<R>,
    /// Leads to what comes behind them.
    pub next: Option<String>,
    /// Leads to what comes before them.
    pub previous: Option<String>,
}

impl Position {
    /// What an opened cursor says.
    pub(super) fn read(mut opened: Vec<u8>) -> Self {
        let is_back = opened.first() == Some(&BACK);
        if is_back {
            opened.remove(0);
        }
        Self { mark: Some(opened), is_back }
    }

    /// The part, of rows that were read from here on: one more than the limit, which tells whether there are more.
    /// `mark` names a row as the list finds it again.
    #[must_use]
    pub fn part<R, M: AsRef<[u8]>>(
        &self,
        paging: &Paging,
        key: &[u8; 32],
        mut rows: Vec<R>,
        mark: impl Fn(&R) -> M,
    ) -> Part<R> {
        let limit = usize::try_from(paging.range.limit()).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        if self.is_back {
            rows.reverse();
        }
        // Where a cursor came from there was a row; whether it is still there is not worth a query.
        let by_cursor = matches!(paging.range, Range::From { .. });
        let (is_more_behind, is_more_before) =
            if self.is_back { (true, has_more) } else { (has_more, by_cursor) };
        let last = rows.last().filter(|_| is_more_behind);
        let next = last.map(|last| Cursor::seal(key, mark(last).as_ref()));
        let first = rows.first().filter(|_| is_more_before);
        let previous = first.map(|first| Cursor::seal(key, &[&[BACK][..], mark(first).as_ref()].concat()));
        Part { rows, next, previous }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    /// The part of the numbers below `end` that this cursor leads to.
    fn part(end: u64, cursor: Option<&str>) -> Part<u64> {
        let query = cursor.map_or_else(|| "limit=3".to_owned(), |cursor| format!("cursor={cursor}&limit=3"));
        let paging = Paging::parse(&query).unwrap();
        let position = paging.position(&KEY).unwrap();
        let mark = position.mark.as_deref().map(|mark| u64::from_be_bytes(mark.try_into().unwrap()));
        let read: Vec<u64> = match (mark, position.is_back) {
            (Some(mark), true) => (0..mark.min(end)).rev().take(4).collect(),
            (mark, _) => (mark.map_or(0, |mark| mark + 1)..end).take(4).collect(),
        };
        position.part(&paging, &KEY, read, |row| row.to_be_bytes())
    }

    #[test]
    fn the_way_back_shows_what_the_way_there_did() {
        let first = part(8, None);
        let second = part(8, first.next.as_deref());
        let third = part(8, second.next.as_deref());
        assert_eq!((&first.rows[..], &first.previous), (&[0, 1, 2][..], &None));
        assert_eq!(second.rows, [3, 4, 5]);
        assert_eq!((&third.rows[..], &third.next), (&[6, 7][..], &None));
        let back = part(8, third.previous.as_deref());
        assert_eq!(back, second);
        assert_eq!(part(8, back.previous.as_deref()), first);
    }

    #[test]
    fn what_is_gone_by_now_leaves_a_part_without_rows() {
        let first = part(8, None);
        let empty = Part { rows: vec![], next: None, previous: None };
        assert_eq!(part(0, first.next.as_deref()), empty);
        let second = part(8, first.next.as_deref());
        assert_eq!(part(0, second.previous.as_deref()), empty);
    }

    #[test]
    fn a_cursor_that_leads_on_is_the_bare_mark() {
        let next = part(8, None).next.unwrap();
        assert_eq!(next, Cursor::seal(&KEY, &2_u64.to_be_bytes()));
        assert_eq!(Position::read(vec![]), Position { mark: Some(vec![]), is_back: false });
        assert_eq!(Position::read(vec![BACK]), Position { mark: Some(vec![]), is_back: true });
    }
}
