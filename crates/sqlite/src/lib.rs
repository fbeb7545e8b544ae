//! SQLite files that several processes of one machine share.
//!
//! The replay store and the queue keep their data in such files. This crate opens and checks a
//! file, writes to it in batches, copies its write-ahead log, and finds the rows of replay keys.
//! It is no public API: it can change in any release.

#![forbid(unsafe_code)]

mod allocation;
mod batches;
mod checkpointer;
mod database;
mod durability;
mod error;
mod file_sync;
mod file_system;
mod free_pages;
mod free_space;
mod key_index;
mod private_files;
mod reserve;
mod write_turn;

pub use self::batches::{BatchWriter, spawn_writer};
pub use self::checkpointer::{Checkpointer, CheckpointerHandle};
pub use self::database::{Database, FileFormat, FileSystems, IMMEDIATE, check_writable};
pub use self::durability::Durability;
pub use self::error::{OpenError, OpenErrorKind, WriteError};
pub use self::free_pages::{has_free_pages, has_many_free_pages, return_free_pages};
pub use self::free_space::free_space;
pub use self::key_index::KeyIndex;
pub use self::private_files::create_private_file;
pub use self::reserve::{FreeSpace, SpaceReserve, is_no_space};
pub use self::write_turn::{BUSY_TIMEOUT, WriteTurn, WriteTurnGuard};
