//! [`return_free_pages`]: makes a file smaller.

use rusqlite::Connection;

/// Returns up to `max` free pages of the file to the file system.
///
/// # Errors
///
/// Returns the error of SQLite.
pub fn return_free_pages(database: &Connection, max: u32) -> rusqlite::Result<()> {
    let mut vacuum = database.prepare_cached(&format!("PRAGMA incremental_vacuum({max})"))?;
    // Each step returns one page.
    let mut steps = vacuum.query([])?;
    while steps.next()?.is_some() {}
    Ok(())
}

/// Returns whether the file has a free page.
///
/// # Errors
///
/// Returns the error of SQLite.
pub fn has_free_pages(database: &Connection) -> rusqlite::Result<bool> {
    Ok(pages(database, "PRAGMA freelist_count")? > 0)
}

/// Returns whether more than `min` pages, and more than a quarter of all pages, are free.
///
/// # Errors
///
/// Returns the error of SQLite.
pub fn has_many_free_pages(database: &Connection, min: u32) -> rusqlite::Result<bool> {
    let free = pages(database, "PRAGMA freelist_count")?;
    Ok(free > i64::from(min) && free > pages(database, "PRAGMA page_count")? / 4)
}

fn pages(database: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    let mut pragma = database.prepare_cached(pragma)?;
    pragma.query_row([], |row| row.get(0))
}
