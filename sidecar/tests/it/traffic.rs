//! What passes, passes whole: streams, trailers, large bodies, the application's troubles, the end.

use crate::support::application::channel;
use crate::support::client::Body;
use crate::support::prelude::*;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::{Frame, Incoming};

/// An open connection of either kind.
enum Open {
    One(hyper::client::conn::http1::SendRequest<Body>),
    Two(hyper::client::conn::http2::SendRequest<Body>),
}

impl Open {
    async fn send(&mut self, mut request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::One(sender) => {
                request.headers_mut().insert("host", HeaderValue::from_static("api.example.com"));
                sender.send_request(request).await
            }
            Self::Two(sender) => {
                let target = format!("https://api.example.com{}", request.uri());
                *request.uri_mut() = target.parse().unwrap();
                request.headers_mut().remove("transfer-encoding");
                sender.send_request(request).await
            }
        }
    }
}

async fn both(house: &House) -> [Open; 2] {
    let gateway = house.pki.gateway();
    let (one, two) = (house.http1(&gateway), house.http2(&gateway));
    [Open::One(one.open_http1().await), Open::Two(two.open_http2().await)]
}

#[tokio::test]
async fn bodies_stream_both_ways_with_trailers() {
    let house = House::build(&[]).await;
    for mut open in both(&house).await {
        let (sender, body) = channel();
        let request = Request::post("/echo")
            .header("te", "trailers")
            .header("trailer", "x-sum, x-forwarded-client-cert, client-cert")
            .body(body)
            .unwrap();
        let mut response = open.send(request).await.unwrap();
        assert!(!response.headers().contains_key("keep-alive"));
        // Each part comes back before the next is sent.
        for part in ["one", "two", "three"] {
            sender.send(Frame::data(Bytes::from_static(part.as_bytes()))).await.unwrap();
            let mut back = Vec::new();
            while back.len() < part.len() {
                back.extend(response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap());
            }
            assert_eq!(back, part.as_bytes());
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("7"));
        trailers.insert("client-cert", HeaderValue::from_static(":AA==:"));
        sender.send(Frame::trailers(trailers)).await.unwrap();
        drop(sender);
        let collected = response.into_body().collect().await.unwrap();
        let trailers = collected.trailers().unwrap();
        assert_eq!(
            (&trailers["x-sum"], &trailers["x-end"]),
            (&"7".parse().unwrap(), &"done".parse().unwrap())
        );
        assert!(!trailers.contains_key("client-cert"), "{trailers:?}");
    }
}

#[tokio::test]
async fn large_bodies_pass_with_backpressure() {
    let house = House::build(&[]).await;
    let large = Bytes::from(vec![b'x'; 8 << 20]);
    for mut open in both(&house).await {
        let request = Request::post("/echo").body(Full::new(large.clone()).boxed()).unwrap();
        let mut response = open.send(request).await.unwrap();
        // Nobody reads for a while: nothing may be lost, and nothing may pile up without a bound.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut received = 0;
        while let Some(frame) = response.body_mut().frame().await {
            if let Ok(data) = frame.unwrap().into_data() {
                received += data.len();
            }
        }
        assert_eq!(received, large.len());
    }
    let kib = crate::support::process::peak_kib(house.sidecar.id());
    assert!(kib < 64 << 10, "{kib} KiB at most for two bodies of 8 MiB each way");
}

#[tokio::test]
async fn connections_to_the_application_are_kept_but_never_shared_by_callers() {
    let house = House::build(&[]).await;
    let (ours, theirs) = (house.pki.gateway(), house.neighbour());
    let mut one = house.http1(&ours).open_http1().await;
    for _ in 0..5 {
        assert_eq!(read(one.send_request(get("/")).await.unwrap()).await.0, 200);
        one.ready().await.unwrap();
    }
    let mut again = house.http1(&ours).open_http1().await;
    assert_eq!(read(again.send_request(get("/")).await.unwrap()).await.0, 200);
    assert_eq!(house.application.connections(), 1);
    let mut other = house.http1(&theirs).open_http1().await;
    assert_eq!(read(other.send_request(get("/")).await.unwrap()).await.0, 200);
    assert_eq!(house.application.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_the_application_has_closed_costs_no_request() {
    let house = House::build(&[]).await;
    house.application.close_connections();
    let mut open = house.http1(&house.pki.gateway()).open_http1().await;
    for wait in [0, 90, 100, 105, 110, 150] {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        open.ready().await.unwrap();
        assert_eq!(read(open.send_request(get("/")).await.unwrap()).await.0, 200, "after {wait} ms");
    }
}

#[tokio::test]
async fn a_body_without_a_length_arrives_whatever_the_method() {
    let house = House::build(&[]).await;
    for mut open in both(&house).await {
        for method in ["GET", "DELETE", "POST"] {
            let (sender, body) = channel();
            let request = Request::builder()
                .method(method)
                .uri("/search")
                .header("transfer-encoding", "chunked")
                .body(body)
                .unwrap();
            tokio::spawn(async move {
                sender.send(Frame::data(Bytes::from_static(b"who"))).await.unwrap();
                sender.send(Frame::data(Bytes::from_static(b"?"))).await.unwrap();
            });
            let (status, seen) = read(open.send(request).await.unwrap()).await;
            assert_eq!(status, 200, "{method}: {seen}");
            let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
            assert_eq!(seen["body"], "who?", "{method}");
            assert_eq!(seen["headers"].to_string().matches("chunked").count(), 1, "{method}: {seen}");
        }
        // Without a body nothing is framed.
        let (_, seen) = read(open.send(get("/search")).await.unwrap()).await;
        assert!(!seen.contains("chunked") && !seen.contains("content-length"), "{seen}");
    }
}

/// Answers the first request of each connection; at the second it sends `last` and closes.
async fn one_answer_per_connection(last: &'static [u8]) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                if stream.read(&mut request).await.is_ok_and(|count| count > 0) {
                    let _ = stream.write_all(last).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn only_what_may_be_sent_twice_is_sent_again() {
    crate::support::install_provider();
    let pki = Pki::new();
    let (mute, half) =
        (one_answer_per_connection(b"").await, one_answer_per_connection(b"HTTP/1.1 200").await);
    let port = |port: u16| {
        format!(
            "{{port: {port}, protocol: HTTP, access: {{type: Locked, locks: {{require: All, list: [{{type: MutualTLS}}]}}}}}}"
        )
    };
    let route = |port: u16| {
        format!(
            "{{name: r{port}, port: {port}, callers: [{{name: c3, certificates: [{{type: Identity, authority: postern, identity: '{ORDERS}'}}]}}]}}"
        )
    };
    let policy = format!(
        "{{authorities: [{{name: postern, type: Postern, roots: ROOTS}}], ports: [{}, {}], routes: [{}, {}]}}",
        port(1),
        port(2),
        route(1),
        route(2)
    );
    let sidecar = Sidecar::start(&pki, &[(1, mute), (2, half)], &policy).await;
    for (case, way, method, body, status) in [
        ("nothing was answered", 0, "GET", "", 200),
        ("not idempotent", 0, "POST", "", 502),
        ("a body, which is gone", 0, "PUT", "x", 502),
        ("part of an answer was seen", 1, "GET", "", 502),
    ] {
        let gateway = pki.gateway();
        let mut open = Client::http1(sidecar.address(way), &pki.servers, &gateway).open_http1().await;
        // Whatever an earlier case left in the pool is closed by its second request.
        while read(open.send_request(get("/")).await.unwrap()).await.0 != 200 {
            open.ready().await.unwrap();
        }
        open.ready().await.unwrap();
        let request = Request::builder()
            .method(method)
            .uri("/")
            .header("host", "a")
            .body(Full::new(Bytes::from_static(body.as_bytes())).boxed())
            .unwrap();
        let (seen, text) = read(open.send_request(request).await.unwrap()).await;
        assert_eq!(seen, status, "{case}: {text}");
    }
}

#[tokio::test]
async fn the_applications_troubles_are_told() {
    crate::support::install_provider();
    let pki = Pki::new();
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = nobody.local_addr().unwrap();
    drop(nobody);
    let rude = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rude_address = rude.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = rude.accept().await {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(b"what?\r\n\r\n").await;
        }
    });
    let application = Application::http().await;
    let policy = format!(
        "{{authorities: [{{name: postern, type: Postern, roots: ROOTS}}], \
         ports: [{{port: 1, protocol: HTTP, access: {{type: Locked, locks: {{require: All, list: [{{type: MutualTLS}}]}}}}}}, \
         {{port: 2, protocol: HTTP, access: {{type: Locked, locks: {{require: All, list: [{{type: MutualTLS}}]}}}}}}, \
         {{port: 3, protocol: HTTP, access: {{type: Locked, locks: {{require: All, list: [{{type: MutualTLS}}]}}}}}}], \
         routes: [{{name: a, port: 1, callers: [{{name: c4, certificates: [{{type: Identity, authority: postern, identity: '{ORDERS}'}}]}}]}}, \
         {{name: b, port: 2, callers: [{{name: c5, certificates: [{{type: Identity, authority: postern, identity: '{ORDERS}'}}]}}]}}, \
         {{name: c, port: 3, callers: [{{name: c6, certificates: [{{type: Identity, authority: postern, identity: '{ORDERS}'}}]}}]}}]}}"
    );
    let ways = [(1, down), (2, rude_address), (3, application.address)];
    let sidecar = Sidecar::start(&pki, &ways, &policy).await;
    for (index, path, status, code) in [
        (0, "/", 503, "ApplicationUnreachable"),
        (1, "/", 502, "ApplicationFailed"),
        (2, "/switch", 502, "ApplicationFailed"),
    ] {
        let client = Client::http1(sidecar.address(index), &pki.servers, &pki.gateway());
        let Attempt::Answered(seen, body) = client.get(path).await else { panic!("an answer") };
        assert_eq!(seen, status, "{body}");
        assert!(body.contains(code), "{body}");
        sidecar.logged(code, |line| line["code"] == code && line["message"] == "failed").await;
    }
}

#[tokio::test]
async fn an_early_refusal_arrives_although_the_body_is_still_coming() {
    let house = House::build(&[]).await;
    let stranger = house.pki.callers.client("spiffe://test/another");
    for _ in 0..10 {
        let stream = house.http1(&stranger).connect().await.unwrap();
        let (mut read, mut write) = tokio::io::split(stream);
        let body = vec![b'x'; 1 << 20];
        let sending = async {
            write.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1048576\r\n\r\n").await.unwrap();
            // A caller that fails to write gives up before it reads.
            write.write_all(&body).await.unwrap();
            write.flush().await.unwrap();
        };
        let mut answer = Vec::new();
        let ((), outcome) = tokio::join!(sending, read.read_to_end(&mut answer));
        assert!(answer.starts_with(b"HTTP/1.1 403"), "{outcome:?}: {}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(house.application.hits(), 0);
}

#[tokio::test]
async fn a_caller_that_leaves_takes_its_request_along() {
    let house = House::build(&[]).await;
    for mut open in both(&house).await {
        let before = house.application.broken();
        let mut body = open.send(get("/endless")).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        drop((body, open));
        eventually("the application notices", async || house.application.broken() == before + 1).await;
    }
}

#[tokio::test]
async fn the_end_waits_for_what_is_in_flight() {
    for workers in ["1", "3"] {
        let house = House::build(&["--workers", workers]).await;
        let address = house.sidecar.address(0);
        let [mut one, mut two] = both(&house).await;
        let mut idle = house.http1(&house.pki.gateway()).open_http1().await;
        assert_eq!(read(idle.send_request(get("/")).await.unwrap()).await.0, 200);
        let first = tokio::spawn(async move { read(one.send(get("/slow")).await.unwrap()).await });
        let second = tokio::spawn(async move { read(two.send(get("/slow")).await.unwrap()).await });
        eventually("both are on their way", async || house.application.hits() == 3).await;

        house.sidecar.terminate();
        eventually("nobody new gets in", async || tokio::net::TcpStream::connect(address).await.is_err())
            .await;
        eventually("the idle connection is closed", async || idle.is_closed()).await;
        assert!(!first.is_finished() && !second.is_finished());
        house.application.release(2);
        assert_eq!(first.await.unwrap(), (200, "slow\n".to_owned()));
        assert_eq!(second.await.unwrap(), (200, "slow\n".to_owned()));
        let released = Instant::now();
        assert!(house.sidecar.ended().await.success());
        assert!(released.elapsed() < Duration::from_secs(5), "{:?}", released.elapsed());
    }
}

#[tokio::test]
async fn several_workers_share_the_connections() {
    let house = House::build(&["--workers", "2"]).await;
    let gateway = house.pki.gateway();
    let mut open = Vec::new();
    for _ in 0..6 {
        let mut sender = house.http1(&gateway).open_http1().await;
        assert_eq!(read(sender.send_request(get("/")).await.unwrap()).await.0, 200);
        open.push(sender);
    }
    // One pool per worker: connections were served by both.
    assert!(house.application.connections() >= 2);
    let two = house.http2(&gateway);
    assert_eq!(read(two.open_http2().await.send_request(get2("/")).await.unwrap()).await.0, 200);
}
