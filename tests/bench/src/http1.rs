//! The little of HTTP/1.1 that both ends of a measurement need.

use memchr::memmem;

/// Where the body begins, once the head is there.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// The value of `Content-Length`.
pub(crate) fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    head.split(|&byte| byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        name.eq_ignore_ascii_case(NAME).then(|| std::str::from_utf8(value).ok()?.trim().parse().ok())?
    })
}
