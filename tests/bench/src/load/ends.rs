//! Callers that wait for nothing but the end of their connections.

use std::io::{self, Read as _};
use std::net::TcpStream;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Events that are taken at once.
const TOGETHER: usize = 256;
/// After all that there was to see: what is measured is exact to as much.
const NAP: Duration = Duration::from_micros(500);

/// Sockets of callers. They are looked at by hand, and closed when all is over: a task for each takes longer than what
/// is measured.
pub(crate) struct Ends {
    epoll: Epoll,
    /// Open still, as far as their callers have seen.
    sockets: Vec<Option<TcpStream>>,
}

impl Ends {
    /// Waits for the ends of these.
    pub(crate) fn of(sockets: Vec<TcpStream>) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (number, socket) in sockets.iter().enumerate() {
            socket.set_nonblocking(true)?;
            let wanted = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
            epoll.add(socket.as_fd(), EpollEvent::new(wanted, u64::try_from(number)?))?;
        }
        Ok(Self { epoll, sockets: sockets.into_iter().map(Some).collect() })
    }

    /// When the last caller has seen its end: it reads whatever comes before, and then that nothing comes any more.
    /// Nobody sleeps until something comes, since whoever sends to somebody asleep on this machine spends its own time on
    /// waking it; nor does anybody take a processor all the time.
    pub(crate) fn seen(mut self, limit: Duration) -> Result<Instant> {
        let until = Instant::now() + limit;
        // Closed once all is over.
        let mut ended = Vec::with_capacity(self.sockets.len());
        let mut events = vec![EpollEvent::empty(); TOGETHER];
        while ended.len() < self.sockets.len() {
            if Instant::now() > until {
                let open = self.sockets.len().saturating_sub(ended.len());
                bail!("{open} callers have not seen the end of their connections within {limit:?}");
            }
            let count = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
                Err(Errno::EINTR) => 0,
                counted => counted?,
            };
            if count == 0 {
                std::thread::sleep(NAP);
            }
            for event in events.iter().take(count) {
                let socket = self.sockets.get_mut(usize::try_from(event.data())?);
                let socket = socket.context("an event of no socket")?;
                if socket.as_mut().is_some_and(has_ended) {
                    ended.extend(socket.take());
                }
            }
        }
        Ok(Instant::now())
    }
}

fn has_ended(socket: &mut TcpStream) -> bool {
    let mut bytes = [0; 256];
    loop {
        match socket.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{Shutdown, TcpListener};

    use super::*;

    #[test]
    fn a_caller_has_seen_its_end_once_all_was_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pair = || {
            let caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (caller, listener.accept().unwrap().0)
        };
        let ((first, mut by_first), (second, mut by_second)) = (pair(), pair());
        by_first.write_all(&[7; 1000]).unwrap();
        by_second.write_all(&[7; 1000]).unwrap();
        by_first.shutdown(Shutdown::Both).unwrap();
        let open = Ends::of(vec![first.try_clone().unwrap(), second.try_clone().unwrap()]).unwrap();
        let error = open.seen(Duration::from_millis(20)).unwrap_err().to_string();
        assert!(error.starts_with("1 callers"), "{error}");

        let begin = Instant::now();
        by_second.shutdown(Shutdown::Both).unwrap();
        let seen = Ends::of(vec![first, second]).unwrap().seen(Duration::from_secs(10)).unwrap();
        assert!(seen >= begin);
    }
}
