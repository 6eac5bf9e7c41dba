//! The loop of the optimizers that treat every entry by itself.

use tensor_core::Real;

use super::Update;

/// Which entries a formula is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of them.
    All,
    /// Not those of a stretch in which no gradient is anything but zero, as for characters that a window
    /// did not have: for a formula that would change nothing there.
    WithGradient,
}

impl<T: Real> Update<'_, T> {
    /// Moves every entry by a formula: from a parameter, its gradient and what is kept of it from step to
    /// step, to the next parameter and what is to be kept of it then.
    ///
    /// A `kept` slice is as long as the parameters, or empty: then the formula is given zero, and what it
    /// returns is dropped. The formula becomes vector instructions if `#[inline(always)]` stands before it.
    ///
    /// # Panics
    /// If lengths do not fit.
    #[track_caller]
    pub fn each_entry<const N: usize>(
        self,
        reach: Reach,
        mut kept: [&mut [T]; N],
        formula: impl Fn(T, T, [T; N]) -> (T, [T; N]) + Sync,
    ) {
        let Self { mut params, mut grads, pool, .. } = self;
        let fits = |len: usize| len == params.len();
        assert!(fits(grads.len()), "{} gradients of {} parameters", grads.len(), params.len());
        let all_fit = kept.iter().all(|kept| kept.is_empty() || fits(kept.len()));
        assert!(all_fit, "something kept of each of {} parameters, or of none", params.len());
        let each = params.len().div_ceil(pool.threads()).max(LEAST).next_multiple_of(64);
        let parts = std::iter::from_fn(|| {
            let len = each.min(params.len());
            let kept = kept.each_mut().map(|kept| kept.split_off_mut(..len).unwrap_or_default());
            let part = (params.split_off_mut(..len)?, grads.split_off(..len)?, kept);
            (0 < len).then_some(part)
        });
        pool.each(parts, |(params, grads, kept)| {
            T::vectorized(
                #[inline(always)]
                || entries(reach, params, grads, kept, &formula),
            );
        });
    }
}

/// Fewest entries for which a thread is asked: fewer are done before it has begun.
const LEAST: usize = 1 << 15;

/// [`Update::each_entry`] by one thread.
#[inline(always)]
fn entries<T: Real, const N: usize>(
    reach: Reach,
    params: &mut [T],
    grads: &[T],
    mut kept: [&mut [T]; N],
    formula: &impl Fn(T, T, [T; N]) -> (T, [T; N]),
) {
    let (len, mut at) = (params.len(), 0);
    while at + 64 <= len {
        block::<T, N, 64>(reach, at, params, grads, &mut kept, formula);
        at += 64;
    }
    while at + 16 <= len {
        block::<T, N, 16>(reach, at, params, grads, &mut kept, formula);
        at += 16;
    }
    while at < len {
        block::<T, N, 1>(reach, at, params, grads, &mut kept, formula);
        at += 1;
    }
}

/// `B` entries, from `at` on.
#[inline(always)]
fn block<T: Real, const N: usize, const B: usize>(
    reach: Reach,
    at: usize,
    params: &mut [T],
    grads: &[T],
    kept: &mut [&mut [T]; N],
    formula: &impl Fn(T, T, [T; N]) -> (T, [T; N]),
) {
    let g: &[T; B] = grads[at..].first_chunk().expect("as many");
    if reach == Reach::WithGradient && g.iter().fold(true, |zero, g| zero & (*g == T::ZERO)) {
        return;
    }
    // Copies are known not to overlap.
    let params: &mut [T; B] = params[at..].first_chunk_mut().expect("as many");
    let (mut p, mut k) = (*params, [[T::ZERO; B]; N]);
    for n in 0..N {
        if let Some(kept) = kept[n].get(at..).and_then(|kept| kept.first_chunk()) {
            k[n] = *kept;
        }
    }
    for i in 0..B {
        let mut of_entry = [T::ZERO; N];
        for n in 0..N {
            of_entry[n] = k[n][i];
        }
        (p[i], of_entry) = formula(p[i], g[i], of_entry);
        for n in 0..N {
            k[n][i] = of_entry[n];
        }
    }
    *params = p;
    for n in 0..N {
        if let Some(kept) = kept[n].get_mut(at..).and_then(|kept| kept.first_chunk_mut()) {
            *kept = k[n];
        }
    }
}

#[cfg(test)]
mod tests {
    use tensor_core::pool::Pool;

    use super::*;

    /// What a formula of an optimizer looks like: a decay, an average, and a sum that is a root's.
    #[inline(always)]
    fn formula(p: f32, g: f32, [m, s]: [f32; 2]) -> (f32, [f32; 2]) {
        let (m, s) = (0.9 * m + 0.1 * g, s + g * g);
        (p - 0.01 * (m + 0.1 * p) / (s.sqrt() + 1e-3), [m, s])
    }

    fn numbers(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7 + seed * 13) as f32 * 0.3).sin()).collect()
    }

    fn update<'a>(params: &'a mut [f32], grads: &'a [f32], pool: &'a mut Pool) -> Update<'a, f32> {
        Update { step: 1, learning_rate: 0.1, params, grads, pool }
    }

    #[test]
    fn every_entry_moves_as_the_formula_says_whatever_the_length_and_the_pool() {
        for len in [0, 1, 15, 16, 17, 63, 64, 65, 80, 150, LEAST, 2 * LEAST + 1, 3 * LEAST + 77] {
            let grads = numbers(len, 1);
            let (mut p, mut m, mut s) = (numbers(len, 2), numbers(len, 3), numbers(len, 4));
            s.iter_mut().for_each(|s| *s = s.abs());
            let start = (p.clone(), m.clone(), s.clone());
            for i in 0..len {
                (p[i], [m[i], s[i]]) = formula(p[i], grads[i], [m[i], s[i]]);
            }
            for threads in [1, 2, 3, 7] {
                let (mut params, mut mean, mut sum) = start.clone();
                let mut pool = Pool::new(threads);
                let update = update(&mut params, &grads, &mut pool);
                update.each_entry(Reach::All, [&mut mean, &mut sum], formula);
                assert!(params == p && mean == m && sum == s, "{len} entries, {threads} threads");
            }
        }
    }

    #[test]
    fn what_is_not_kept_is_zero_each_time() {
        let (mut params, grads, mut sum) = (numbers(70, 1), numbers(70, 2), vec![0.0; 70]);
        let (before, mut pool) = (params.clone(), Pool::default());
        update(&mut params, &grads, &mut pool).each_entry(
            Reach::All,
            [&mut [], &mut sum],
            |p, g, [m, s]| (p + m, [7.0, s + g]),
        );
        assert_eq!((params, sum), (before, grads));
    }

    #[test]
    fn a_stretch_without_a_gradient_is_left_alone() {
        let mut grads = vec![0.0; 200];
        (grads[70], grads[199]) = (1.0, f32::NAN);
        let (mut params, mut pool) = (vec![0.0; 200], Pool::default());
        update(&mut params, &grads, &mut pool)
            .each_entry(Reach::WithGradient, [], |p, _, []| (p + 1.0, []));
        let moved = |range: std::ops::Range<usize>| params[range].iter().all(|p| *p == 1.0);
        assert!(params[..64].iter().chain(&params[128..199]).all(|p| *p == 0.0));
        assert!(moved(64..128) && moved(199..200));
    }

    #[test]
    #[should_panic(expected = "2 gradients of 3 parameters")]
    fn lengths_have_to_fit() {
        let mut pool = Pool::default();
        update(&mut [0.0; 3], &[0.0; 2], &mut pool).each_entry(Reach::All, [], |p, _, []| (p, []));
    }
}
