//! What a probe makes of every way in which a server can answer, or not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use common::expect::{HeaderTest, JsonPath, JsonTest, Pattern, TextTest};
use common::{Cause, Connection, Expectation, Method, Outcome, Reach, Source, StatusRange, TargetSpec, TargetUrl};
use demo::faults::FaultServer;
use rustls::RootCertStore;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use worker::probe::{Prepared, Probed, Prober};

const TIMEOUT: Duration = Duration::from_millis(700);

fn target(url: &str) -> TargetSpec {
    let url = TargetUrl::parse(url).unwrap();
    TargetSpec { timeout: TIMEOUT, ..TargetSpec::new(url.as_written(), url.clone()) }
}

async fn check(target: &TargetSpec) -> Probed {
    Prober::new().unwrap().check(&Prepared::new(target)).await
}

async fn check_url(url: &str) -> Probed {
    check(&target(url)).await
}

#[tokio::test]
async fn every_path_of_the_fault_server_gets_its_cause() {
    let server = FaultServer::start_on_thread().unwrap();
    let expected = [
        ("/ok", Outcome::Up, Some(200)),
        ("/status/204", Outcome::Up, Some(204)),
        ("/body/10485760", Outcome::Up, Some(200)),
        ("/gzip/10485760", Outcome::Up, Some(200)),
        ("/redirect/3", Outcome::Up, Some(200)),
        ("/redirect/5", Outcome::Up, Some(200)),
        ("/redirect/6", Outcome::Down(Cause::Redirect), Some(302)),
        ("/loop", Outcome::Down(Cause::Redirect), Some(302)),
        ("/redirect-to?url=ftp%3A%2F%2Fexample.org%2F", Outcome::Down(Cause::Redirect), Some(302)),
        ("/status/404", Outcome::Down(Cause::Status), Some(404)),
        ("/status/500", Outcome::Down(Cause::Status), Some(500)),
        ("/status/304", Outcome::Down(Cause::Status), Some(304)),
        ("/hang", Outcome::Down(Cause::Timeout), None),
        ("/drip-head/100", Outcome::Down(Cause::Timeout), None),
        ("/slow-body/100", Outcome::Down(Cause::Timeout), Some(200)),
        ("/reset", Outcome::Down(Cause::Reset), None),
        ("/close", Outcome::Down(Cause::Protocol), None),
        ("/garbage", Outcome::Down(Cause::Protocol), None),
        ("/many-headers/10000", Outcome::Down(Cause::Protocol), None),
        ("/big-header/70000", Outcome::Down(Cause::Protocol), Some(200)),
        ("/endless-headers", Outcome::Down(Cause::Protocol), None),
        ("/truncate", Outcome::Down(Cause::Body), Some(200)),
        ("/bad-chunk", Outcome::Down(Cause::Body), Some(200)),
        ("/bad-gzip", Outcome::Down(Cause::Body), Some(200)),
    ];
    let prober = Prober::new().unwrap();
    let mut wrong = Vec::new();
    for (path, outcome, code) in expected {
        let probed = prober.check(&Prepared::new(&target(&server.url(path)))).await;
        if (probed.outcome, probed.code) != (outcome, code) {
            wrong.push(format!("{path}: expected {outcome:?} {code:?}, got {probed:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let probed = check_url(&format!("http://{address}/")).await;
    assert_eq!(probed.outcome, Outcome::Down(Cause::Refused));
    assert_eq!(probed.code, None);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_dns_failure() {
    // RFC 6761: nobody resolves .invalid.
    let probed = check_url("http://nothing.invalid/").await;
    assert_eq!(probed.outcome, Outcome::Down(Cause::Dns), "{probed:?}");
    assert_eq!(probed.detail.as_deref(), Some("there is no such name"));
}

#[tokio::test]
async fn a_slow_success_is_degraded_and_its_time_is_that_of_the_head() {
    let server = FaultServer::start_on_thread().unwrap();
    let mut slow = target(&server.url("/delay/200"));
    slow.degraded_after = Duration::from_millis(100);
    let probed = check(&slow).await;
    assert_eq!(probed.outcome, Outcome::Degraded);
    let elapsed_us = probed.elapsed_us.unwrap();
    assert!((200_000..600_000).contains(&elapsed_us), "{elapsed_us}");
    let phases = probed.phases;
    let sum = phases.dns_us.unwrap_or(0) + phases.connect_us.unwrap() + phases.first_byte_us.unwrap();
    assert!(sum <= elapsed_us && elapsed_us - sum < 20_000, "{phases:?} of {elapsed_us}");
}

#[tokio::test]
async fn a_check_may_be_given_less_time_than_its_target_has() {
    let server = FaultServer::start_on_thread().unwrap();
    let hanging = Prepared::new(&target(&server.url("/hang")));
    let probed = Prober::new().unwrap().check_within(&hanging, Duration::from_millis(150)).await;
    assert_eq!(probed.outcome, Outcome::Down(Cause::Timeout));
    let waited = probed.elapsed_us.unwrap();
    assert!((100_000..600_000).contains(&waited), "{waited}");
    assert_eq!(probed.detail.as_deref(), Some("no complete answer within 150 ms"));
}

#[tokio::test]
async fn a_timeout_reports_the_time_waited() {
    let server = FaultServer::start_on_thread().unwrap();
    let probed = check_url(&server.url("/hang")).await;
    let elapsed = Duration::from_micros(u64::from(probed.elapsed_us.unwrap()));
    assert!(elapsed >= TIMEOUT - Duration::from_millis(5) && elapsed < TIMEOUT * 2, "{elapsed:?}");
}

#[tokio::test]
async fn each_check_opens_a_connection_unless_told_to_keep_them() {
    let server = FaultServer::start_on_thread().unwrap();
    let prober = Prober::new().unwrap();
    for (connection, expected) in [(Connection::Fresh, 3), (Connection::Reuse, 1)] {
        server.clear_log();
        let mut target = target(&server.url("/ok"));
        target.connection = connection;
        let prepared = Prepared::new(&target);
        for _ in 0..3 {
            assert_eq!(prober.check(&prepared).await.outcome, Outcome::Up);
        }
        let mut connections: Vec<_> = server.log().iter().map(|request| request.connection).collect();
        connections.dedup();
        assert_eq!(connections.len(), expected, "{connection:?}");
    }
}

/// Answers one request with 200 and gives back what it said, in lower case.
async fn overheard(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    // The one body that is sent here is a JSON object, and only with POST.
    while !request.ends_with(if request.starts_with(b"POST") { b"}" } else { b"\r\n\r\n".as_slice() }) {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece).await.unwrap();
        request.extend_from_slice(&piece[..read]);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    String::from_utf8_lossy(&request).to_lowercase()
}

#[tokio::test]
async fn user_password_and_headers_reach_the_target() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut target = target(&format!("http://user:s3cret@{}/", listener.local_addr().unwrap()));
    target.headers.push(("x-api-key".to_owned(), "hush".to_owned()));
    let (seen, probed) = tokio::join!(overheard(&listener), check(&target));
    assert_eq!(probed.outcome, Outcome::Up);
    assert!(seen.contains("authorization: basic dxnlcjpzm2nyzxq="), "{seen}");
    assert!(seen.contains("x-api-key: hush"), "{seen}");
}

#[tokio::test]
async fn a_redirect_to_another_origin_carries_no_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let first = FaultServer::start_on_thread().unwrap();
    let there = listener.local_addr().unwrap().to_string().replace(':', "%3A");
    let mut target = target(&format!("http://user:s3cret@{}/redirect-to?url=http%3A%2F%2F{there}%2F", first.addr()));
    target.headers.push(("x-api-key".to_owned(), "hush".to_owned()));
    let (seen, probed) = tokio::join!(overheard(&listener), check(&target));
    assert_eq!(probed.outcome, Outcome::Up);
    assert!(seen.contains("user-agent: lookout/"), "{seen}");
    assert!(!seen.contains("hush") && !seen.contains("authorization"), "{seen}");
}

#[tokio::test]
async fn a_body_is_never_taken_to_another_origin() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut target = target(&format!("http://{}/", here.local_addr().unwrap()));
    target.method = Method::Post;
    target.body = Some("{\"key\":\"hush\"}".to_owned());
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n",
        elsewhere.local_addr().unwrap()
    );
    let serve = async {
        let (mut stream, _) = here.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
    };
    let ((), probed) = tokio::join!(serve, check(&target));
    assert_eq!(probed.outcome, Outcome::Down(Cause::Redirect), "{probed:?}");
    let nobody_came = tokio::time::timeout(Duration::from_millis(50), elsewhere.accept()).await.is_err();
    assert!(nobody_came);
}

#[tokio::test]
async fn an_expected_status_is_a_success_even_where_it_is_an_error_elsewhere() {
    let server = FaultServer::start_on_thread().unwrap();
    let mut teapot = target(&server.url("/status/418"));
    teapot.expect_status = vec![StatusRange { from: 418, to: 418 }];
    assert_eq!(check(&teapot).await.outcome, Outcome::Up);
    let mut redirect = target(&server.url("/redirect/1"));
    redirect.expect_status = vec![StatusRange { from: 302, to: 302 }];
    let probed = check(&redirect).await;
    assert_eq!((probed.outcome, probed.code), (Outcome::Up, Some(302)));
}

#[tokio::test]
async fn a_body_is_posted_as_json_unless_a_header_says_otherwise() {
    for (header, expected) in [(None, "application/json"), (Some("text/plain"), "text/plain")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut target = target(&format!("http://{}/", listener.local_addr().unwrap()));
        target.method = Method::Post;
        target.body = Some("{\"a\":1}".to_owned());
        target.headers.extend(header.map(|value| ("Content-Type".to_owned(), value.to_owned())));
        let (seen, probed) = tokio::join!(overheard(&listener), check(&target));
        assert_eq!(probed.outcome, Outcome::Up);
        assert!(seen.starts_with("post / http/1.1") && seen.contains(&format!("content-type: {expected}")), "{seen}");
    }
}

/// A server with TLS before the fault server's paths, and the roots that trust it.
async fn tls_server(names: &[&str]) -> (std::net::SocketAddr, RootCertStore) {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let faults = Arc::new(FaultServer::start().await.unwrap());
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, faults) = (acceptor.clone(), Arc::clone(&faults));
            tokio::spawn(async move {
                // A client that does not trust us hangs up during the handshake.
                if let Ok(stream) = acceptor.accept(stream).await {
                    faults.serve_connection(stream).await;
                }
            });
        }
    });
    let mut roots = RootCertStore::empty();
    roots.add(authority_certificate.der().clone()).unwrap();
    (address, roots)
}

#[tokio::test]
async fn tls_works_with_a_trusted_certificate_and_is_a_cause_of_its_own_without() {
    let (address, roots) = tls_server(&["localhost"]).await;
    let prober = Prober::trusting(roots).unwrap();
    let good = target(&format!("https://localhost:{}/ok", address.port()));
    let probed = prober.check(&Prepared::new(&good)).await;
    assert_eq!((probed.outcome, probed.code), (Outcome::Up, Some(200)), "{probed:?}");
    assert!(probed.phases.connect_us.unwrap() > 0);

    let wrong_name = target(&format!("https://127.0.0.1:{}/ok", address.port()));
    let probed = prober.check(&Prepared::new(&wrong_name)).await;
    assert_eq!(probed.outcome, Outcome::Down(Cause::Tls), "{probed:?}");

    let untrusted = Prober::new().unwrap().check(&Prepared::new(&good)).await;
    assert_eq!(untrusted.outcome, Outcome::Down(Cause::Tls), "{untrusted:?}");
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_down_by_tls() {
    let server = FaultServer::start_on_thread().unwrap();
    let probed = check_url(&format!("https://{}/ok", server.addr())).await;
    assert_eq!(probed.outcome, Outcome::Down(Cause::Tls), "{probed:?}");
}

#[tokio::test]
async fn a_server_whose_first_message_of_tls_has_no_end_is_down_by_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let flood = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // A record of a handshake, in it the begin of a message of 64 KiB, and then others without an end.
        let mut record = vec![0x16, 3, 3, 0x40, 0, 2, 0, 0xff, 0xff];
        record.resize(5 + 0x4000, b'x');
        while stream.write_all(&record).await.is_ok() {}
    });
    let probed = check_url(&url).await;
    assert_eq!(probed.outcome, Outcome::Down(Cause::Tls), "{probed:?}");
    flood.await.unwrap();
}

#[tokio::test]
async fn no_secret_of_a_target_is_in_what_a_probe_reports() {
    let server = FaultServer::start_on_thread().unwrap();
    for path in ["/ok", "/reset", "/garbage", "/status/500", "/hang", "/redirect-to?url=http%3A%2F%2Fa%20b"] {
        let mut target = target(&format!("http://user:s3cret@{}{path}", server.addr()));
        target.headers.push(("authorization".to_owned(), "Bearer s3cret".to_owned()));
        let shown = format!("{:?} {target:?}", check(&target).await);
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

/// What a probe of this path makes of an assertion: nothing where it holds.
async fn asserted(url: &str, expectation: Expectation) -> Option<String> {
    let probed = check(&TargetSpec { expect: vec![expectation], ..target(url) }).await;
    match probed.outcome {
        Outcome::Down(Cause::Assertion) => Some(probed.detail.unwrap()),
        Outcome::Up | Outcome::Degraded => None,
        other => panic!("{other:?}: {:?}", probed.detail),
    }
}

fn contains(text: &str) -> Expectation {
    Expectation::Body(TextTest::Contains(text.to_owned()))
}

#[tokio::test]
async fn an_assertion_on_the_answer_decides_between_up_and_down() {
    let server = FaultServer::start_on_thread().unwrap();
    let json = |path: &str, test| Expectation::Json(JsonPath::parse(path).unwrap(), test);
    let header = |name: &str, test| Expectation::Header(name.to_owned(), HeaderTest::Text(test));
    let cases = [
        ("/ok", contains("ok"), None),
        ("/ok", contains("fine"), Some(r#"body contains "fine": is "ok\n""#)),
        ("/redirect/2", Expectation::Body(TextTest::Matches(Pattern::parse("^ok$|^ok\n").unwrap())), None),
        ("/echo", json("$.method", JsonTest::Equals("GET".into())), None),
        ("/echo", json("$.method", JsonTest::Equals("PUT".into())), Some(r#"json $.method == "PUT": is "GET""#)),
        ("/ok", header("content-type", TextTest::Contains("text/".to_owned())), None),
        (
            "/ok",
            header("content-type", TextTest::Contains("json".to_owned())),
            Some(r#"header content-type contains "json": is "text/plain""#),
        ),
        ("/delay/60", Expectation::Latency(Duration::from_millis(400)), None),
        ("/status/204", contains("x"), Some(r#"body contains "x": is empty"#)),
        // Judged on what is read of it, unpacked.
        ("/body/10485760", contains("nothing like it"), None),
        ("/gzip/10485760", contains("nothing like it"), None),
    ];
    for (path, expectation, expected) in cases {
        let seen = asserted(&server.url(path), expectation).await;
        if path.ends_with("10485760") {
            let seen = seen.unwrap();
            assert!(seen.contains("not within the first 64 KiB, which begin"), "{path}: {seen}");
        } else {
            assert_eq!(seen.as_deref(), expected, "{path}");
        }
    }
    // Exactly as much as is read is all of it.
    let whole = asserted(&server.url("/body/65536"), contains("nothing like it")).await.unwrap();
    assert!(!whole.contains("within the first"), "{whole}");
    let more = asserted(&server.url("/body/65537"), contains("nothing like it")).await.unwrap();
    assert!(more.contains("within the first"), "{more}");
}

#[tokio::test]
async fn too_slow_by_assertion_is_down_and_not_degraded() {
    let server = FaultServer::start_on_thread().unwrap();
    let mut slow = target(&server.url("/delay/150"));
    slow.degraded_after = Duration::from_millis(20);
    slow.expect = vec![Expectation::Latency(Duration::from_millis(100))];
    let probed = check(&slow).await;
    assert_eq!((probed.outcome, probed.code), (Outcome::Down(Cause::Assertion), Some(200)));
    assert!(probed.detail.unwrap().starts_with("latency within 100 ms: took 1"));
    slow.expect = vec![Expectation::Latency(Duration::from_secs(5))];
    assert_eq!(check(&slow).await.outcome, Outcome::Degraded);
}

#[tokio::test]
async fn what_is_down_for_another_reason_is_not_held_against_assertions() {
    let server = FaultServer::start_on_thread().unwrap();
    for (path, cause) in [("/status/503", Cause::Status), ("/truncate", Cause::Body), ("/loop", Cause::Redirect)] {
        let target = TargetSpec { expect: vec![contains("x")], ..target(&server.url(path)) };
        assert_eq!(check(&target).await.outcome, Outcome::Down(cause), "{path}");
    }
    // A status that is expected comes to the assertions, whatever it is.
    let maintenance = TargetSpec {
        expect_status: vec![StatusRange { from: 503, to: 503 }],
        expect: vec![contains("503")],
        ..target(&server.url("/status/503"))
    };
    assert_eq!(check(&maintenance).await.outcome, Outcome::Up);
}

#[tokio::test]
async fn what_an_assertion_saw_holds_no_secret_that_the_server_repeats() {
    let server = FaultServer::start_on_thread().unwrap();
    let mut echo = target(&format!("http://user:canary-password@{}/echo?key=canary-query", server.addr()));
    echo.key = "echo".to_owned();
    echo.method = Method::Post;
    echo.headers = vec![("x-key".to_owned(), "canary-header".to_owned())];
    echo.body = Some("canary-body".to_owned());
    let path = |path: &str| JsonPath::parse(path).unwrap();
    let absent = |at: &str| Expectation::Json(path(at), JsonTest::Exists(false));
    for expectation in [
        contains("fine"),
        absent("$"),
        absent("$.target"),
        absent("$.body"),
        absent("$.headers['x-key']"),
        absent("$.headers.authorization"),
        Expectation::Body(TextTest::NotMatches(Pattern::parse("a[n]ary-[a-z]+").unwrap())),
    ] {
        echo.expect = vec![expectation];
        let probed = check(&echo).await;
        assert_eq!(probed.outcome, Outcome::Down(Cause::Assertion));
        let shown = format!("{probed:?} {echo:?}");
        assert!(!shown.contains("anary") && shown.contains("***"), "{shown}");
        assert!(!shown.contains("dXNlcjpjYW5hcnk"), "{shown}");
    }
}

#[tokio::test]
async fn a_target_of_the_api_reaches_private_addresses_only_where_that_is_allowed() {
    let server = FaultServer::start_on_thread().unwrap();
    let local = target(&server.url("/ok"));
    let posted = TargetSpec { source: Source::Api, ..local.clone() };
    let probed = check(&posted).await;
    assert_eq!((probed.outcome, probed.code), (Outcome::Unknown, None));
    let why = "the address 127.0.0.1 is not public: targets made over the API reach public addresses only \
               (API_TARGETS=any allows others)";
    assert_eq!(probed.detail.as_deref(), Some(why));
    assert!(server.log().is_empty(), "nothing was asked");
    assert_eq!(check(&local).await.outcome, Outcome::Up, "a list of the operator's may lead anywhere");
    let anywhere = Prober::reaching(Reach::Any).unwrap();
    assert_eq!(anywhere.check(&Prepared::new(&posted)).await.outcome, Outcome::Up);
}

#[tokio::test]
async fn a_redirect_leads_nobody_to_where_clouds_keep_credentials() {
    let server = FaultServer::start_on_thread().unwrap();
    for address in ["169.254.169.254", "[::ffff:169.254.169.254]", "2852039166", "[fd00:ec2::254]"] {
        for source in [Source::Api, Source::File] {
            let redirect = target(&server.url(&format!("/redirect-to?url=http://{address}/latest/meta-data/")));
            let redirect = TargetSpec { source, ..redirect };
            let probed = Prober::reaching(Reach::Any).unwrap().check(&Prepared::new(&redirect)).await;
            assert_eq!((probed.outcome, probed.code), (Outcome::Unknown, Some(302)), "{address}");
            assert!(probed.detail.as_deref().unwrap().contains("it is never probed"), "{probed:?}");
        }
    }
}
