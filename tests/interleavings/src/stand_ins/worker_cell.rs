//! [`WorkerCell`]: a cell of each worker thread.

use std::cell::Cell;

use shuttle::thread::LocalKey;

/// A cell of each thread of a model, with the methods that the standard library's keys have.
#[derive(Debug)]
pub struct WorkerCell<T: 'static>(pub &'static LocalKey<Cell<T>>);

impl<T: Default> WorkerCell<T> {
    pub fn take(&self) -> T {
        self.0.with(Cell::take)
    }

    pub fn set(&self, value: T) {
        self.0.with(|cell| cell.set(value));
    }
}

/// Declares a [`WorkerCell`] in the syntax of `thread_local!`.
#[macro_export]
macro_rules! worker_local {
    ($(#[doc = $doc:literal])* static $name:ident: Cell<$value:ty> = const { $init:expr };) => {
        $(#[doc = $doc])*
        static $name: $crate::stand_ins::WorkerCell<$value> = {
            ::shuttle::thread_local! { static CELL: Cell<$value> = $init }
            $crate::stand_ins::WorkerCell(&CELL)
        };
    };
}
