//! What comes over the wire, by its bytes.

mod floods;
mod framing;
mod headers;
mod hosts;
mod http2;
