//! The format of the file: its tables, and the numbers in their columns.

use hookgate_sqlite::{FileFormat, FileSystems};

use crate::entry::{EntryState, FailureKind};

/// The file of a queue.
///
/// * Bodies are apart from `entries`, so that lists and the search for due entries read little.
/// * `keys` has the replay keys of the entries that are not delivered, in order of arrival. A
///   table sorted by key would change one page for each key, because keys are hashes.
///   [`KeyIndex`](hookgate_sqlite::KeyIndex) finds the rows.
/// * Times are milliseconds of the queue's clock ([`QueueClock`](super::clock::QueueClock)).
///   Columns whose names end with `_at` have times of the system clock.
/// * SQLite does not map the file into memory: a failed read of a map would end the process.
pub(super) static FORMAT: FileFormat = FileFormat {
    name: "queue",
    file: "queue.db",
    // "hkgq" in ASCII.
    application_id: 0x686b_6771,
    version: 1,
    settings: "PRAGMA cache_size = -32768;",
    max_checked_bytes: 64 << 20,
    file_systems: FileSystems::Local,
    loss: "Deliveries that wait in it are not sent meanwhile",
    tables: "
        CREATE TABLE IF NOT EXISTS clock (
          id      INTEGER PRIMARY KEY CHECK (id = 0),
          boot    TEXT    NOT NULL,    -- the boot to which `ahead` applies
          ahead   INTEGER NOT NULL,    -- the queue's clock minus the boot clock
          started INTEGER NOT NULL,    -- the queue's clock at the first use in this boot
          seen    INTEGER NOT NULL,    -- the queue's clock at the last use
          seen_at INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE IF NOT EXISTS sources (
          id        INTEGER PRIMARY KEY,
          name      TEXT    NOT NULL UNIQUE,
          waiting   INTEGER NOT NULL DEFAULT 0,
          in_flight INTEGER NOT NULL DEFAULT 0,
          dead      INTEGER NOT NULL DEFAULT 0,
          delivered INTEGER NOT NULL DEFAULT 0,
          bytes     INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        CREATE TABLE IF NOT EXISTS entries (
          -- AUTOINCREMENT never reuses an id: a greater id is a newer entry.
          id             INTEGER PRIMARY KEY AUTOINCREMENT,
          source         INTEGER NOT NULL,
          state          INTEGER NOT NULL,
          due            INTEGER NOT NULL,  -- in flight: the end of the lease; dead, delivered:
                                            -- when the entry became so
          lease          INTEGER NOT NULL,  -- the token of the lease; 0: none. It stays when
                                            -- the lease ends by its time
          attempts       INTEGER NOT NULL,
          earlier        INTEGER NOT NULL,  -- the attempts before the operator's last retry
          since          INTEGER NOT NULL,  -- the age counts from here
          since_at       INTEGER NOT NULL,
          stored_at      INTEGER NOT NULL,
          revived        INTEGER NOT NULL,  -- 1: the age has started again
          failure_kind   INTEGER,
          failure_status INTEGER,
          failure_at     INTEGER,
          size           INTEGER NOT NULL,
          body_len       INTEGER NOT NULL,
          keys           BLOB    NOT NULL,
          nonce          INTEGER,           -- the token of a delivery without keys
          tenant         TEXT,
          event_id       TEXT,
          key_id         TEXT    NOT NULL,
          request_id     TEXT    NOT NULL
        ) STRICT;
        CREATE INDEX IF NOT EXISTS waiting  ON entries (source, due) WHERE state = 0;
        CREATE INDEX IF NOT EXISTS leased   ON entries (due, source) WHERE state = 1;
        CREATE INDEX IF NOT EXISTS open     ON entries (source) WHERE state < 2;
        CREATE INDEX IF NOT EXISTS ended    ON entries (state, source, due) WHERE state > 1;
        CREATE INDEX IF NOT EXISTS revivals ON entries (source, since) WHERE revived = 1;
        CREATE TABLE IF NOT EXISTS contents (
          id       INTEGER PRIMARY KEY,
          checksum INTEGER NOT NULL,
          envelope BLOB    NOT NULL,
          body     BLOB    NOT NULL
        ) STRICT;
        CREATE TABLE IF NOT EXISTS keys (
          id        INTEGER PRIMARY KEY AUTOINCREMENT,
          key       BLOB    NOT NULL,
          entry     INTEGER NOT NULL,
          confirmed INTEGER NOT NULL    -- 1: the claim is done in the replay store
        ) STRICT;",
};

/// The column `entries.state`.
pub(super) mod state {
    pub(in super::super) const WAITING: i64 = 0;
    pub(in super::super) const IN_FLIGHT: i64 = 1;
    pub(in super::super) const DEAD: i64 = 2;
    pub(in super::super) const DELIVERED: i64 = 3;
}

pub(super) fn state_number(state: EntryState) -> i64 {
    match state {
        EntryState::Waiting => state::WAITING,
        EntryState::InFlight => state::IN_FLIGHT,
        EntryState::Dead => state::DEAD,
        EntryState::Delivered => state::DELIVERED,
    }
}

/// Returns the state with this number. `None` if the file is damaged.
pub(super) fn entry_state(number: i64) -> Option<EntryState> {
    Some(match number {
        state::WAITING => EntryState::Waiting,
        state::IN_FLIGHT => EntryState::InFlight,
        state::DEAD => EntryState::Dead,
        state::DELIVERED => EntryState::Delivered,
        _ => return None,
    })
}

pub(super) fn failure_number(kind: FailureKind) -> i64 {
    match kind {
        FailureKind::Unreachable => 0,
        FailureKind::TimedOut => 1,
        FailureKind::BrokenOff => 2,
        FailureKind::Response => 3,
        FailureKind::Lost => 4,
        FailureKind::Damaged => 5,
    }
}

/// Returns the kind with this number. `None` if the file is damaged.
pub(super) fn failure_kind(number: i64) -> Option<FailureKind> {
    let mut kinds = FailureKind::ALL.into_iter();
    kinds.find(|kind| failure_number(*kind) == number)
}
