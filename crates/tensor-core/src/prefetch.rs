//! Asking for memory before it is needed.

/// Asks for the cache line of `values[at]`, if there is such a value, and waits for nothing.
///
/// Memory that is read one place after the other comes by itself. Rows that lie far apart have to be
/// asked for, early enough: a value from memory takes as long as hundreds of multiply-adds.
#[inline(always)]
pub fn prefetch<T>(values: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(value) = values.get(at) {
        #[expect(unsafe_code, reason = "the instruction has no safe form")]
        // SAFETY: it changes nothing that a program can see, and every CPU of this architecture has it.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _none = (values, at);
}
