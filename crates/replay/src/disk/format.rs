//! The format of the file.

use hookgate_sqlite::{FileFormat, FileSystems};

/// The file of a replay store.
pub(super) static FORMAT: FileFormat = FileFormat {
    name: "replay store",
    file: "replay.db",
    // "hkgt" in ASCII.
    application_id: 0x686b_6774,
    version: 2,
    settings: "PRAGMA cache_size = -16384; PRAGMA mmap_size = 268435456;",
    max_checked_bytes: u64::MAX,
    file_systems: FileSystems::Any,
    loss: "A new folder contains no events, so replays of recent deliveries pass once",
    tables: "
        CREATE TABLE IF NOT EXISTS entries (
          -- AUTOINCREMENT never reuses an id: a greater id is a newer entry.
          id        INTEGER PRIMARY KEY AUTOINCREMENT,
          key       BLOB    NOT NULL,
          token     INTEGER NOT NULL,
          attempt   INTEGER NOT NULL,
          lease_end INTEGER,          -- NULL: the event is done
          forget_at INTEGER NOT NULL,
          source    INTEGER NOT NULL,
          content   INTEGER           -- checksum; NULL: not compared
        ) STRICT;
        CREATE TABLE IF NOT EXISTS clock (
          id        INTEGER PRIMARY KEY CHECK (id = 1),
          time      INTEGER NOT NULL, -- the time of the file
          wall      INTEGER NOT NULL, -- the system clock then
          boot      INTEGER NOT NULL  -- the clock of the machine then
        ) STRICT;",
};
