//! `httpGet`.

use postern_config::record::ProbeAction;

use super::super::ProbeFailure;
use super::application::Application;
use super::{act, get};

#[tokio::test]
async fn a_status_from_200_to_399_is_success() {
    let app = Application::http().await;
    for (status, success) in [
        (200, true),
        (204, true),
        (299, true),
        (304, true),
        (399, true),
        (400, false),
        (404, false),
        (500, false),
    ] {
        let outcome = act(get(&format!("/status/{status}"), &[]), app.address).await;
        match outcome {
            Ok(()) => assert!(success, "{status}"),
            Err(ProbeFailure::Status(seen)) => assert!(!success && seen == status, "{status}"),
            Err(other) => panic!("{status}: {other}"),
        }
    }
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_host_only() {
    let other = Application::http().await;
    let other_port = format!("http://{}/status/500", other.address);
    for (path, success, asked) in [
        ("/to/302?/status/200", true, 2),
        ("/to/301?/status/500", false, 2),
        ("/to/307?/to/308?/to/303?/status/200", true, 4),
        ("/to/302?../status/500", false, 2),
        // Away from the pod: success, and not followed.
        ("/to/302?http://192.0.2.1/status/500", true, 1),
        ("/to/302?http://app.example/status/500", true, 1),
        ("/to/302?//app.example/", true, 1),
        // No redirect at all.
        ("/status/302", true, 1),
        ("/to/300?/status/500", true, 1),
        // To the same host, but not to where one could follow.
        ("/to/302?ftp://127.0.0.1/", false, 1),
        (&format!("/to/302?{other_port}"), false, 1),
    ] {
        let app = Application::http().await;
        let outcome = act(get(path, &[]), app.address).await;
        assert_eq!(outcome.is_ok(), success, "{path}: {outcome:?}");
        assert_eq!(app.paths().len(), asked, "{path}: {:?}", app.paths());
    }
    assert_eq!(other.paths(), ["/status/500"], "another port of the pod is asked");
}

#[tokio::test]
async fn no_redirect_leads_to_the_sidecars_own_ports() {
    let app = Application::http().await;
    for own in [15100, 15110, 15120, 15130] {
        let outcome = act(get(&format!("/to/302?http://127.0.0.1:{own}/readyz"), &[]), app.address).await;
        assert!(matches!(outcome, Err(ProbeFailure::OwnPort(port)) if port == own), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_circle_of_redirects_fails_after_ten_requests() {
    let app = Application::raw(b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n").await;
    let outcome = act(get("/", &[]), app.address).await;
    assert!(matches!(outcome, Err(ProbeFailure::TooManyRedirects)), "{outcome:?}");
}

#[tokio::test]
async fn the_request_is_the_one_that_the_kubelet_would_send() {
    let app = Application::http().await;
    act(get("/status/200?a=b%20c", &[]), app.address).await.unwrap();
    let headers = [
        ("X-Twice", "1"),
        ("X-Twice", "2"),
        ("host", "shop.example"),
        ("User-Agent", "probe of mine"),
        ("accept", ""),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "keep-alive"),
    ];
    act(get("/status/200", &headers), app.address).await.unwrap();
    act(get("status/200", &[]), app.address).await.unwrap();
    act(get("/status/200?a b", &[]), app.address).await.unwrap();

    assert_eq!(app.paths(), ["/status/200?a=b%20c", "/status/200", "/status/200", "/status/200?a%20b"]);
    let plain = app.headers(0);
    assert_eq!(plain["host"], app.address.to_string());
    assert_eq!(plain["user-agent"], "kube-probe/1.36");
    assert_eq!(plain["accept"], "*/*");
    assert_eq!(plain["connection"], "close");
    let own = app.headers(1);
    assert_eq!(own["host"], "shop.example");
    assert_eq!(own["user-agent"], "probe of mine");
    assert_eq!(own.get_all("x-twice").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(own["connection"], "close");
    assert!(!own.contains_key("accept") && !own.contains_key("transfer-encoding"));
}

#[tokio::test]
async fn a_host_of_the_probes_own_outlives_redirects_that_name_none() {
    let app = Application::http().await;
    let absolute = format!("/to/302?http://{}/status/200", app.address);
    let headers = [("Host", "shop.example")];
    act(get("/to/302?/status/200", &headers), app.address).await.unwrap();
    act(get(&absolute, &headers), app.address).await.unwrap();
    let hosts: Vec<_> = (0..4).map(|index| app.headers(index)["host"].to_str().unwrap().to_owned()).collect();
    assert_eq!(hosts, ["shop.example", "shop.example", "shop.example", &app.address.to_string()]);
}

#[tokio::test]
async fn of_a_large_answer_only_the_beginning_is_read() {
    let app = Application::http().await;
    act(get("/big", &[]), app.address).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_is_no_http_fails() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"[..],
        b"HTTP/1.1 200 OK\r\ncontent-",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ] {
        let app = Application::raw(bytes).await;
        let outcome = act(get("/", &[]), app.address).await;
        assert!(matches!(outcome, Err(ProbeFailure::Exchange(_))), "{outcome:?}");
    }
}

#[tokio::test]
async fn https_takes_any_certificate_and_nothing_without_one() {
    let action = |path: &str| match get(path, &[]) {
        ProbeAction::HTTPGet { path, port, headers, host, .. } => {
            ProbeAction::HTTPGet { path, port, https: true, headers, host }
        }
        other => other,
    };
    let (secure, plain) = (Application::https().await, Application::http().await);
    act(action("/status/200"), secure.address).await.unwrap();
    let outcome = act(action("/status/503"), secure.address).await;
    assert!(matches!(outcome, Err(ProbeFailure::Status(503))), "{outcome:?}");
    let outcome = act(action("/status/200"), plain.address).await;
    assert!(matches!(outcome, Err(ProbeFailure::Tls { .. })), "{outcome:?}");

    act(get(&format!("/to/302?https://{}/status/200", secure.address), &[]), plain.address).await.unwrap();
    assert_eq!(secure.paths().last().unwrap(), "/status/200");
}

#[tokio::test]
async fn a_probe_that_is_no_request_fails() {
    let app = Application::http().await;
    for headers in [[("bad name", "x")], [("X-Fine", "line\nbreak")]] {
        let outcome = act(get("/", &headers), app.address).await;
        assert!(matches!(outcome, Err(ProbeFailure::Request(_))), "{outcome:?}");
    }
    assert!(app.paths().is_empty());
}
