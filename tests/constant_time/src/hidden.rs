//! Requests to valgrind. Outside of valgrind they do nothing.

use vgzzq::memcheck::make_mem_undefined;

/// Marks bytes as undefined. Memcheck reports each branch that depends on them.
pub fn hide(bytes: &[u8]) {
    // SAFETY: the request changes no byte. Memcheck alone records it.
    unsafe { make_mem_undefined(bytes.as_ptr(), bytes.len()) };
}

/// Runs `prepare` without reports. An operator's secret is parsed once at the start, and no sender
/// can measure that.
pub fn without_reports<T>(prepare: impl FnOnce() -> T) -> T {
    vgzzq::disable_error_reporting();
    let prepared = prepare();
    vgzzq::enable_error_reporting();
    prepared
}
