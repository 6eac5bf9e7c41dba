//! Slices that begin where a vector register likes to read.

use std::ops::{Deref, DerefMut};

/// Bytes of the widest vector, and of a cache line. A vector that lies across two lines takes two
/// reads.
const LINE: usize = 64;

/// Bytes of a large page, where there are such. A program that goes through megabytes in strides, as a
/// window's tapes are read step by step, else spends a part of its time asking where its pages lie. Miri has no
/// time for so many.
const PAGE: usize = if cfg!(miri) { 1 << 10 } else { 2 << 20 };

/// A slice on the heap whose first element begins a cache line, and a large page if it fills more than half of
/// one. Its length is fixed, but for [`first`](Self::first).
#[derive(Debug)]
pub struct Aligned<T> {
    values: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy> Aligned<T> {
    /// `len` times the same value.
    pub fn new(value: T, len: usize) -> Self {
        let bytes = len * size_of::<T>();
        // As many large pages as it fills more than half of.
        let large = (bytes + PAGE / 2 - 1) / PAGE * PAGE;
        let align = if large == 0 { LINE } else { PAGE };
        let spare = (align + large.saturating_sub(bytes)) / size_of::<T>().max(1);
        let values = vec![value; len + spare];
        // Where alignment is not known, as in an interpreter, any start is as right.
        let start = values.as_ptr().align_offset(align).min(spare);
        ask_for_large_pages(&values[start..], large);
        Self { values, start, len }
    }

    /// Its first `len` values. Where it is shorter it is made anew, of `value` throughout.
    pub fn first(&mut self, len: usize, value: T) -> &mut [T] {
        if self.len < len {
            *self = Self::new(value, len);
        }
        &mut self[..len]
    }
}

/// Asks for large pages of the first so many bytes, and does not mind if there are none.
fn ask_for_large_pages<T>(values: &[T], bytes: usize) {
    #[cfg(all(target_os = "linux", not(miri)))]
    if 0 < bytes && bytes <= size_of_val(values) {
        let first = values.as_ptr().cast_mut().cast();
        #[expect(unsafe_code, reason = "the system call has no safe form")]
        // SAFETY: this advice changes no value, and the bytes are those of a slice.
        let _ = unsafe { rustix::mm::madvise(first, bytes, rustix::mm::Advice::LinuxHugepage) };
    }
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _none = (values, bytes);
}

impl<T: Copy + Default> FromIterator<T> for Aligned<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let values: Vec<T> = values.into_iter().collect();
        let mut aligned = Self::new(T::default(), values.len());
        aligned.copy_from_slice(&values);
        aligned
    }
}

impl<T> Default for Aligned<T> {
    /// Nothing, without an allocation.
    fn default() -> Self {
        Self { values: Vec::new(), start: 0, len: 0 }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        &self.values[self.start..][..self.len]
    }
}

impl<T> DerefMut for Aligned<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[self.start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_begins_a_cache_line_and_holds_what_was_asked_for() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let mut slice = Aligned::new(7.0_f32, len);
            assert_eq!(&slice[..], vec![7.0; len]);
            assert!(cfg!(miri) || slice.as_ptr().addr().is_multiple_of(LINE));
            slice.iter_mut().for_each(|value| *value += 1.0);
            assert_eq!(&slice[..], vec![8.0; len]);
        }
        assert!(Aligned::<f32>::default().is_empty());
    }

    #[test]
    fn a_large_one_begins_a_large_page() {
        for (bytes, align) in [
            (PAGE / 2, LINE),
            (PAGE / 2 + 4, PAGE),
            (PAGE, PAGE),
            (PAGE + PAGE / 2, PAGE),
            (3 * PAGE - 4, PAGE),
        ] {
            let mut slice = Aligned::new(0.0_f32, bytes / 4);
            assert!(cfg!(miri) || slice.as_ptr().addr().is_multiple_of(align), "{bytes} bytes");
            assert_eq!((slice.len(), slice[0], slice[bytes / 4 - 1]), (bytes / 4, 0.0, 0.0));
            slice.fill(1.0);
            assert!(slice.iter().all(|value| *value == 1.0));
        }
    }

    #[test]
    fn it_grows_and_never_shrinks() {
        let mut slice = Aligned::default();
        assert_eq!(slice.first(3, 7), [7; 3]);
        slice.first(3, 7).fill(1);
        assert_eq!(slice.first(2, 9), [1; 2]);
        assert_eq!(slice.len(), 3);
        assert_eq!(slice.first(5, 9), [9; 5]);
    }
}
