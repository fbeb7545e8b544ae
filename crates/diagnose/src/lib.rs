//! Finds out why a webhook delivery did not verify, and which scheme has signed it.
//!
//! The input is a [`Capture`] and the [`Setup`] of the receiver. The search undoes the changes
//! that proxies, frameworks and operators make, one at a time and in pairs, and verifies again.
//! A change that makes the signature match is a proved cause. Signs without proof, such as a
//! `content-length` that differs, rank behind it.
//!
//! The search is deterministic. A limit of work bounds its time, and it holds a few
//! copies of the body at most.
//!
//! # Security
//!
//! No text of a [`Cause`] contains a secret, or a signature that would verify.

mod address;
mod age;
mod attempt;
mod body;
mod budget;
mod capture;
mod cause;
mod evidence;
mod header;
mod html;
mod provider;
mod repair;
#[cfg(test)]
mod sample;
mod search;
mod secret;
mod setup;
mod shape;
mod sign;
#[cfg(test)]
mod signed_delivery;

pub use self::capture::{Capture, CaptureError, CaptureFile, Entry, Record, parse_time};
pub use self::cause::{Cause, Code};
pub use self::provider::{Match, identify};
pub use self::search::{Diagnosis, diagnose};
pub use self::setup::{SecretText, Setup};
pub use self::shape::shape;
