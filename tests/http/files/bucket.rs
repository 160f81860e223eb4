//! Files in a bucket: against a store that checks signatures and speaks as much of S3 as is used.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use futures_util::FutureExt;
use gatehouse::platform::hexadecimal;
use poem::http::{Method, StatusCode};
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{Endpoint, Request, Response, Server};
use sea_orm::DbErr;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{content_of, path_of, sha256, unfinished, upload, uploaded};
use crate::harness::{Reply, TestApp, eventually};

const KEY_ID: &str = "GATEHOUSETEST";
const KEY: &str = "a/secret+key/of/the/tests";
const REGION: &str = "eu-test-1";

/// A store with one bucket, `files`.
#[derive(Clone, Default)]
struct Store(Arc<Inside>);

#[derive(Default)]
struct Inside {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    parts: Mutex<HashMap<String, BTreeMap<u32, Vec<u8>>>>,
    is_down: AtomicBool,
    /// How it answers what is to be written only where nothing is, if it does not do so.
    refuses_conditions: Mutex<Option<StatusCode>>,
    /// Whoever lists it waits until this is free.
    listing: tokio::sync::Mutex<()>,
    /// Who makes the bucket theirs once somebody has seen that it is nobody's.
    rival: Mutex<Option<String>>,
}

impl Store {
    /// A program that keeps its files in this store.
    async fn app(&self) -> TestApp {
        let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.unwrap();
        let port = acceptor.local_addr()[0].as_socket_addr().unwrap().port();
        tokio::spawn(Server::new_with_acceptor(acceptor).run(self.clone()));
        let url = format!("s3://files/some/prefix?region={REGION}&endpoint=http://127.0.0.1:{port}");
        let keys = [("AWS_ACCESS_KEY_ID", KEY_ID), ("AWS_SECRET_ACCESS_KEY", KEY)];
        TestApp::with(&[("STORAGE_URL", &url), keys[0], keys[1]]).await
    }

    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.objects.lock().unwrap().clone()
    }

    fn refuses_conditions(&self, how: StatusCode) {
        *self.0.refuses_conditions.lock().unwrap() = Some(how);
    }

    /// Puts bytes there that have no row; their key.
    fn leave_behind(&self, app: &TestApp) -> String {
        let blob = app.inside.random.uuid_v7(app.clock.now()).to_string();
        let key = format!("some/prefix/{}/{}/{blob}", &blob[32..34], &blob[34..36]);
        self.0.objects.lock().unwrap().insert(key.clone(), b"orphan".to_vec());
        key
    }

    fn blobs(&self) -> usize {
        self.objects().keys().filter(|key| !key.ends_with("/owner")).count()
    }

    fn answer(&self, request: &Request, body: Vec<u8>) -> Response {
        let path = request.uri().path();
        let query: BTreeMap<String, String> =
            serde_urlencoded::from_str(request.uri().query().unwrap_or_default()).unwrap();
        let key = path.strip_prefix("/files").expect("the bucket").trim_start_matches('/').to_owned();
        let (part, upload) = (query.get("partNumber"), query.get("uploadId"));
        let is_conditional = request.header("if-none-match") == Some("*");
        let refusal = self.0.refuses_conditions.lock().unwrap().filter(|_| is_conditional);
        match (request.method(), part, upload) {
            (&Method::PUT, Some(part), Some(upload)) => {
                let number = part.parse().unwrap();
                self.0.parts.lock().unwrap().get_mut(upload).unwrap().insert(number, body);
                Response::builder().header("etag", format!("\"{number}\"")).finish()
            }
            (&Method::PUT, ..) if refusal.is_some() => refusal.unwrap().into(),
            (&Method::PUT, ..) if is_conditional && self.objects().contains_key(&key) => {
                StatusCode::PRECONDITION_FAILED.into()
            }
            (&Method::PUT, ..) => {
                let etag = format!("\"{}\"", sha256(&body));
                self.0.objects.lock().unwrap().insert(key, body);
                Response::builder().header("etag", etag).finish()
            }
            (&Method::POST, ..) if query.contains_key("uploads") => {
                let mut parts = self.0.parts.lock().unwrap();
                let id = format!("upload-{}", parts.len());
                parts.insert(id.clone(), BTreeMap::new());
                xml(&format!(
                    "<InitiateMultipartUploadResult><Bucket>files</Bucket><Key>{key}</Key>\
                     <UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                ))
            }
            (&Method::POST, _, Some(upload)) => {
                let parts = self.0.parts.lock().unwrap().remove(upload).unwrap();
                let small = parts.values().rev().skip(1).any(|part| part.len() < 5 << 20);
                assert!(!small, "S3 refuses parts below 5 MiB but the last");
                self.0.objects.lock().unwrap().insert(key, parts.into_values().flatten().collect());
                xml("<CompleteMultipartUploadResult><ETag>\"whole\"</ETag></CompleteMultipartUploadResult>")
            }
            (&Method::POST, ..) if query.contains_key("delete") => {
                self.delete(&String::from_utf8(body).unwrap())
            }
            (&Method::DELETE, _, Some(upload)) => {
                self.0.parts.lock().unwrap().remove(upload);
                StatusCode::NO_CONTENT.into()
            }
            (&Method::DELETE, ..) => {
                self.0.objects.lock().unwrap().remove(&key);
                StatusCode::NO_CONTENT.into()
            }
            (&Method::GET, ..) if query.contains_key("list-type") => self.list(&query["prefix"]),
            (&Method::GET, ..) => self.read(&key, request.header("range")),
            other => panic!("nobody asks {other:?}"),
        }
    }

    fn delete(&self, body: &str) -> Response {
        let keys = body.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap().to_owned());
        let mut answer = "<DeleteResult>".to_owned();
        for key in keys {
            self.0.objects.lock().unwrap().remove(&key);
            write!(answer, "<Deleted><Key>{key}</Key></Deleted>").unwrap();
        }
        xml(&(answer + "</DeleteResult>"))
    }

    fn list(&self, prefix: &str) -> Response {
        let mut answer = "<ListBucketResult><IsTruncated>false</IsTruncated>".to_owned();
        for (key, bytes) in self.objects().iter().filter(|(key, _)| key.starts_with(prefix)) {
            let size = bytes.len();
            write!(
                answer,
                "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                 <ETag>\"x\"</ETag><Size>{size}</Size></Contents>"
            )
            .unwrap();
        }
        xml(&(answer + "</ListBucketResult>"))
    }

    fn read(&self, key: &str, range: Option<&str>) -> Response {
        let objects = self.objects();
        let Some(bytes) = objects.get(key) else {
            if let Some(rival) = self.0.rival.lock().unwrap().take_if(|_| key.ends_with("/owner")) {
                self.0.objects.lock().unwrap().insert(key.to_owned(), rival.into_bytes());
            }
            let body = "<Error><Code>NoSuchKey</Code></Error>";
            return Response::builder().status(StatusCode::NOT_FOUND).body(body);
        };
        let answer = Response::builder()
            .header("etag", format!("\"{}\"", sha256(bytes)))
            .header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT");
        let Some(range) = range else { return answer.body(bytes.clone()) };
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        let last = last.min(bytes.len() - 1);
        answer
            .status(StatusCode::PARTIAL_CONTENT)
            .header("content-range", format!("bytes {first}-{last}/{}", bytes.len()))
            .body(bytes[first..=last].to_vec())
    }
}

impl Endpoint for Store {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        if self.0.is_down.load(Ordering::Relaxed) {
            return Ok(StatusCode::SERVICE_UNAVAILABLE.into());
        }
        let body = request.take_body().into_vec().await?;
        if request.uri().query().is_some_and(|query| query.contains("list-type")) {
            drop(self.0.listing.lock().await);
        }
        if !is_signed(&request, &body) {
            return Ok(StatusCode::FORBIDDEN.into());
        }
        Ok(self.answer(&request, body))
    }
}

fn xml(text: &str) -> Response {
    Response::builder().content_type("application/xml").body(text.to_owned())
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// Whether the request is signed with the key (AWS Signature Version 4), body and all.
fn is_signed(request: &Request, body: &[u8]) -> bool {
    let Some(authorization) = request.header("authorization") else { return false };
    let field = |name: &str| {
        let rest = authorization.split_once(name).unwrap().1;
        rest.split(',').next().unwrap().trim().to_owned()
    };
    let (credential, signed, signature) =
        (field("Credential="), field("SignedHeaders="), field("Signature="));
    let scope = credential.strip_prefix(&format!("{KEY_ID}/")).expect("our key").to_owned();
    let hash = request.header("x-amz-content-sha256").unwrap();
    assert!(hash == "UNSIGNED-PAYLOAD" || hash == sha256(body), "another body than was signed");
    let mut headers = String::new();
    for name in signed.split(';') {
        writeln!(headers, "{name}:{}", request.header(name).unwrap().trim()).unwrap();
    }
    let mut query: Vec<String> = request
        .uri()
        .query()
        .into_iter()
        .flat_map(|query| query.split('&'))
        .map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") })
        .collect();
    query.sort();
    let canonical = format!(
        "{}\n{}\n{}\n{headers}\n{signed}\n{hash}",
        request.method(),
        request.uri().path(),
        query.join("&")
    );
    let digest = digest::digest(&digest::SHA256, canonical.as_bytes());
    let date = request.header("x-amz-date").unwrap();
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hexadecimal::written(digest.as_ref()));
    let key = mac(format!("AWS4{KEY}").as_bytes(), &date[..8]);
    let key = mac(&mac(&mac(&key, REGION), "s3"), "aws4_request");
    hexadecimal::written(&mac(&key, &to_sign)) == signature
}

#[tokio::test]
async fn files_are_kept_in_the_bucket_and_read_from_it() {
    let store = Store::default();
    let app = store.app().await;
    let ann = app.user("ann").await;
    let small = uploaded(&ann, "small", b"0123456789").await;
    let empty = uploaded(&ann, "empty", b"").await;
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).take(10 << 20).collect();
    let large = uploaded(&ann, "large", &content).await;
    assert_eq!(store.blobs(), 3);
    assert!(store.objects().keys().all(|key| key.starts_with("some/prefix/")));
    assert!(unfinished(&app).is_empty(), "what is in the bucket is not on disk any more");
    assert_eq!(ann.get(&content_of(&small)).await.is(200).text(), "0123456789");
    assert_eq!(ann.get(&content_of(&empty)).await.is(200).text(), "");
    assert!(ann.get(&content_of(&large)).await.is(200).bytes() == content);
    let part: Reply = ann.get(&content_of(&small)).header("range", "bytes=2-4").await;
    assert_eq!(part.is(206).text(), "234");
    ann.delete(&path_of(&large)).await.is(200);
    assert_eq!(store.blobs(), 2);
    upload(&ann, "small", b"again").await.refused(409, "conflict");
    assert_eq!(store.blobs(), 2, "what was refused is gone");
}

#[tokio::test]
async fn the_bucket_is_swept_as_the_disk_is() {
    let store = Store::default();
    let app = store.app().await;
    let ann = app.user("ann").await;
    let kept = uploaded(&ann, "kept", b"kept").await;
    store.leave_behind(&app);
    store.0.objects.lock().unwrap().insert("some/prefix-of-others/x".to_owned(), b"not ours".to_vec());
    app.inside.sweep().await.unwrap();
    assert_eq!(store.blobs(), 3);
    app.clock.advance(Duration::from_hours(25));
    app.inside.sweep().await.unwrap();
    assert_eq!(store.blobs(), 2);
    let ann = app.sign_in("ann").await;
    assert_eq!(ann.get(&content_of(&kept)).await.is(200).text(), "kept");
}

#[tokio::test]
async fn a_bucket_whose_owner_cannot_be_read_is_nobodys_to_sweep() {
    let store = Store::default();
    let app = store.app().await;
    let owner = "some/prefix/owner";
    store.leave_behind(&app);
    store.0.objects.lock().unwrap().insert(owner.to_owned(), b"?".to_vec());
    app.clock.advance(Duration::from_hours(25));
    app.inside.sweep().await.unwrap();
    assert_eq!((store.blobs(), &*store.objects()[owner]), (1, &b"?"[..]));
}

#[tokio::test]
async fn a_bucket_that_another_takes_at_the_same_moment_is_not_swept() {
    let (store, rival) = (Store::default(), "0193b1a0-0000-7000-8000-00000000000a");
    let app = store.app().await;
    store.leave_behind(&app);
    *store.0.rival.lock().unwrap() = Some(rival.to_owned());
    app.clock.advance(Duration::from_hours(25));
    app.inside.sweep().await.unwrap();
    assert_eq!((store.blobs(), &*store.objects()["some/prefix/owner"]), (1, rival.as_bytes()));
}

#[tokio::test]
async fn a_store_that_knows_no_conditions_is_swept_all_the_same() {
    let store = Store::default();
    let app = store.app().await;
    store.refuses_conditions(StatusCode::NOT_IMPLEMENTED);
    store.leave_behind(&app);
    app.clock.advance(Duration::from_hours(25));
    app.inside.sweep().await.unwrap();
    assert_eq!((store.blobs(), store.objects().len()), (0, 1));
}

#[tokio::test]
async fn a_store_that_fails_at_a_condition_is_taken_over_by_nobody() {
    let store = Store::default();
    let app = store.app().await;
    store.refuses_conditions(StatusCode::INTERNAL_SERVER_ERROR);
    store.leave_behind(&app);
    app.clock.advance(Duration::from_hours(25));
    app.inside.sweep().await.unwrap();
    assert_eq!((store.blobs(), store.objects().len()), (1, 1), "nothing is written without the condition");
}

/// Gives somebody else the lease of whoever sweeps; how many held it.
async fn take_over(app: &TestApp) -> u64 {
    let taken = app.inside.db.write::<_, DbErr, _>(|tx| {
        let sql = "UPDATE leases SET holder = $1 WHERE name = 'file sweep'";
        tx.run(sql, [Uuid::new_v4().into()]).boxed()
    });
    taken.await.unwrap()
}

#[tokio::test]
async fn who_stood_still_while_another_took_over_sweeps_nothing_more() {
    let store = Store::default();
    let app = store.app().await;
    store.leave_behind(&app);
    app.clock.advance(Duration::from_hours(25));
    let listing = store.0.listing.lock().await;
    let others = async {
        eventually(|| take_over(&app), |taken| *taken == 1).await;
        drop(listing);
    };
    let (swept, ()) = tokio::join!(app.inside.sweep(), others);
    swept.unwrap();
    assert_eq!(store.blobs(), 1);
}

#[tokio::test]
async fn bytes_whose_row_came_while_the_sweep_waited_for_the_database_stay() {
    let store = Store::default();
    let app = store.app().await;
    let owner = app.user("ann").await.id;
    let key = store.leave_behind(&app);
    let blob = Uuid::try_parse(key.rsplit('/').next().unwrap()).unwrap();
    app.clock.advance(Duration::from_hours(25));
    let listing = store.0.listing.lock().await;
    let (begun, has_begun) = oneshot::channel();
    let (go, may_go) = oneshot::channel();
    let others = async {
        // From here on the sweep writes nothing before it has the list.
        eventually(|| async { store.objects().contains_key("some/prefix/owner") }, |claimed| *claimed).await;
        let adding = app.inside.db.write::<_, DbErr, _>(move |tx| {
            async move {
                // Who asks for the lease waits for this.
                let hold = "UPDATE leases SET expires_at = expires_at WHERE name = 'file sweep'";
                tx.run(hold, []).await?;
                begun.send(()).unwrap();
                may_go.await.unwrap();
                let add = "INSERT INTO files (created_by, name, media_type, size, sha256, blob, created_at) \
                           VALUES ($1, 'late', 'text/plain', 6, $2, $3, 0)";
                tx.run(add, [owner.into(), vec![0_u8; 32].into(), blob.into()]).await
            }
            .boxed()
        });
        let releasing = async {
            has_begun.await.unwrap();
            drop(listing);
            // So that the sweep finds no row, and asks for the lease.
            tokio::time::sleep(Duration::from_millis(500)).await;
            go.send(()).unwrap();
        };
        let (added, ()) = tokio::join!(adding, releasing);
        assert_eq!(added.unwrap(), 1);
    };
    let (swept, ()) = tokio::join!(app.inside.sweep(), others);
    swept.unwrap();
    assert_eq!(store.blobs(), 1);
}

#[tokio::test]
async fn an_archive_of_everything_breaks_off_rather_than_leave_a_file_out() {
    let store = Store::default();
    let app = store.app().await;
    let ann = app.user("ann").await;
    uploaded(&ann, "a", b"x").await;
    store.0.is_down.store(true, Ordering::Relaxed);
    let address = format!("{}/api/user/me/export", app.base());
    let asked = reqwest::Client::new().get(address).bearer_auth(&ann.access).send().await;
    let whole = match asked {
        Ok(answer) => answer.bytes().await,
        Err(error) => Err(error),
    };
    assert!(whole.is_err(), "{whole:?}");
}

#[tokio::test]
async fn while_the_bucket_is_away_files_are_503_and_the_rest_works() {
    let store = Store::default();
    let app = store.app().await;
    let ann = app.user("ann").await;
    let file = uploaded(&ann, "a", b"x").await;
    store.0.is_down.store(true, Ordering::Relaxed);
    upload(&ann, "b", b"x").await.refused(503, "unavailable");
    ann.get(&content_of(&file)).await.refused(503, "unavailable");
    ann.get(&path_of(&file)).await.is(200);
    assert!(unfinished(&app).is_empty());
    store.0.is_down.store(false, Ordering::Relaxed);
    assert_eq!(ann.get(&content_of(&file)).await.is(200).text(), "x");
    uploaded(&ann, "b", b"x").await;
}
