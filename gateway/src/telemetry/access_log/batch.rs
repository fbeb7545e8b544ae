use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// How long lines are gathered: waking a thread for each of them costs more than all the
/// rest of it.
const GATHER: Duration = Duration::from_millis(20);
/// Bytes that wait for the thread; what is more is dropped.
const MOST: usize = 4 * 1024 * 1024;
/// How long the end of the process waits for a reader.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lines for an output, which a thread of its own writes many at a time.
#[derive(Clone, Debug)]
pub(super) struct Batch(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    something: Condvar,
    dropped: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    is_over: bool,
}

/// Has what is left written when it is dropped.
#[derive(Debug)]
pub(crate) struct Flush {
    batch: Batch,
    written: Receiver<()>,
}

impl Batch {
    /// # Errors
    ///
    /// The thread could not be started.
    pub(super) fn start(mut output: impl Write + Send + 'static) -> io::Result<(Self, Flush)> {
        let batch = Self(Arc::default());
        let shared = Arc::clone(&batch.0);
        let (tell, written) = mpsc::channel();
        let write = move || {
            while let Some(lines) = shared.gather() {
                // Whoever reads may be gone; nobody waits for that.
                let _: io::Result<()> = output.write_all(&lines).and_then(|()| output.flush());
            }
            drop(tell);
        };
        thread::Builder::new()
            .name("hookgate-access".to_owned())
            .spawn(write)?;
        let flush = Flush {
            batch: batch.clone(),
            written,
        };
        Ok((batch, flush))
    }

    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.0.waiting.lock();
        if waiting.lines.len() + line.len() > MOST {
            drop(waiting);
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let is_first = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.0.something.notify_one();
        }
    }

    /// How many lines found no room.
    pub(super) fn dropped(&self) -> usize {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Waits for lines, and a moment for more. None at the end.
    fn gather(&self) -> Option<Vec<u8>> {
        let mut waiting = self.waiting.lock();
        while waiting.lines.is_empty() && !waiting.is_over {
            self.something.wait(&mut waiting);
        }
        if !waiting.is_over {
            // The end is the only one who tells now.
            self.something.wait_for(&mut waiting, GATHER);
        }
        let room = Vec::with_capacity(waiting.lines.len());
        let lines = std::mem::replace(&mut waiting.lines, room);
        (!lines.is_empty()).then_some(lines)
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        self.batch.0.waiting.lock().is_over = true;
        self.batch.0.something.notify_one();
        // The end of the channel is the end of the thread.
        let _: Result<(), _> = self.written.recv_timeout(PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes nothing before it may.
    struct Gated(Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.send(bytes.to_vec()).expect("somebody reads");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order_and_the_last_ones_at_the_end() {
        let (go, gate) = mpsc::channel();
        let (output, written) = mpsc::channel();
        let (batch, flush) = Batch::start(Gated(gate, output)).unwrap();
        for line in 0..1000 {
            batch.push(format!("{line}\n").as_bytes());
        }
        drop(go);
        drop(flush);
        let all: Vec<u8> = written.iter().flatten().collect();
        let expected: String = (0..1000).map(|line| format!("{line}\n")).collect();
        assert_eq!(String::from_utf8(all).unwrap(), expected);
        assert_eq!(batch.dropped(), 0);
    }

    #[test]
    fn what_nobody_reads_is_dropped_and_counted() {
        let (go, gate) = mpsc::channel();
        let (output, written) = mpsc::channel();
        let (batch, flush) = Batch::start(Gated(gate, output)).unwrap();
        let line = [b'x'; 1024];
        let most = MOST / line.len();
        // As many as are being written, and as many as wait.
        for _ in 0..3 * most {
            batch.push(&line);
        }
        assert!(batch.dropped() >= most, "{}", batch.dropped());
        drop(go);
        drop(flush);
        let all: usize = written.iter().map(|bytes| bytes.len()).sum();
        assert_eq!(all, (3 * most - batch.dropped()) * line.len());
    }
}
