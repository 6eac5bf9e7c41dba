//! Asking for memory before it is needed.

/// Asks for the cache line of the value `at` places behind the first of `values`, and waits for nothing.
/// It need not lie in `values`, nor anywhere.
///
/// Memory that is read one place after the other comes by itself. Rows that lie far apart have to be
/// asked for, early enough: a value from memory takes as long as hundreds of multiply-adds.
#[inline(always)]
pub fn prefetch<T>(values: &[T], at: usize) {
    let place = values.as_ptr().wrapping_add(at);
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "the instruction has no safe form")]
    // SAFETY: it changes nothing that a program can see, whatever the address, and every CPU of this
    // architecture has it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _none = place;
}
