//! The commands with hostile values, at several widths, and against a scripted gateway.

mod rendering;
mod scripted;
