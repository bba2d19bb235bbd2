use std::sync::mpsc;

use super::*;

const LOAD: Load = Load { threads: 1, queue: 6, per_source: 3, patience: Duration::from_secs(60) };
const LIMIT: Duration = Duration::from_secs(20);

fn source(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// A pool whose one thread is busy until the sender is dropped.
fn busy(load: Load) -> (Arc<Pool>, mpsc::Sender<()>) {
    let pool = Pool::start(load).unwrap();
    let (release, released) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let hold = move |_| {
        begun.send(()).unwrap();
        let _ = released.recv();
    };
    pool.submit(source(0), Box::new(hold)).unwrap();
    has_begun.recv_timeout(LIMIT).unwrap();
    (pool, release)
}

#[test]
fn sources_take_turns_and_have_shares() {
    let (pool, release) = busy(LOAD);
    let (done, results) = mpsc::channel();
    let submit = |last: u8, name: &'static str| {
        let done = done.clone();
        pool.submit(source(last), Box::new(move |_| done.send(name).unwrap()))
    };
    for name in ["a1", "a2", "a3"] {
        submit(1, name).unwrap();
    }
    assert_eq!(submit(1, "a4"), Err(Full), "its share");
    submit(2, "b1").unwrap();
    submit(2, "b2").unwrap();
    submit(3, "c1").unwrap();
    assert_eq!(submit(3, "c2"), Err(Full), "the queue");
    drop(release);
    let order: Vec<&str> = (0..6).map(|_| results.recv_timeout(LIMIT).unwrap()).collect();
    assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
    submit(1, "again").unwrap();
    assert_eq!(results.recv_timeout(LIMIT), Ok("again"), "room is given back");
}

#[test]
fn who_waits_too_long_is_told_so_and_a_fault_ends_one_check_only() {
    let (pool, release) = busy(Load { patience: Duration::ZERO, ..LOAD });
    let (done, results) = mpsc::channel();
    pool.submit(source(1), Box::new(|_| panic!("a fault"))).unwrap();
    pool.submit(source(1), Box::new(move |is_in_time| done.send(is_in_time).unwrap())).unwrap();
    drop(release);
    assert_eq!(results.recv_timeout(LIMIT), Ok(false));
}

#[test]
fn one_network_of_ipv6_is_one_source() {
    let of = |text: &str| network(text.parse().unwrap());
    assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::9"));
    assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
    assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
}

#[test]
fn threads_end_with_the_pool() {
    let (pool, release) = busy(LOAD);
    let (kept, dropped) = mpsc::channel::<()>();
    pool.submit(source(1), Box::new(move |_| drop(kept))).unwrap();
    drop(pool);
    drop(release);
    assert_eq!(dropped.recv_timeout(LIMIT), Err(mpsc::RecvTimeoutError::Disconnected));
}
