//! The programs, for tests that mount their parts.

#[path = "../../src/actix.rs"]
#[allow(dead_code, reason = "the tests do not run `main`")]
pub mod actix;
#[path = "../../src/lambda.rs"]
#[allow(dead_code, reason = "the tests do not run `main`")]
pub mod lambda;
#[path = "../../src/poem.rs"]
#[allow(dead_code, reason = "the tests do not run `main`")]
pub mod poem;
#[path = "../../src/salvo.rs"]
#[allow(dead_code, reason = "the tests do not run `main`")]
pub mod salvo;
#[path = "../../src/warp.rs"]
#[allow(dead_code, reason = "the tests do not run `main`")]
pub mod warp;
