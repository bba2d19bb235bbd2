//! `httpGet`, as the kubelet does it.
//!
//! A status of 200–399 is success. Redirects are followed while they stay on the same host, at most ten; one
//! that leaves it is success. HTTP/1.1, one connection per request. Of a lifecycle hook the kubelet demands an
//! answer, of whatever status.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, HOST, LOCATION, TRAILER, TRANSFER_ENCODING, USER_AGENT,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use postern_config::layout::OWN_PORTS;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::ProbeFailure;
use super::target::connect;

/// Of an answer's body no more is read; more than that is fine.
const BODY_LIMIT: usize = 10 << 10;
/// Of an answer's head.
const HEAD_LIMIT: usize = 64 << 10;
/// The kubelet's.
const REDIRECT_LIMIT: usize = 10;

/// One probe.
pub(super) struct Get<'a> {
    /// Path and query, as recorded.
    pub(super) path: &'a str,
    /// Whether TLS comes first.
    pub(super) https: bool,
    /// `httpHeaders`.
    pub(super) headers: &'a [(String, String)],
    /// Unless the headers say otherwise.
    pub(super) user_agent: &'a HeaderValue,
    /// Whether every status is success.
    pub(super) any_status: bool,
    /// For `https`.
    pub(super) tls: &'a TlsConnector,
}

/// Where one request goes.
struct Place {
    address: SocketAddr,
    https: bool,
    target: PathAndQuery,
    /// `Host`, if it is not the address.
    host: Option<HeaderValue>,
}

impl Get<'_> {
    /// Asks the first of `targets` that accepts a connection.
    pub(super) async fn run(&self, targets: &[SocketAddr]) -> Result<(), ProbeFailure> {
        let (headers, host) = request_headers(self.headers, self.user_agent)?;
        // Only the first connection chooses: redirects stay on its address.
        let (mut stream, address) = connect(targets).await?;
        let target = request_target(self.path)?;
        let mut place = Place { address, https: self.https, target, host };
        for _ in 0..REDIRECT_LIMIT {
            let response = self.exchange(stream, &place, &headers).await?;
            let Some(next) = redirect(&place, &response)? else {
                return judge(response, self.any_status).await;
            };
            stream = connect(&[next.address]).await?.0;
            place = next;
        }
        Err(ProbeFailure::TooManyRedirects)
    }

    async fn exchange(
        &self,
        stream: tokio::net::TcpStream,
        place: &Place,
        headers: &HeaderMap,
    ) -> Result<Response<Answer>, ProbeFailure> {
        let mut request = Request::get(place.target.clone()).body(Empty::new())?;
        *request.headers_mut() = headers.clone();
        let host = match &place.host {
            Some(host) => host.clone(),
            None => HeaderValue::try_from(place.address.to_string()).map_err(http::Error::from)?,
        };
        request.headers_mut().insert(HOST, host);
        if !place.https {
            return send(stream, request).await;
        }
        let name = ServerName::IpAddress(place.address.ip().into());
        let stream = self
            .tls
            .connect(name, stream)
            .await
            .map_err(|cause| ProbeFailure::Tls { address: place.address, cause })?;
        send(stream, request).await
    }
}

/// A body, and the connection that it comes by.
struct Answer {
    body: Incoming,
    _connection: AbortOnDropHandle<()>,
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Answer>, ProbeFailure> {
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEAD_LIMIT)
        .handshake(TokioIo::new(stream))
        .await?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async {
        // A fault of the connection shows in the exchange as well.
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await?;
    Ok(response.map(|body| Answer { body, _connection: connection }))
}

/// The headers of every request of this probe, and the `Host` that they ask for. As the kubelet, an empty
/// `Accept` or `User-Agent` takes the header away, and framing is not the probe's to set.
fn request_headers(
    wanted: &[(String, String)],
    user_agent: &HeaderValue,
) -> Result<(HeaderMap, Option<HeaderValue>), http::Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in wanted {
        headers.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    for (name, default) in [(ACCEPT, HeaderValue::from_static("*/*")), (USER_AGENT, user_agent.clone())] {
        match headers.get(&name) {
            None => drop(headers.insert(name, default)),
            Some(value) if value.is_empty() => drop(headers.remove(name)),
            Some(_) => {}
        }
    }
    for framing in [CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER] {
        headers.remove(framing);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let host = headers.remove(HOST).filter(|host| !host.is_empty());
    Ok((headers, host))
}

/// A path as it goes on the wire. One that is no valid target is encoded as browsers do; the kubelet encodes
/// it too.
fn request_target(path: &str) -> Result<PathAndQuery, ProbeFailure> {
    if let (true, Ok(target)) = (path.starts_with('/'), PathAndQuery::try_from(path)) {
        return Ok(target);
    }
    let url = Url::parse("http://pod/").and_then(|pod| pod.join(path)).ok();
    url.as_ref().and_then(target_of).ok_or_else(|| ProbeFailure::Path(path.to_owned()))
}

fn target_of(url: &Url) -> Option<PathAndQuery> {
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    PathAndQuery::try_from(target).ok()
}

/// Where `response` sends the kubelet next; `None` if it stays with this answer.
fn redirect<T>(from: &Place, response: &Response<T>) -> Result<Option<Place>, ProbeFailure> {
    use StatusCode as S;
    let followed =
        [S::MOVED_PERMANENTLY, S::FOUND, S::SEE_OTHER, S::TEMPORARY_REDIRECT, S::PERMANENT_REDIRECT];
    let Some(location) = response.headers().get(LOCATION).filter(|_| followed.contains(&response.status()))
    else {
        return Ok(None);
    };
    let unusable = || ProbeFailure::Redirect(String::from_utf8_lossy(location.as_bytes()).into_owned());
    let location = std::str::from_utf8(location.as_bytes()).map_err(|_| unusable())?;
    let scheme = if from.https { "https" } else { "http" };
    let base = format!("{scheme}://{}{}", from.address, from.target);
    let url = Url::parse(&base).and_then(|base| base.join(location)).map_err(|_| unusable())?;
    let https = match url.scheme() {
        "http" => false,
        "https" => true,
        _ => return Err(unusable()),
    };
    let same_host = match url.host() {
        Some(url::Host::Ipv4(ip)) => from.address.ip() == ip,
        Some(url::Host::Ipv6(ip)) => from.address.ip() == ip,
        _ => false,
    };
    if !same_host {
        return Ok(None);
    }
    let port = url.port_or_known_default().ok_or_else(unusable)?;
    if OWN_PORTS.contains(&port) {
        return Err(ProbeFailure::OwnPort(port));
    }
    Ok(Some(Place {
        address: SocketAddr::new(from.address.ip(), port),
        https,
        target: target_of(&url).ok_or_else(unusable)?,
        // A host of the probe's own choice outlives only redirects that name none.
        host: from.host.clone().filter(|_| Url::parse(location).is_err()),
    }))
}

async fn judge(response: Response<Answer>, any_status: bool) -> Result<(), ProbeFailure> {
    let status = response.status();
    let mut answer = response.into_body();
    let mut read = 0;
    // The kubelet takes an answer that breaks off for a failure.
    while read < BODY_LIMIT {
        let Some(frame) = answer.body.frame().await else { break };
        read += frame?.data_ref().map_or(0, Bytes::len);
    }
    if any_status || (200..400).contains(&status.as_u16()) {
        Ok(())
    } else {
        Err(ProbeFailure::Status(status.as_u16()))
    }
}
