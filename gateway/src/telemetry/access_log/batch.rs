//! Collects log lines in memory, and writes them to an output on a thread of its own.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// How long the writer waits for more lines after the first one. Waking the thread for each line
/// would cost more than formatting and writing the line.
const BATCH_DELAY: Duration = Duration::from_millis(20);
/// Maximum number of unwritten bytes. Further lines are dropped.
const MAX_PENDING: usize = 4 * 1024 * 1024;
/// How long the end of the process waits until the output has taken the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// A handle for adding lines to a batch.
#[derive(Clone, Debug)]
pub(super) struct Batch(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    /// Signals the first pending line, and the end.
    wake_writer: Condvar,
    dropped: AtomicUsize,
}

#[derive(Debug, Default)]
struct Pending {
    lines: Vec<u8>,
    is_closed: bool,
}

/// Writes the remaining lines when it is dropped.
#[derive(Debug)]
pub(crate) struct FlushGuard {
    batch: Batch,
    /// Disconnects when the writer thread has ended.
    writer_ended: Receiver<()>,
}

impl Batch {
    /// Starts the thread that writes to `output`.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it cannot start a thread.
    pub(super) fn start(mut output: impl Write + Send + 'static) -> io::Result<(Self, FlushGuard)> {
        let batch = Self(Arc::default());
        let shared = Arc::clone(&batch.0);
        let (ended, writer_ended) = mpsc::channel();
        let write = move || {
            while let Some(lines) = shared.next_lines() {
                // The reader of the output may be gone. Deliveries do not depend on the log.
                let _: io::Result<()> = output.write_all(&lines).and_then(|()| output.flush());
            }
            drop(ended);
        };
        thread::Builder::new()
            .name("hookgate-access".to_owned())
            .spawn(write)?;
        let flush = FlushGuard {
            batch: batch.clone(),
            writer_ended,
        };
        Ok((batch, flush))
    }

    /// Adds `line`, or drops and counts it if too many bytes are pending.
    pub(super) fn push(&self, line: &[u8]) {
        let mut pending = self.0.pending.lock();
        if pending.lines.len() + line.len() > MAX_PENDING {
            drop(pending);
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let is_first = pending.lines.is_empty();
        pending.lines.extend_from_slice(line);
        drop(pending);
        if is_first {
            self.0.wake_writer.notify_one();
        }
    }

    /// Returns the number of lines that were dropped.
    pub(super) fn dropped(&self) -> usize {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Waits for lines and takes them. Returns `None` after the last line.
    fn next_lines(&self) -> Option<Vec<u8>> {
        let mut pending = self.pending.lock();
        while pending.lines.is_empty() && !pending.is_closed {
            self.wake_writer.wait(&mut pending);
        }
        if !pending.is_closed {
            // Only the end interrupts this wait, because the batch is not empty.
            self.wake_writer.wait_for(&mut pending, BATCH_DELAY);
        }
        let next = Vec::with_capacity(pending.lines.len());
        let lines = std::mem::replace(&mut pending.lines, next);
        (!lines.is_empty()).then_some(lines)
    }
}

impl Drop for FlushGuard {
    fn drop(&mut self) {
        self.batch.0.pending.lock().is_closed = true;
        self.batch.0.wake_writer.notify_one();
        let _: Result<(), _> = self.writer_ended.recv_timeout(FLUSH_TIMEOUT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An output that blocks until the first channel has a message or is closed, and sends the
    /// bytes to the second channel.
    struct BlockedOutput(Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for BlockedOutput {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1
                .send(bytes.to_vec())
                .expect("the test holds the receiver");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order_and_the_guard_flushes_the_last_ones() {
        let (unblock, gate) = mpsc::channel();
        let (output, written) = mpsc::channel();
        let (batch, flush) = Batch::start(BlockedOutput(gate, output)).unwrap();
        for line in 0..1000 {
            batch.push(format!("{line}\n").as_bytes());
        }
        drop(unblock);
        drop(flush);
        let all: Vec<u8> = written.iter().flatten().collect();
        let expected: String = (0..1000).map(|line| format!("{line}\n")).collect();
        assert_eq!(String::from_utf8(all).unwrap(), expected);
        assert_eq!(batch.dropped(), 0);
    }

    #[test]
    fn lines_beyond_the_limit_are_dropped_and_counted() {
        let (unblock, gate) = mpsc::channel();
        let (output, written) = mpsc::channel();
        let (batch, flush) = Batch::start(BlockedOutput(gate, output)).unwrap();
        let line = [b'x'; 1024];
        let limit = MAX_PENDING / line.len();
        // The writer holds at most one batch and another one is pending, so at least a third of
        // these lines are dropped.
        for _ in 0..3 * limit {
            batch.push(&line);
        }
        assert!(batch.dropped() >= limit, "{}", batch.dropped());
        drop(unblock);
        drop(flush);
        let all: usize = written.iter().map(|bytes| bytes.len()).sum();
        assert_eq!(all, (3 * limit - batch.dropped()) * line.len());
    }
}
