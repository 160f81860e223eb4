//! HTTP/2: too much of it, and streams that nobody takes anything of.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Running, SOON, quick, run};
use crate::server::Limits;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Twice what is borne.
const MANY: u32 = 20_000;

/// What is sent again and again, by its number.
type Each = Box<dyn Fn(u32) -> Vec<u8>>;

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// The head of a request for `/api/echo`, by the static table (RFC 7541, A).
fn head(method: u8, flags: u8, stream: u32) -> Vec<u8> {
    frame(1, flags, stream, &[&[0x80 | method, 0x86, 0x04, 9][..], b"/api/echo", &[0x01, 1, b'x']].concat())
}

/// Sends `begin`, and then what `each` gives, many times, for as long as the server takes it. What came back until the server
/// ended the connection; nothing if it did not.
async fn answer_to(server: &Running, begin: &[u8], each: &Each) -> Option<Vec<u8>> {
    let (mut incoming, mut outgoing) = server.connect().await.into_split();
    let sending = async {
        outgoing.write_all(&[PREFACE, &frame(4, 0, 0, &[]), begin].concat()).await?;
        for first in (0..MANY).step_by(500) {
            let piece: Vec<u8> = (first..first + 500).flat_map(each).collect();
            outgoing.write_all(&piece).await?;
        }
        // Still there, and silent: whoever ends it is the server.
        std::future::pending::<std::io::Result<()>>().await
    };
    let reading = async {
        let mut answer = Vec::new();
        // A reset ends it as well.
        drop(incoming.read_to_end(&mut answer).await);
        answer
    };
    let both = async {
        let (mut sending, mut reading) = (std::pin::pin!(sending), std::pin::pin!(reading));
        tokio::select! {
            answer = &mut reading => answer,
            _broken = &mut sending => reading.await,
        }
    };
    tokio::time::timeout(SOON, both).await.ok()
}

/// A flood is cut off long before the end of what would be a silent connection.
#[tokio::test]
async fn floods_of_frames_that_ask_for_nothing_are_cut_off() {
    let long = Duration::from_mins(10);
    let server =
        run(Limits { head_timeout: long, keep_alive: long, write_timeout: long, ..Limits::default() });
    let floods: [(&str, Vec<u8>, Each); 8] = [
        ("settings", Vec::new(), Box::new(|_| frame(4, 0, 0, &[]))),
        ("pings", Vec::new(), Box::new(|_| frame(6, 0, 0, b"flooding"))),
        ("priorities", Vec::new(), Box::new(|_| frame(2, 0, 1, &[0, 0, 0, 0, 1]))),
        ("windows", Vec::new(), Box::new(|_| frame(8, 0, 0, &[0, 0, 0, 1]))),
        ("unknown kinds", Vec::new(), Box::new(|_| frame(0xee, 0, 0, &[]))),
        ("empty data", head(3, 4, 1), Box::new(|_| frame(0, 0, 1, &[]))),
        ("heads that go on", head(3, 0, 1), Box::new(|_| frame(9, 0, 1, &[]))),
        (
            "requests that are taken back",
            Vec::new(),
            Box::new(|number| {
                [head(2, 5, 2 * number + 1), frame(3, 0, 2 * number + 1, &[0, 0, 0, 8])].concat()
            }),
        ),
    ];
    for (name, begin, each) in floods {
        assert!(answer_to(&server, &begin, &each).await.is_some(), "{name}");
    }
    // Whoever comes next is served.
    assert_eq!(server.status(super::HELLO).await.0, "200");
}

#[tokio::test]
async fn as_many_as_a_client_has_reasons_for_are_answered() {
    let server = run(Limits::default());
    let mut socket = server.connect().await;
    let pings = frame(6, 0, 0, b"reasons!").repeat(2_000);
    socket.write_all(&[PREFACE, &frame(4, 0, 0, &[]), &pings].concat()).await.unwrap();
    let pong = frame(6, 1, 0, b"reasons!");
    let (mut answer, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    let all = async {
        while answer.windows(pong.len()).filter(|part| *part == pong).count() < 2_000 {
            let length = socket.read(&mut piece).await.unwrap();
            assert!(length > 0, "the server closed");
            answer.extend_from_slice(&piece[..length]);
        }
    };
    tokio::time::timeout(SOON, all).await.expect("all pings are answered");
}

/// The next frame: its kind, its stream and its content.
async fn next_frame(socket: &mut TcpStream) -> (u8, u32, Vec<u8>) {
    let mut head = [0; 9];
    socket.read_exact(&mut head).await.unwrap();
    let [a, b, c, kind, _flags, stream @ ..] = head;
    let mut content = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
    socket.read_exact(&mut content).await.unwrap();
    (kind, u32::from_be_bytes(stream), content)
}

/// A request for what has a body, from the `/api/echo` of [`head`].
fn asks_for(path: &str, stream: u32) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    frame(1, 5, stream, &[&[0x82, 0x86, 0x04, length][..], path.as_bytes(), &[0x01, 1, b'x']].concat())
}

// however it is asked whether it is still there, and whatever else it asks for.
#[tokio::test]
async fn a_stream_whose_window_stays_shut_ends_and_the_others_go_on() {
    let server = run(Limits { write_timeout: Duration::from_secs(1), ..quick() });
    let mut socket = server.connect().await;
    let no_window = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let begin = [PREFACE, &no_window, &asks_for("/api/big", 1), &asks_for("/api/endless", 3)].concat();
    socket.write_all(&begin).await.unwrap();
    let mut reset = Vec::new();
    let both = async {
        while reset.len() < 2 {
            let (kind, stream, _) = next_frame(&mut socket).await;
            if kind == 3 {
                reset.push(stream);
            }
        }
    };
    tokio::time::timeout(SOON, both).await.expect("both are reset");
    reset.sort_unstable();
    assert_eq!(reset, [1, 3]);
    // One that is opened meanwhile is answered to its end.
    let opened = frame(8, 0, 5, &1024_u32.to_be_bytes());
    socket.write_all(&[asks_for("/api/hello", 5), opened].concat()).await.unwrap();
    let answered = async {
        loop {
            if let (0, 5, content) = next_frame(&mut socket).await {
                return content;
            }
        }
    };
    assert_eq!(tokio::time::timeout(SOON, answered).await.expect("an answer comes"), b"hello");
}

// A stop does not wait for what nobody takes.
#[tokio::test]
async fn a_stop_is_not_held_up_by_a_window_that_stays_shut() {
    let server = run(Limits { write_timeout: Duration::from_secs(1), ..quick() });
    let mut socket = server.connect().await;
    let begin = [PREFACE, &frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]), &asks_for("/api/big", 1)].concat();
    socket.write_all(&begin).await.unwrap();
    // Its head is here: the answer has begun.
    let head = async { while !matches!(next_frame(&mut socket).await, (1, 1, _)) {} };
    tokio::time::timeout(SOON, head).await.expect("the head comes");
    server.stop.cancel();
    let outcome = tokio::time::timeout(SOON, server.served).await;
    assert_eq!(outcome.expect("the server ends").unwrap(), 0, "nothing had to be cut off");
}
