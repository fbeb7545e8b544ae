//! Collects log lines in memory, and writes them to an output on a thread of its own.
//!
//! An output that fails drops and counts its lines, and is tried again with the next ones.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::telemetry::log_throttle::LogThrottle;

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
    must_reopen: bool,
    is_closed: bool,
}

/// The target of the lines.
pub(super) trait Output: Write + Send + 'static {
    /// Returns the name of the output, for messages.
    fn name(&self) -> String;

    /// Opens the output anew, because another program has renamed it.
    ///
    /// # Errors
    ///
    /// Returns the error of the system. The output then stays as it is.
    fn reopen(&mut self) -> io::Result<()>;

    /// Removes the last `len` bytes, the start of a line that could not be written whole.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes cannot be removed.
    fn remove_end(&mut self, len: u64) -> io::Result<()>;
}

impl Output for io::Stdout {
    fn name(&self) -> String {
        "standard output".to_owned()
    }

    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn remove_end(&mut self, _: u64) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
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
    pub(super) fn start(output: impl Output) -> io::Result<(Self, FlushGuard)> {
        let batch = Self(Arc::default());
        let shared = Arc::clone(&batch.0);
        let (ended, writer_ended) = mpsc::channel();
        let write = move || {
            Writer::new(output).run(&shared);
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

    /// Lets the writer open its output anew before it writes the next lines.
    pub(super) fn reopen(&self) {
        self.0.pending.lock().must_reopen = true;
        self.0.wake_writer.notify_one();
    }

    /// Returns the number of lines that were dropped.
    pub(super) fn dropped(&self) -> usize {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Waits for lines and takes them. Returns `None` after the last line.
    fn next(&self) -> Option<Next> {
        let mut pending = self.pending.lock();
        while pending.lines.is_empty() && !pending.is_closed && !pending.must_reopen {
            self.wake_writer.wait(&mut pending);
        }
        if !pending.is_closed && !pending.must_reopen {
            // Only the end and a reopening interrupt this wait, because the batch is not empty.
            self.wake_writer.wait_for(&mut pending, BATCH_DELAY);
        }
        let buffer = Vec::with_capacity(pending.lines.len());
        let lines = std::mem::replace(&mut pending.lines, buffer);
        let must_reopen = std::mem::take(&mut pending.must_reopen);
        (!lines.is_empty() || must_reopen).then_some(Next { lines, must_reopen })
    }
}

/// The next work of the writer.
struct Next {
    lines: Vec<u8>,
    must_reopen: bool,
}

/// The state of the writer thread.
struct Writer<O> {
    output: O,
    must_reopen: bool,
    /// Whether the output ends with the start of a line that could not be removed.
    ends_within_line: bool,
    is_failing: bool,
    throttle: LogThrottle,
}

impl<O: Output> Writer<O> {
    fn new(output: O) -> Self {
        Self {
            output,
            must_reopen: false,
            ends_within_line: false,
            is_failing: false,
            throttle: LogThrottle::default(),
        }
    }

    /// Writes lines until the batch is closed.
    fn run(mut self, shared: &Shared) {
        while let Some(next) = shared.next() {
            self.must_reopen |= next.must_reopen;
            if self.must_reopen {
                self.reopen();
            }
            match self.write(&next.lines) {
                Ok(()) if next.lines.is_empty() => {}
                Ok(()) => self.report_success(shared),
                Err((unwritten, error)) => {
                    shared.dropped.fetch_add(unwritten, Ordering::Relaxed);
                    self.report_failure(shared, &error);
                }
            }
        }
    }

    /// Opens the output anew. If this fails, the old output stays until a later attempt.
    fn reopen(&mut self) {
        match self.output.reopen() {
            Ok(()) => {
                self.must_reopen = false;
                self.ends_within_line = false;
                tracing::info!(output = self.output.name(), "access log reopened");
            }
            Err(error) if self.throttle.should_log() => tracing::warn!(
                output = self.output.name(),
                %error,
                "cannot reopen the access log; it continues in the renamed file"
            ),
            Err(_) => {}
        }
    }

    /// Writes whole lines.
    ///
    /// # Errors
    ///
    /// Returns the number of lines that were not written, and the cause.
    fn write(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        if self.ends_within_line && !lines.is_empty() {
            let ended = self.output.write_all(b"\n");
            ended.map_err(|error| (count_lines(lines), error))?;
            self.ends_within_line = false;
        }
        let mut written = 0;
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            match self.output.write(rest) {
                Ok(0) => return Err(self.interrupt(lines, written, ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.interrupt(lines, written, error)),
            }
        }
        self.output.flush().map_err(|error| (0, error))
    }

    /// Removes the start of the line that the error `cause` has interrupted, after `written`
    /// bytes of `lines`.
    fn interrupt(&mut self, lines: &[u8], written: usize, cause: io::Error) -> (usize, io::Error) {
        let (done, rest) = lines.split_at(written);
        let start = done.rsplit(|byte| *byte == b'\n').next().unwrap_or(done);
        self.ends_within_line =
            !start.is_empty() && self.output.remove_end(start.len() as u64).is_err();
        (count_lines(rest), cause)
    }

    fn report_failure(&mut self, shared: &Shared, error: &io::Error) {
        self.is_failing = true;
        if self.throttle.should_log() {
            tracing::warn!(
                output = self.output.name(),
                %error,
                dropped = shared.dropped.load(Ordering::Relaxed),
                "cannot write the access log; its lines are dropped and counted"
            );
        }
    }

    fn report_success(&mut self, shared: &Shared) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!(
                output = self.output.name(),
                dropped = shared.dropped.load(Ordering::Relaxed),
                "access log written again"
            );
        }
    }
}

fn count_lines(lines: &[u8]) -> usize {
    lines.iter().filter(|byte| **byte == b'\n').count()
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

    impl Output for BlockedOutput {
        fn name(&self) -> String {
            "blocked".to_owned()
        }

        fn reopen(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn remove_end(&mut self, _: u64) -> io::Result<()> {
            Ok(())
        }
    }

    /// An output that is full after some bytes, and can be told to fail in each way.
    #[derive(Default)]
    struct FullOutput {
        written: Vec<u8>,
        space: usize,
        can_remove: bool,
        can_reopen: bool,
        reopened: usize,
    }

    impl Write for FullOutput {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.space);
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.space -= count;
            self.written.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Output for FullOutput {
        fn name(&self) -> String {
            "full".to_owned()
        }

        fn reopen(&mut self) -> io::Result<()> {
            if !self.can_reopen {
                return Err(ErrorKind::PermissionDenied.into());
            }
            self.reopened += 1;
            Ok(())
        }

        fn remove_end(&mut self, len: u64) -> io::Result<()> {
            if !self.can_remove {
                return Err(ErrorKind::Unsupported.into());
            }
            self.written.truncate(self.written.len() - len as usize);
            Ok(())
        }
    }

    #[test]
    fn a_full_output_keeps_whole_lines_only_and_goes_on_when_it_has_space() {
        for (can_remove, expected) in [(true, "one\ntwo\nfive\n"), (false, "one\ntwo\nth\nfive\n")]
        {
            let mut writer = Writer::new(FullOutput {
                space: 10,
                can_remove,
                ..FullOutput::default()
            });
            let (unwritten, error) = writer.write(b"one\ntwo\nthree\nfour\n").unwrap_err();
            assert_eq!((unwritten, error.kind()), (2, ErrorKind::StorageFull));
            let (unwritten, _) = writer.write(b"four and a half\n").unwrap_err();
            assert_eq!(unwritten, 1);
            writer.output.space = 100;
            writer.write(b"five\n").unwrap();
            assert_eq!(String::from_utf8_lossy(&writer.output.written), expected);
        }
    }

    #[test]
    fn a_failed_reopening_is_repeated_until_it_succeeds() {
        let mut writer = Writer::new(FullOutput::default());
        writer.must_reopen = true;
        writer.reopen();
        assert!(writer.must_reopen);
        writer.output.can_reopen = true;
        writer.reopen();
        assert!(!writer.must_reopen);
        assert_eq!(writer.output.reopened, 1);
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
