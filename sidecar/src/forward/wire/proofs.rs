//! Messages read and written without a connection, for proofs of what their bytes mean.

use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, Uri};
use hyper::body::Body;
use hyper::ext::ReasonPhrase;

use super::answer::Heads;
use super::{Asked, Rest, Sending, request};
use crate::authorize::{Code, Denial};
use crate::fields::Fields;
use crate::forward::message::{Answered, RequestHead};
use crate::limits::Limits;

/// A request as it was read off a connection.
#[derive(Debug)]
pub struct Asking {
    /// Its head.
    pub head: Request<()>,
    /// Its body, out of its chunks if it came in some.
    pub body: Vec<u8>,
    /// Trailers, if there were any.
    pub trailers: Option<HeaderMap>,
    /// Whether all of it has come.
    pub is_whole: bool,
    /// Whether the connection may be used again.
    pub keeps: bool,
}

/// Reads requests off a connection that carries these pieces, and why no more were read. Other protocols are never spoken.
pub fn read_requests<'a>(
    limits: &Limits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Asking>, Option<Denial>) {
    let mut requests: Vec<Asking> = Vec::new();
    let (mut heads, mut buffer, mut rest) = (request::Heads::new(limits), BytesMut::new(), None);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            if let (Some(body), Some(request)) = (&mut rest, requests.last_mut()) {
                if let Err(denial) = read_body(body, &mut buffer, &mut request.body, &mut request.trailers) {
                    return (requests, Some(denial));
                }
                request.is_whole = body.is_over();
                if !request.is_whole {
                    break;
                }
                rest = None;
            }
            match heads.take(&mut buffer) {
                Ok(None) => break,
                Ok(Some(head)) => {
                    rest = Some(head.body);
                    let (body, trailers, is_whole) = (Vec::new(), None, false);
                    let shown = match shown(head.request) {
                        Ok(head) => head,
                        Err(denial) => return (requests, Some(denial)),
                    };
                    requests.push(Asking { head: shown, body, trailers, is_whole, keeps: head.keeps });
                }
                Err(denial) => return (requests, Some(denial)),
            }
        }
    }
    (requests, None)
}

/// A head in the types of others.
fn shown(head: RequestHead) -> Result<Request<()>, Denial> {
    let no_uri = || Denial::new(Code::AmbiguousPath, "the request's target is no URI");
    let path = [head.path(), head.query().map_or("", |_| "?"), head.query().unwrap_or_default()].concat();
    let mut parts = Uri::try_from(path).map_err(|_| no_uri())?.into_parts();
    if let Some(authority) = head.authority() {
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = Some(authority.parse().map_err(|_| no_uri())?);
    }
    let mut request = Request::new(());
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| no_uri())?;
    (*request.method_mut(), *request.version_mut()) = (head.method, head.version);
    *request.headers_mut() = map(head.fields)?;
    Ok(request)
}

fn map(fields: Fields) -> Result<HeaderMap, Denial> {
    fields.into_map().map_err(|error| Denial::new(Code::MalformedHead, error.to_string()))
}

/// Adds what is there of a body.
fn read_body(
    rest: &mut Rest,
    buffer: &mut BytesMut,
    body: &mut Vec<u8>,
    trailers: &mut Option<HeaderMap>,
) -> Result<(), Denial> {
    while let Some(frame) = rest.take(buffer)? {
        match frame.into_data() {
            Ok(data) => body.extend_from_slice(&data),
            Err(frame) => *trailers = frame.into_trailers().ok(),
        }
    }
    Ok(())
}

/// An answer as it was read off a connection.
#[derive(Debug)]
pub struct Answer {
    /// Its head.
    pub head: Response<()>,
    /// Its body, out of its chunks if it came in some.
    pub body: Vec<u8>,
    /// Trailers, if there were any.
    pub trailers: Option<HeaderMap>,
    /// Bytes that came after it, and belong to nothing.
    pub left: usize,
}

/// Reads the answer to a request with this method off a connection that carries these pieces and then ends.
///
/// # Errors
/// If it is refused, or not whole.
pub fn read_answer<'a>(
    method: &Method,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Answer, Denial> {
    let short = || Denial::new(Code::ApplicationFailed, "the application broke off");
    let (mut heads, mut buffer, mut read) = (Heads::new(method.clone()), BytesMut::new(), None);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        if read.is_none() {
            let Some(head) = heads.take(&mut buffer)? else { continue };
            let mut response = Response::new(());
            *response.status_mut() = head.response.status;
            if let Some(reason) = head.response.reason {
                response.extensions_mut().insert(reason);
            }
            *response.headers_mut() = map(head.response.fields)?;
            let answer = Answer { head: response, body: Vec::new(), trailers: None, left: 0 };
            read = Some((answer, Rest::new(head.body)));
        }
        let Some((answer, rest)) = &mut read else { continue };
        read_body(rest, &mut buffer, &mut answer.body, &mut answer.trailers)?;
    }
    let (mut answer, mut rest) = read.ok_or_else(short)?;
    answer.left = buffer.len();
    if rest.close() { Ok(answer) } else { Err(short()) }
}

/// The bytes in which a request is sent to an application, if its body is there.
pub fn written<B>(request: Request<B>) -> Option<Vec<u8>>
where
    B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin,
{
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    all_of(Sending::request(&head.method, [target, "", ""], &Fields::of_map(&head.headers), body))
}

/// The bytes in which a caller who asked in these bytes gets an answer, at a time of day in seconds since the epoch, if
/// the answer's body is there.
pub fn written_answer<B>(request: &[u8], response: Response<B>, now: i64) -> Option<Vec<u8>>
where
    B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin,
{
    let head = request::Heads::new(&Limits::default()).take(&mut BytesMut::from(request)).ok()??;
    let reason = response.extensions().get::<ReasonPhrase>().cloned();
    let answered = Answered { reason, ..Answered::of_http2(response) };
    all_of(Sending::answer(answered, Asked::by(&head), now).0)
}

fn all_of<B>(mut sending: Sending<B>) -> Option<Vec<u8>>
where
    B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin,
{
    let (mut bytes, mut context) = (Vec::new(), Context::from_waker(Waker::noop()));
    match sending.poll(&mut bytes, &mut context) {
        Poll::Ready(Ok(())) => Some(bytes),
        Poll::Ready(Err(_)) | Poll::Pending => None,
    }
}
