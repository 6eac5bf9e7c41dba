//! Which vector instructions this CPU has, and how a loop gets them.
//!
//! What is worth it is compiled three times: for the target as it is, for AVX2 with FMA, and for
//! AVX-512. A loop gives the same bits at every level, because all it may use is exactly rounded:
//! `+ - * /`, square roots and [`mul_add`](crate::Real::mul_add).

use std::sync::OnceLock;

use fearless_simd::Simd;

/// The environment variable that forces a level: `avx512`, `avx2`, `neon` or `plain`.
/// A name that this CPU does not have is `plain`.
pub const LEVEL_VARIABLE: &str = "CHAR_RNN_SIMD";

/// Vector instructions that code is compiled for once more, with the proof that the CPU has them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512(fearless_simd::Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(fearless_simd::Avx2),
    #[cfg(target_arch = "aarch64")]
    Neon(fearless_simd::Neon),
    /// What the target has anyway.
    Plain,
}

impl Level {
    /// The best level that this CPU has and [`LEVEL_VARIABLE`] allows. Found once.
    #[inline]
    pub fn get() -> Self {
        static LEVEL: OnceLock<Level> = OnceLock::new();
        *LEVEL.get_or_init(|| Self::of(&std::env::var(LEVEL_VARIABLE).unwrap_or_default()))
    }

    /// The level of that name; the best there is if it is empty, and plain if there is none such.
    fn of(wanted: &str) -> Self {
        let is_wanted = |level: &Self| wanted.is_empty() || level.name() == wanted;
        Self::all().into_iter().find(is_wanted).unwrap_or(Self::Plain)
    }

    /// Every level of this CPU, the best first.
    pub fn all() -> Vec<Self> {
        let _level = fearless_simd::Level::new();
        let mut all = vec![];
        #[cfg(target_arch = "x86_64")]
        all.extend(_level.as_avx512().map(Self::Avx512));
        #[cfg(target_arch = "x86_64")]
        all.extend(_level.as_avx2().map(Self::Avx2));
        #[cfg(target_arch = "aarch64")]
        all.extend(_level.as_neon().map(Self::Neon));
        all.push(Self::Plain);
        all
    }

    /// As in [`LEVEL_VARIABLE`].
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "neon",
            Self::Plain => "plain",
        }
    }

    /// Runs `f` compiled for this level.
    #[inline(always)]
    pub fn run<R>(self, f: impl FnOnce() -> R) -> R {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(avx512) => avx512.vectorize(f),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => avx2.vectorize(f),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(neon) => neon.vectorize(f),
            Self::Plain => f(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_chosen_by_its_name_and_the_best_by_none() {
        let names: Vec<_> = Level::all().into_iter().map(Level::name).collect();
        assert_eq!(names.last(), Some(&"plain"));
        assert!(names.iter().all(|name| ["avx512", "avx2", "neon", "plain"].contains(name)));
        for name in &names {
            assert_eq!(Level::of(name).name(), *name);
        }
        assert_eq!(Level::of("").name(), names[0]);
        assert_eq!(Level::of("mmx").name(), "plain");
    }
}
