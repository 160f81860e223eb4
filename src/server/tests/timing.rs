//! Deadlines, caps and stops.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{HELLO, SOON, one_answer, quick, rest, run};
use crate::server::Limits;

#[tokio::test]
async fn a_slow_head_ends_at_its_deadline() {
    let server = run(Limits { head_timeout: Duration::from_millis(300), ..quick() });
    let mut socket = server.connect().await;
    let dripping = async {
        for byte in HELLO.bytes().cycle().take(HELLO.len() - 3) {
            socket.write_all(&[byte]).await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok::<_, std::io::Error>(())
    };
    // The head never comes to its end: whoever ends the wait is the server.
    let broken = tokio::time::timeout(SOON, dripping).await.unwrap();
    if broken.is_ok() {
        let answer = one_answer(&mut socket).await;
        assert!(answer.contains(" 408 "), "{answer}");
    }
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let server = run(Limits { head_timeout: Duration::from_millis(300), ..quick() });
    let begun = Instant::now();
    assert_eq!(rest(&mut server.connect().await).await, "");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let server = run(Limits { keep_alive: Duration::from_millis(600), ..quick() });
    let mut used = server.connect().await;
    // The server's silence may begin before the test has its answer.
    let silent = Instant::now();
    used.write_all(HELLO.as_bytes()).await.unwrap();
    assert!(one_answer(&mut used).await.ends_with("hello"));
    assert_eq!(rest(&mut used).await, "");
    assert!(silent.elapsed() >= Duration::from_millis(550), "{:?}", silent.elapsed());
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off() {
    let server = run(Limits { write_timeout: Duration::from_millis(300), ..quick() });
    let mut socket = server.connect().await;
    socket.write_all(b"GET /api/endless HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let (mut nowhere, mut is_cut) = (tokio::io::sink(), false);
    // Where the machine stood still for all of a pause, the server has had nobody to wait for.
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let taking = tokio::io::copy(&mut socket, &mut nowhere);
        is_cut = tokio::time::timeout(Duration::from_secs(1), taking).await.is_ok();
        if is_cut {
            break;
        }
    }
    assert!(is_cut, "the connection is still open");
}

#[tokio::test]
async fn a_slow_body_ends_at_the_requests_deadline() {
    let server = run(quick());
    let answer = server.whole("POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\na").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: "), "{answer}");
}

#[tokio::test]
async fn a_stop_lets_running_requests_finish_and_takes_no_new_connections() {
    let server = run(quick());
    let mut socket = server.connect().await;
    socket.write_all(b"GET /api/slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut idle = server.connect().await;
    idle.write_all(HELLO.as_bytes()).await.unwrap();
    assert!(one_answer(&mut idle).await.ends_with("hello"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(TcpStream::connect(server.address).await.is_err());
    // A request that was on its way when the stop came is answered, as the last one.
    idle.write_all(HELLO.as_bytes()).await.unwrap();
    let last = rest(&mut idle).await;
    assert!(last.contains("connection: close") && last.ends_with("hello"), "{last}");
    let answer = rest(&mut socket).await;
    assert!(answer.contains("connection: close") && answer.ends_with("slow"), "{answer}");
    assert_eq!(server.served.await.unwrap(), 0);
}

#[tokio::test]
async fn a_stop_cuts_off_what_does_not_end() {
    let server = run(Limits { shutdown_timeout: Duration::from_millis(300), ..Limits::default() });
    let mut socket = server.connect().await;
    socket.write_all(b"GET /api/endless HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut begin = [0; 12];
    socket.read_exact(&mut begin).await.unwrap();
    server.stop.cancel();
    let outcome = tokio::time::timeout(SOON, server.served).await;
    assert_eq!(outcome.expect("the server ends").unwrap(), 1);
}

#[tokio::test]
async fn connections_above_the_cap_wait_for_their_turn() {
    let server = run(Limits { max_connections: 1, ..quick() });
    let mut first = server.connect().await;
    first.write_all(HELLO.as_bytes()).await.unwrap();
    assert!(one_answer(&mut first).await.ends_with("hello"));
    let mut second = server.connect().await;
    second.write_all(HELLO.as_bytes()).await.unwrap();
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(200), second.read(&mut byte)).await;
    assert!(early.is_err(), "the second was served beside the first");
    drop(first);
    assert!(one_answer(&mut second).await.ends_with("hello"));
}
