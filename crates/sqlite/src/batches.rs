//! The thread that writes to a file: it writes all commands that arrive at the same time in one
//! transaction.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::mpsc;

use crate::checkpointer::CheckpointerHandle;

/// Writes batches of commands.
pub trait BatchWriter: Send + 'static {
    /// A command to write.
    type Command: Send + 'static;

    /// The maximum number of commands in one transaction.
    const MAX_BATCH: usize;

    /// How often [`tick`](Self::tick) is called.
    const TICK_INTERVAL: Duration;

    /// Writes the commands of `batch`, replies to them, and leaves `batch` empty.
    fn write(&mut self, batch: &mut Vec<Self::Command>);

    /// Does the work that no command asks for.
    fn tick(&mut self);

    /// Returns the connection that writes, which has no open transaction.
    fn database(&self) -> &Connection;
}

/// Starts the thread of `writer`. It ends when the sender of `commands` is dropped.
///
/// # Errors
///
/// Returns the error of the operating system if the thread cannot be started.
pub fn spawn_writer<W: BatchWriter>(
    name: &str,
    mut writer: W,
    checkpointer: CheckpointerHandle,
    mut commands: mpsc::Receiver<W::Command>,
) -> io::Result<()> {
    // The thread needs a runtime only to receive with a time limit.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let run = move || {
        let mut batch = Vec::with_capacity(W::MAX_BATCH);
        let mut last_tick = Instant::now();
        loop {
            let received = runtime.block_on(async {
                let received = commands.recv_many(&mut batch, W::MAX_BATCH);
                tokio::time::timeout(W::TICK_INTERVAL, received).await
            });
            match received {
                Ok(0) => return,
                Ok(_) => {
                    writer.write(&mut batch);
                    checkpointer.finish_copy(writer.database());
                    checkpointer.request_sync();
                }
                Err(_elapsed) => {}
            }
            if last_tick.elapsed() >= W::TICK_INTERVAL {
                writer.tick();
                last_tick = Instant::now();
            }
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(run)?;
    Ok(())
}
