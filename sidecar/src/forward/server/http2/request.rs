//! One request, from its head to the end of its answer.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::Request;
use hyper::body::Body as _;

use super::body::Body;
use crate::fields::Name;
use crate::forward::body::{Answer, CallerBody};
use crate::forward::date;
use crate::forward::duplex::Duplex;
use crate::forward::exchange::{self, Session};
use crate::forward::message::{Answered, RequestHead};
use crate::forward::receiving::reason;

/// Answers it. Dropped before its end, the stream is reset.
pub(super) async fn serve(
    session: Rc<Session>,
    request: Request<RecvStream>,
    mut reply: SendResponse<Bytes>,
) {
    let wall = session.worker.wall();
    let answer = {
        let (parts, receiving) = request.into_parts();
        let head = RequestHead::of_http2(parts);
        let body = CallerBody::Http2(Body::new(receiving, &head.fields));
        let mut answer = pin!(exchange::answer(session, head, body));
        poll_fn(|context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(Some(answer));
            }
            // Has the caller given up?
            reply.poll_reset(context).map(|_| None)
        })
        .await
    };
    let Some(answered) = answer else { return };
    let Answered { status, reason, mut fields, mut body } = answered;
    if !fields.contains(Name::Date) {
        fields.add(Name::Date, date::at(wall).as_bytes());
    }
    let tunnel = body.take_tunnel();
    let ends = tunnel.is_none() && body.is_end_stream();
    if let (None, false, Some(length)) = (&tunnel, ends, body.size_hint().exact())
        && !fields.contains(Name::ContentLength)
    {
        fields.add(Name::ContentLength, length.to_string().as_bytes());
    }
    let Ok((head, ())) = (Answered { status, reason, fields, body: () }).into_http2() else {
        return reply.send_reset(Reason::INTERNAL_ERROR);
    };
    if let Some((tunnel, caller)) = tunnel {
        if let CallerBody::Http2(caller) = caller
            && let Ok(sending) = reply.send_response(head, false)
        {
            Box::pin(tunnel.serve_stream(Duplex::new(sending, caller.into_stream(), ()))).await;
        }
        return;
    }
    match reply.send_response(head, ends) {
        Ok(_) if ends => {}
        Ok(stream) => {
            let mut sending = Sending { body, stream, waiting: None, has_begun: false };
            poll_fn(|context| sending.poll(context)).await;
        }
        Err(_) => reply.send_reset(Reason::INTERNAL_ERROR),
    }
}

/// An answer's body on its way to the caller.
struct Sending {
    body: Answer,
    stream: SendStream<Bytes>,
    /// A part of it that waits for the caller to take the last one, and whether it is the end.
    waiting: Option<(Bytes, bool)>,
    has_begun: bool,
}

impl Sending {
    /// Ready when all has been written, or nothing more can be.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.waiting.is_some() && !ready!(self.poll_room(context)) {
                return Poll::Ready(());
            }
            if let Some((data, ends)) = self.waiting.take() {
                self.has_begun = true;
                // What fails here has failed for the caller too.
                if self.stream.send_data(data, ends).is_err() || ends {
                    return Poll::Ready(());
                }
            }
            let frame = match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(frame) => frame,
                // Has the caller given up?
                Poll::Pending => return self.stream.poll_reset(context).map(|_| ()),
            };
            match frame {
                None => {
                    let _ = self.stream.send_data(Bytes::new(), true);
                    return Poll::Ready(());
                }
                Some(Err(error)) => {
                    // With the application's own code, if it gave one.
                    self.stream.send_reset(reason(&error).unwrap_or(Reason::INTERNAL_ERROR));
                    return Poll::Ready(());
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.waiting = Some((data, self.body.is_end_stream())),
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            let _ = self.stream.send_trailers(trailers);
                        }
                        return Poll::Ready(());
                    }
                },
            }
        }
    }

    /// Ready when what waits can be written, or false if it never can.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        // The first part has memory already, and is written without a question.
        if !self.has_begun || self.waiting.as_ref().is_some_and(|(data, _)| data.is_empty()) {
            return Poll::Ready(true);
        }
        // A byte is enough, since more is asked for when it is written; and asked for only now, since what one stream
        // holds of the connection's window is lost to the others.
        self.stream.reserve_capacity(1);
        while self.stream.capacity() == 0 {
            if !matches!(ready!(self.stream.poll_capacity(context)), Some(Ok(_))) {
                return Poll::Ready(false);
            }
        }
        Poll::Ready(true)
    }
}
