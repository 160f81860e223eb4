//! Heads and bodies that two readers might cut differently, and those that are too large.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{HELLO, Running, SOON, ids, one_answer, quick, rest, run};

/// What would be sent if all of it were taken: far more than the system keeps on its way.
const MUCH: usize = 64 << 20;

#[tokio::test]
async fn a_body_with_line_feeds_is_no_head() {
    let server = run(quick());
    let mut socket = server.connect().await;
    // The handler of a GET does not read the body, which comes in a second piece.
    socket.write_all(b"GET /api/hello HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n").await.unwrap();
    assert!(one_answer(&mut socket).await.ends_with("hello"));
    socket.write_all(b"a\nb\nc\n").await.unwrap();
    let echo = "POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\na\nb\nc\n";
    let answer = server.status(echo).await;
    assert_eq!(answer, ("200".into(), false));
}

/// Else a client sends its next request into a connection that ends.
#[tokio::test]
async fn who_is_answered_before_the_whole_body_came_is_told_that_the_connection_ends() {
    let server = run(quick());
    let mut socket = server.connect().await;
    let head = "POST /api/nope HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n";
    socket.write_all(format!("{head}abcdef").as_bytes()).await.unwrap();
    let answer = one_answer(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && !answer.contains("connection: close"), "{answer}");
    socket.write_all(format!("{head}abc").as_bytes()).await.unwrap();
    let answer = rest(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn what_two_readers_may_read_differently_is_400_and_closed() {
    let server = run(quick());
    let post = "POST /api/echo HTTP/1.1\r\nHost: x\r\n";
    for bad in [
        format!("{post}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
        format!("{post}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
        format!("{post}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
        format!("{post}Content-Length : 3\r\n\r\nabc"),
        format!("{post}Content-Length: -3\r\n\r\nabc"),
        format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        format!("{post}X: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
        "GET /api/hello HTTP/1.1\nHost: x\n\n".into(),
        "GET /api/hello HTTP/1.1\r\nHost: x\nX: y\r\n\r\n".into(),
        "GET /api/hello HTTP/1.1\r\nHost: x\rX: y\r\n\r\n".into(),
        "GET /api/hello HTTP/1.1\r\nHost : x\r\n\r\n".into(),
        "GET /api/hello\r\n\r\n".into(),
        "GET  /api/hello HTTP/1.1\r\nHost: x\r\n\r\n".into(),
        "GET /api/hello HTTP/1.1\r\nHost: x\r\nX: \0\r\n\r\n".into(),
        "\0\0\0\0\r\n\r\n".into(),
    ] {
        let answer = server.whole(&bad).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{bad:?} -> {answer:?}");
        assert!(answer.contains("content-type: application/problem+json\r\n"), "{bad:?} -> {answer:?}");
        assert!(answer.contains("x-trace-id: ") && answer.contains("\"code\":\"bad_request\""), "{answer:?}");
    }
}

#[tokio::test]
async fn a_smuggled_head_behind_a_body_is_checked_too() {
    let server = run(quick());
    let first = "POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    let answers = server.whole(&format!("{first}GET /api/hello HTTP/1.1\nHost: x\n\n")).await;
    assert!(!answers.contains("hello"), "{answers}");
    let chunked =
        "POST /api/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answers = server.whole(&format!("{chunked}{HELLO}")).await;
    assert!(answers.contains("200 OK") && answers.contains("connection: close"), "{answers}");
    assert!(!answers.contains("hello"), "{answers}");
}

/// Sends `begin`, and then `more` again and again, for as long as the server takes it. What it answered until it ended
/// the connection, and how much it let come.
async fn answer_to_endless(server: &Running, begin: &str, more: &str) -> (String, usize) {
    let (mut incoming, mut outgoing) = server.connect().await.into_split();
    let piece = more.repeat(64 * 1024 / more.len());
    let mut taken = 0;
    let sending = async {
        outgoing.write_all(begin.as_bytes()).await?;
        while taken < MUCH {
            outgoing.write_all(piece.as_bytes()).await?;
            taken += piece.len();
        }
        std::io::Result::Ok(())
    };
    let reading = async {
        let mut answer = Vec::new();
        // A reset ends it as well.
        drop(incoming.read_to_end(&mut answer).await);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let both = async { tokio::join!(sending, reading) };
    let (_broken, answer) = tokio::time::timeout(SOON, both).await.expect("the server ends it");
    (answer, taken)
}

/// The connection ended, and nothing was done but to refuse what came.
fn is_refused(answer: &str) -> bool {
    let last = answer.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(answer);
    last.is_empty() || last.starts_with("HTTP/1.1 4") && !last.contains("hello")
}

//
#[tokio::test]
async fn chunks_that_are_none_end_the_connection() {
    let server = run(quick());
    let head = "POST /api/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    for bad in [
        "10000000000000000\r\nabc\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "99999999999999999999999999999999\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3 3\r\nabc\r\n0\r\n\r\n",
        "g\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
    ] {
        let answer = server.whole(&format!("{head}{bad}{HELLO}")).await;
        assert!(is_refused(&answer), "{bad:?} -> {answer:?}");
    }
    let promising = head.replace("Host", "Expect: 100-continue\r\nHost");
    for (what, begin, more) in [
        ("a size", head.to_owned(), "f"),
        ("a chunk", format!("{head}ffffffffffffffff\r\n"), "x"),
        ("chunks", head.to_owned(), "1;a\r\nx\r\n"),
        ("extensions", format!("{head}3"), ";a=b"),
        ("one extension", format!("{head}3;a="), "b"),
        ("trailers", format!("{head}3\r\nabc\r\n0\r\n"), "X: y\r\n"),
        ("one trailer", format!("{head}0\r\nX: "), "y"),
        ("promises of a body", promising.clone(), promising.as_str()),
    ] {
        let (answer, taken) = answer_to_endless(&server, &begin, more).await;
        assert!(is_refused(&answer), "{what}: {answer:?}");
        assert!(taken < MUCH, "{what}: all of it was taken");
        // Whoever comes next is served.
        assert_eq!(server.status(HELLO).await.0, "200", "{what}");
    }
}

//
#[tokio::test]
async fn whoever_promises_a_body_and_sends_none_holds_up_nobody() {
    let server = run(quick());
    let head = "POST /api/echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut socket = server.connect().await;
        socket.write_all(head.as_bytes()).await.unwrap();
        waiting.push(socket);
    }
    assert_eq!(server.status(HELLO).await.0, "200");
    for mut socket in waiting {
        // That was all.
        socket.shutdown().await.unwrap();
        let answer = rest(&mut socket).await;
        assert!(is_refused(&answer), "{answer:?}");
    }
    assert_eq!(server.status(HELLO).await.0, "200");
}

#[tokio::test]
async fn heads_have_bounds() {
    let server = run(quick());
    let long_target = format!("GET /api/{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(9 * 1024));
    let big_cookie = format!("GET /api/hello HTTP/1.1\r\nHost: x\r\nCookie: {}\r\n\r\n", "a".repeat(1 << 20));
    let many = format!("GET /api/hello HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(10_000));
    let ids_elsewhere = format!("GET /api/hello?{} HTTP/1.1\r\nHost: x\r\n\r\n", ids(1000));
    let endless_ids = format!("GET /api/user/users?{} HTTP/1.1\r\nHost: x\r\n\r\n", ids(1100));
    let beside_ids = format!(
        "GET /api/user/users?{} HTTP/1.1\r\nHost: x\r\nCookie: {}\r\n\r\n",
        ids(1000),
        "a".repeat(9000)
    );
    for (request, status) in [
        (long_target, "414"),
        (ids_elsewhere, "414"),
        (endless_ids, "414"),
        (big_cookie, "431"),
        (beside_ids, "431"),
        (many, "431"),
    ] {
        let mut socket = server.connect().await;
        // The server may close before all of it is sent.
        let sent = socket.write_all(request.as_bytes()).await;
        let answer = one_answer(&mut socket).await;
        assert_eq!(answer.get(9..12), Some(status), "{sent:?} {answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
}

#[tokio::test]
async fn a_list_of_a_thousand_ids_is_taken_however_it_is_cut() {
    let server = run(quick());
    let mut socket = server.connect().await;
    let list = format!("GET /api/user/users?{} HTTP/1.1\r\nHost: x\r\n\r\n", ids(1000));
    for size in [list.len(), 1500, 100] {
        for piece in list.as_bytes().chunks(size) {
            socket.write_all(piece).await.unwrap();
        }
        let answer = one_answer(&mut socket).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello"), "{size}: {answer}");
        socket.write_all(HELLO.as_bytes()).await.unwrap();
        assert!(one_answer(&mut socket).await.ends_with("hello"));
    }
}

#[tokio::test]
async fn one_host_is_asked_for() {
    let server = run(quick());
    assert_eq!(server.status("GET /api/hello HTTP/1.1\r\n\r\n").await.0, "400");
    assert_eq!(server.status("GET /api/hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await.0, "400");
    assert_eq!(server.status("GET http://evil.test/api/hello HTTP/1.1\r\nHost: a\r\n\r\n").await.0, "200");
}
