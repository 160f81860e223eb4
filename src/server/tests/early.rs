//! What is refused before it is a request, where libraries of OAuth ask.

use futures_util::future::join_all;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use super::{HELLO, Running, one_answer, quick, rest, run, text_of};

const TRADE: &str = "POST /api/token HTTP/1.1\r\nHost: x\r\n";

impl Running {
    /// The status of the answer, and the problem in it.
    async fn refusal(&self, request: &str) -> (String, Value) {
        let mut socket = self.connect().await;
        // The server may close before all of it is sent.
        let sent = socket.write_all(request.as_bytes()).await;
        let answer = one_answer(&mut socket).await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{sent:?} {answer:?}"));
        (answer[9..12].to_owned(), serde_json::from_str(body).unwrap())
    }
}

#[track_caller]
fn says_invalid_request(problem: &Value) {
    assert_eq!(problem["error"], "invalid_request", "{problem}");
    assert_eq!(problem["error_description"], problem["detail"], "{problem}");
}

#[track_caller]
fn says_nothing_of_oauth(problem: &Value) {
    assert!(problem.get("error").is_none() && problem.get("error_description").is_none(), "{problem}");
}

#[tokio::test]
async fn where_libraries_of_oauth_ask_it_says_what_they_look_for() {
    let server = run(quick());
    let (query, cookie) = ("a".repeat(9000), "a".repeat(17_000));
    for (request, status) in [
        (format!("POST /api/token?{query} HTTP/1.1\r\nHost: x\r\n\r\n"), "414"),
        (format!("POST /api/token/?{query} HTTP/1.1\r\nHost: x\r\n\r\n"), "414"),
        (format!("POST http://x/api/token?{query} HTTP/1.1\r\nHost: x\r\n\r\n"), "414"),
        (format!("{TRADE}Cookie: {cookie}\r\n\r\n"), "431"),
        (format!("{TRADE}{}\r\n", "A: b\r\n".repeat(101)), "431"),
        (format!("{TRADE}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), "400"),
        (format!("{TRADE}X: y\n\r\n"), "400"),
        // What only the parser refuses.
        (format!("{TRADE}Content-Length : 3\r\n\r\nabc"), "400"),
        (format!("{TRADE}X: \0\r\n\r\n"), "400"),
        (format!("{TRADE}X: \0\r\n\r\n{HELLO}"), "400"),
    ] {
        let (answered, problem) = server.refusal(&request).await;
        assert_eq!(answered, status, "{request:.100}");
        says_invalid_request(&problem);
    }
}

#[tokio::test]
async fn where_the_path_is_another_one_or_not_known_it_says_nothing_of_oauth() {
    let server = run(quick());
    let long = "a".repeat(17_000);
    for (request, status) in [
        (format!("GET /api/token?{long} HTTP/1.1\r\nHost: x\r\n\r\n"), "414"),
        (format!("POST /api/token{long} HTTP/1.1\r\nHost: x\r\n\r\n"), "414"),
        (format!("POST /api/echo HTTP/1.1\r\nHost: x\r\nCookie: {long}\r\n\r\n"), "431"),
        (format!("GET /api/hello HTTP/1.1\r\nHost: x\r\nX: \0\r\n\r\n{TRADE}"), "400"),
        ("POST /api/token\nHost: x\n\n".to_owned(), "400"),
        ("\0\0\0\0\r\n\r\n".to_owned(), "400"),
    ] {
        let (answered, problem) = server.refusal(&request).await;
        assert_eq!(answered, status, "{request:.100}");
        says_nothing_of_oauth(&problem);
    }
}

#[tokio::test]
async fn each_head_of_a_connection_is_judged_by_its_own_path() {
    let server = run(quick());
    let trade = format!("{TRADE}Content-Length: 0\r\n\r\n");
    for (first, second, is_by_oauth) in
        [(HELLO, TRADE.trim_end(), true), (trade.as_str(), HELLO.trim_end(), false)]
    {
        let mut socket = server.connect().await;
        socket.write_all(first.as_bytes()).await.unwrap();
        one_answer(&mut socket).await;
        socket.write_all(format!("{second}\r\nX: y\n\r\n").as_bytes()).await.unwrap();
        let answer = one_answer(&mut socket).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let problem = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        if is_by_oauth { says_invalid_request(&problem) } else { says_nothing_of_oauth(&problem) }
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_is_judged_by_what_came() {
    let server = run(quick());
    let begins = [
        (TRADE, true),
        ("POST /api/token?x", true),
        ("POST /api/token", false),
        ("POST /api/echo HTT", false),
    ];
    // All at once: each takes as long as a head may.
    let server = &server;
    let asked = begins.map(|(begin, is_by_oauth)| async move {
        let mut socket = server.connect().await;
        socket.write_all(begin.as_bytes()).await.unwrap();
        let answer = rest(&mut socket).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{begin:?}: {answer}");
        assert!(answer.contains("strict-transport-security: max-age=31536000\r\n"), "{answer}");
        let problem = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        if is_by_oauth { says_invalid_request(&problem) } else { says_nothing_of_oauth(&problem) }
    });
    join_all(asked).await;
}

#[tokio::test]
async fn heads_of_http2_are_refused_in_the_same_words() {
    let server = run(quick());
    let (client, connection) = h2::client::handshake(server.connect().await).await.unwrap();
    let asked = async move {
        let mut client = client;
        for (method, cookie, query, status) in
            [("POST", 1, 9000, 414), ("POST", 20_000, 1, 431), ("GET", 1, 9000, 414), ("GET", 20_000, 1, 431)]
        {
            let request = poem::http::Request::builder()
                .method(method)
                .uri(format!("http://x/api/token?{}", "a".repeat(query)))
                .header("cookie", "c".repeat(cookie))
                .body(())
                .unwrap();
            client = client.ready().await.unwrap();
            let (answer, _) = client.send_request(request, true).unwrap();
            let answer = answer.await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{method} {cookie}");
            assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
            let problem = serde_json::from_str(&text_of(answer.into_body()).await).unwrap();
            if method == "POST" { says_invalid_request(&problem) } else { says_nothing_of_oauth(&problem) }
        }
    };
    tokio::select! {
        () = asked => {}
        ended = connection => panic!("the connection ended: {ended:?}"),
    }
}
