//! The frames of HTTP/2 (RFC 9113, 4.1) as they come in, weighed before hyper reads them.
//!
//! Most kinds of frames bring nothing to a handler, yet each is read and many are answered: whoever sends them as fast as
//! the line takes them keeps a core busy, and makes no request that a limit could count (RFC 9113, 10.5; CVE-2019-9512,
//! 9515 and 9518). hyper bounds resets that it hears of in time, its own resets, and heads; the rest is bounded here.

use tokio::time::Instant;

/// Bytes before each frame's content: length, kind, flags, stream.
const HEAD: usize = 9;
/// What is left of the preface behind its first line (RFC 9113, 3.4).
const REST_OF_PREFACE: usize = 8;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
/// Of DATA: some of its bytes, perhaps all, say nothing.
const PADDED: u8 = 8;

/// What a frame costs, in the unit of the budget. So many bytes that we send pay for a frame that comes: who takes much
/// says often that there is room for more.
const FRAME: i64 = 1024;
/// Frames that may come at once, and without a cause, before anybody looks at the clock.
const MOST: i64 = 10_000 * FRAME;
/// The content that costs as much as another frame, in bytes.
const CONTENT: usize = 256;

/// There were too many frames that ask for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flood;

/// What one connection sends, and what that has cost.
#[derive(Debug)]
pub(super) struct Frames {
    reader: FrameReader,
    budget: Budget,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self { reader: FrameReader::behind(REST_OF_PREFACE), budget: Budget::new() }
    }

    /// Weighs bytes that came.
    pub(super) fn came(&mut self, input: &[u8]) -> Result<(), Flood> {
        let mut cost = 0;
        self.reader.feed(input, |frame| cost += frame.cost());
        self.budget.spend(cost)
    }

    /// Notes that so many bytes went out.
    pub(super) fn went(&mut self, bytes: usize) {
        self.budget.earn(bytes);
    }
}

/// Finds the frames in a stream of bytes, however it is cut into pieces.
#[derive(Debug)]
pub(super) struct FrameReader {
    head: [u8; HEAD],
    /// How much of it has come.
    come: usize,
    /// Bytes before the next head.
    content: usize,
}

/// What stands before a frame's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
}

impl FrameReader {
    /// The first frame begins behind so many bytes.
    pub(super) const fn behind(bytes: usize) -> Self {
        Self { head: [0; HEAD], come: 0, content: bytes }
    }

    /// Reads on; `each` is told of every frame that begins.
    pub(super) fn feed(&mut self, mut input: &[u8], mut each: impl FnMut(FrameHead)) {
        loop {
            let passed = self.content.min(input.len());
            self.content -= passed;
            input = &input[passed..];
            if input.is_empty() {
                return;
            }
            let taken = input.len().min(HEAD - self.come);
            self.head[self.come..self.come + taken].copy_from_slice(&input[..taken]);
            self.come += taken;
            input = &input[taken..];
            if self.come == HEAD {
                let head = FrameHead::of(&self.head);
                (self.come, self.content) = (0, head.length);
                each(head);
            }
        }
    }
}

impl FrameHead {
    fn of(bytes: &[u8; HEAD]) -> Self {
        let [high, middle, low, kind, flags, ..] = *bytes;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        Self { length, kind, flags }
    }

    /// In frames. A request pays for one frame beside it, such as the end of its body. A reset costs two: else a request
    /// would pay for taking it back (CVE-2023-44487).
    fn cost(self) -> i64 {
        match self.kind {
            HEADERS => -1,
            DATA if self.length > 0 && self.flags & PADDED == 0 => 0,
            DATA => 1,
            RST_STREAM => 2,
            // Settings, pings, priorities, windows, heads that go on, and kinds that nobody knows.
            _ => 1 + i64::try_from(self.length / CONTENT).unwrap_or(i64::from(u16::MAX)),
        }
    }
}

/// What may be spent still. It grows by a frame each millisecond.
#[derive(Debug)]
struct Budget {
    left: i64,
    /// Up to when its growth was counted.
    counted: Instant,
}

impl Budget {
    fn new() -> Self {
        Self { left: MOST, counted: Instant::now() }
    }

    /// The clock is looked at only where nothing is left.
    fn spend(&mut self, frames: i64) -> Result<(), Flood> {
        self.left = (self.left - frames * FRAME).min(MOST);
        if self.left >= 0 {
            return Ok(());
        }
        let now = Instant::now();
        let micros = now.duration_since(self.counted).as_micros();
        let grown = i64::try_from(micros).unwrap_or(i64::MAX).saturating_mul(FRAME) / 1000;
        self.left = self.left.saturating_add(grown).min(MOST);
        self.counted = now;
        if self.left >= 0 { Ok(()) } else { Err(Flood) }
    }

    fn earn(&mut self, bytes: usize) {
        self.left = self.left.saturating_add(i64::try_from(bytes).unwrap_or(MOST)).min(MOST);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        [&[0, 0, length, kind, flags, 0, 0, 0, 1][..], &vec![0xff; length.into()]].concat()
    }

    fn begun() -> Frames {
        let mut frames = Frames::new();
        assert_eq!(frames.came(b"\r\nSM\r\n\r\n"), Ok(()));
        // As if the clock stood still: nothing grows while a test runs.
        frames.budget.counted += Duration::from_hours(1);
        frames
    }

    /// How many of these may come, up to a million.
    fn bearable(frames: &mut Frames, each: &[u8]) -> usize {
        (0..1_000_000).take_while(|_| frames.came(each).is_ok()).count()
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let heads = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let (mut reader, mut heads) = (FrameReader::behind(3), Vec::new());
            pieces.for_each(|piece| {
                reader.feed(piece, |head| heads.push((head.kind, head.flags, head.length)));
            });
            heads
        };
        let stream =
            [b"abc".to_vec(), frame(SETTINGS, 0, 0), frame(DATA, 1, 200), frame(PING, 0, 8)].concat();
        let expected = [(SETTINGS, 0, 0), (DATA, 1, 200), (PING, 0, 8)];
        for size in 1..=stream.len() {
            assert_eq!(heads(&mut stream.chunks(size)), expected, "pieces of {size}");
        }
    }

    #[test]
    fn what_asks_for_nothing_is_bounded() {
        for (each, most) in [
            (frame(SETTINGS, 0, 0), 10_000),
            (frame(PING, 0, 8), 10_000),
            (frame(WINDOW_UPDATE, 0, 4), 10_000),
            (frame(2, 0, 5), 10_000),
            (frame(9, 0, 1), 10_000),
            (frame(77, 0, 1), 10_000),
            (frame(DATA, 0, 0), 10_000),
            (frame(DATA, PADDED, 1), 10_000),
            (frame(RST_STREAM, 0, 4), 5_000),
            ([frame(HEADERS, 5, 9), frame(RST_STREAM, 0, 4)].concat(), 10_000),
        ] {
            assert_eq!(bearable(&mut begun(), &each), most, "{each:?}");
        }
    }

    #[test]
    fn long_content_that_asks_for_nothing_costs_more() {
        let settings = [&[0, 0x40, 0, SETTINGS, 0, 0, 0, 0, 0][..], &[0; 0x4000]].concat();
        assert_eq!(bearable(&mut begun(), &settings), 10_000 / 65);
    }

    #[test]
    fn requests_and_their_bodies_may_come_as_fast_as_they_like() {
        for each in [
            frame(HEADERS, 5, 9),
            [frame(HEADERS, 4, 9), frame(DATA, 1, 0)].concat(),
            [frame(HEADERS, 4, 9), frame(DATA, 1, 2)].concat(),
            [frame(HEADERS, 5, 9), frame(2, 0, 5)].concat(),
            frame(DATA, 0, 1),
        ] {
            assert_eq!(bearable(&mut begun(), &each), 1_000_000, "{each:?}");
        }
    }

    #[test]
    fn who_takes_much_may_say_often_that_there_is_room() {
        let mut frames = begun();
        let mut spent = 0;
        while spent < 1_000_000 && frames.came(&frame(WINDOW_UPDATE, 0, 4)).is_ok() {
            frames.went(1024);
            spent += 1;
        }
        assert_eq!(spent, 1_000_000);
    }

    #[test]
    fn time_forgives_a_thousand_a_second() {
        let mut frames = begun();
        let ping = frame(PING, 0, 8);
        assert_eq!(bearable(&mut frames, &ping), 10_000);
        frames.budget = Budget { left: 0, counted: Instant::now() - Duration::from_secs(8) };
        assert_eq!(frames.came(&ping.repeat(8_000)), Ok(()));
        frames.budget.counted += Duration::from_hours(1);
        assert!(bearable(&mut frames, &ping) < 8_000, "eight seconds are forgiven once");
    }

    #[test]
    fn a_long_silence_forgives_no_more_than_the_most() {
        let mut frames = begun();
        frames.budget = Budget { left: 0, counted: Instant::now() - Duration::from_hours(1) };
        let ping = frame(PING, 0, 8);
        assert_eq!(frames.came(&ping), Ok(()));
        frames.budget.counted += Duration::from_hours(2);
        assert_eq!(bearable(&mut frames, &ping), 10_000);
    }
}
