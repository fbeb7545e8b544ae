//! An executor whose worker threads take tasks from one queue, as those of tokio steal tasks.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;

/// A task of a model.
pub type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    /// `None` after its end.
    future: Mutex<Option<BoxFuture>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Arc<Task>>,
    unfinished: usize,
}

/// Runs `futures` to their ends on `workers` threads. A future that nothing wakes is a deadlock,
/// which shuttle reports.
pub fn run(workers: usize, futures: Vec<BoxFuture>) {
    let shared = Arc::new(Shared::default());
    shared.lock().unfinished = futures.len();
    for future in futures {
        let task = Task {
            future: Mutex::new(Some(future)),
            shared: Arc::clone(&shared),
        };
        shared.lock().ready.push_back(Arc::new(task));
    }
    let workers: Vec<_> = (0..workers)
        .map(|_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || while shared.work() {})
        })
        .collect();
    for worker in workers {
        worker.join().expect("no worker panics");
    }
}

impl Shared {
    fn lock(&self) -> shuttle::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no worker panics")
    }

    /// Polls the next task. Returns `false` after the end of all tasks.
    fn work(&self) -> bool {
        let mut state = self.lock();
        let task = loop {
            match state.ready.pop_front() {
                Some(task) => break task,
                None if state.unfinished == 0 => return false,
                None => state = self.changed.wait(state).expect("no worker panics"),
            }
        };
        drop(state);
        let waker = Waker::from(Arc::clone(&task));
        let mut future = task.future.lock().expect("no worker panics");
        let Some(running) = future.as_mut() else {
            return true;
        };
        if running
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            *future = None;
            drop(future);
            self.lock().unfinished -= 1;
            self.changed.notify_all();
        }
        true
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let shared = Arc::clone(&self.shared);
        shared.lock().ready.push_back(self);
        shared.changed.notify_one();
    }
}
