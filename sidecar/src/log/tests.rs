use std::sync::atomic::Ordering::Relaxed;

use super::*;

#[test]
fn what_nobody_reads_in_time_is_dropped_and_counted() {
    let metrics = Arc::new(ControlMetrics::default());
    let (queue, items) = Queue::new(Arc::clone(&metrics));
    queue.take(vec![b'x'; QUEUE], 1);
    queue.take(b"two\nlines\n".to_vec(), 2);
    assert_eq!(metrics.log_lines_dropped.load(Relaxed), 2);

    // There is room again once it was read.
    let waiting = Arc::clone(&queue.waiting);
    let reader = std::thread::spawn(move || {
        let mut out = Vec::new();
        write(&mut out, &items, &waiting);
        out
    });
    let (done, written) = sync_channel(1);
    queue.items.send(Item::Flush(done)).unwrap();
    written.recv().unwrap();
    queue.take(b"three\n".to_vec(), 1);
    assert_eq!(metrics.log_lines_dropped.load(Relaxed), 2);
    drop(queue);
    let out = reader.join().unwrap();
    assert_eq!(out.len(), QUEUE + "three\n".len());
    assert!(out.ends_with(b"xthree\n"));
}

/// Notes how much each write held.
struct Writes(Vec<usize>);

impl io::Write for Writes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_that_wait_are_written_together() {
    let (queue, items) = Queue::new(Arc::default());
    for _ in 0..1000 {
        queue.take(vec![b'x'; 100], 1);
    }
    let waiting = Arc::clone(&queue.waiting);
    drop(queue);
    let mut out = Writes(Vec::new());
    write(&mut out, &items, &waiting);
    assert_eq!(out.0, [65_600, 34_400]);
    assert_eq!(waiting.load(Relaxed), 0);
}
