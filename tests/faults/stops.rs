//! Stops: what was accepted is answered, what hangs is cut off, and the exit code tells which.

use std::cell::Cell;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::chance::{Dice, rounds};
use crate::gatehouse::{Server, Signal, Site};
use crate::ledger;
use crate::waiting::{SOON, until_true};

/// Well before `SHUTDOWN_TIMEOUT_SECONDS`, also on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_stop_under_load_cuts_off_nobody() {
    // So much notice that it is seen also where the machine stands still for a while.
    let (dice, site) = (Dice::new(), Site::new().with("STOP_NOTICE_MILLISECONDS", "4000"));
    for _ in 0..rounds(2) {
        let mut server = site.start().await;
        let (client, over) = (server.client(), Cell::new(false));
        let stopping = async {
            let half = HalfSent::to(&server).await;
            tokio::time::sleep(dice.millis(200..800)).await;
            server.signal(Signal::TERM);
            let probe = server.client();
            until_true("readiness says no", SOON, async || {
                matches!(probe.readiness().await.expect("the door is still open").0, 503)
            })
            .await;
            nobody_listens(&server).await;
            let answer = half.rest().await;
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
            let status = server.ended(SOON).await;
            over.set(true);
            status
        };
        let (entries, status) = tokio::join!(ledger::load(&client, &dice, &over), stopping);
        println!("{} writes answered ({:?})", entries.done(), entries.answers);
        assert!(status.success(), "{status}");
        assert!(entries.cut.is_empty(), "{:#?}", entries.cut);
        entries.check(&site.database().await).await;
    }
}

#[tokio::test]
async fn a_second_signal_ends_the_program_at_once() {
    let site = Site::new();
    let mut server = site.start().await;
    let _hanging = HalfSent::to(&server).await;
    server.signal(Signal::INT);
    nobody_listens(&server).await;
    server.signal(Signal::TERM);
    let status = server.ended(AT_ONCE).await;
    assert_eq!(status.code(), Some(1), "somebody was cut off");
    site.start().await.stop().await;
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut_off() {
    let site = Site::new().with("SHUTDOWN_TIMEOUT_SECONDS", "1");
    let mut server = site.start().await;
    let _hanging = HalfSent::to(&server).await;
    server.signal(Signal::TERM);
    let status = server.ended(AT_ONCE).await;
    assert_eq!(status.code(), Some(1), "somebody was cut off");
    assert!(server.output().contains("cut off: they did not finish in time"));
}

#[tokio::test]
async fn an_idle_server_stops_at_once() {
    let site = Site::new();
    let mut server = site.start().await;
    let _silent = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    server.signal(Signal::TERM);
    assert!(server.ended(AT_ONCE).await.success());
}

#[tokio::test]
async fn the_door_stays_open_for_as_long_as_balancers_need() {
    let notice = Duration::from_secs(8);
    let site = Site::new().with("STOP_NOTICE_MILLISECONDS", &notice.as_millis().to_string());
    let mut server = site.start().await;
    let told = std::time::Instant::now();
    server.signal(Signal::TERM);
    let client = server.client();
    until_true("readiness says no", SOON, async || {
        matches!(client.readiness().await.expect("the door is still open").0, 503)
    })
    .await;
    // Who comes meanwhile is served, however late.
    while told.elapsed() < notice / 2 {
        let late = server.client().me("nobody's token").await;
        assert_eq!(late.expect("the door is still open").status, 401);
    }
    assert!(server.ended(SOON).await.success());
    assert!(told.elapsed() >= notice, "{:?}", told.elapsed());
}

#[tokio::test]
async fn a_hang_up_does_no_harm() {
    let site = Site::new();
    let server = site.start().await;
    for _ in 0..3 {
        server.signal(Signal::HUP);
    }
    until_true("the signal was heard", SOON, async || server.output().contains("SIGHUP")).await;
    assert_eq!(server.client().sign_up("ann").await.unwrap().status, 201);
    server.stop().await;
}

/// A request of which the server has the first half.
struct HalfSent {
    socket: TcpStream,
    rest: &'static str,
}

impl HalfSent {
    async fn to(server: &Server<'_>) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
        let body = r#"{"refresh_token":"gr_not_one_of_ours"}"#;
        let head = format!(
            "POST /api/auth/token/refresh HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            body.len()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        // The server asks for the body when a handler waits for it: from then on the request is under way.
        let mut go_on = [0; 25];
        socket.read_exact(&mut go_on).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        let (half, rest) = body.split_at(20);
        socket.write_all(half.as_bytes()).await.unwrap();
        Self { socket, rest }
    }

    /// Sends the other half; the answer, after which the server closes the connection.
    async fn rest(mut self) -> String {
        self.socket.write_all(self.rest.as_bytes()).await.unwrap();
        let mut answer = String::new();
        self.socket.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

async fn nobody_listens(server: &Server<'_>) {
    let connect = async || TcpStream::connect(("127.0.0.1", server.port())).await.is_err();
    until_true("nobody listens any more", SOON, connect).await;
}
