//! Muon: a matrix moves along its momentum made orthogonal, everything else by AdamW,
//! `m ← momentum·m + (1-momentum)·g`, `u = momentum·m + (1-momentum)·g` (Nesterov; else `u = m`),
//! `p ← (1 - lr·weight_decay)·p - lr·scale·NS(u)`.
//!
//! Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. `NS` brings all
//! singular values of `u` near 1 and leaves the singular vectors as they are: `X = u / ‖u‖`, by the
//! Frobenius norm, then five times `X ← P·X` with `P = a·I + b·A + c·A²` and `A = X·Xᵀ`: a Newton–Schulz
//! iteration whose polynomial was made to rise steeply at zero instead of to converge. Singular values
//! above a five hundredth of `‖u‖` end between 0.68 and 1.21.
//!
//! Only `A` is iterated. As `P` is symmetric, `X ← P·X` makes of `X·Xᵀ` just `A ← P·A·P`, so the five `P`
//! follow from the first `A`; `Q`, which begins as `I`, collects their product, `Q ← P·Q`, and `X` is
//! multiplied once, by the last `Q`. For the `[n, 4n]` of an LSTM's recurrent weights that is five ninths
//! of the work; a square matrix takes a quarter more (Zhang, Amsel, Chen & Dao, "Gram Newton-Schulz",
//! 2026). A tall `X` is multiplied from the right, by what becomes of `A = Xᵀ·X`, which is the smaller
//! one. In half precision one has to start anew on the way. Here rounding can give `A` an eigenvalue of
//! `-1e-7` where none is below zero; it has grown to `-2e-3` when the last `P` is taken, whose value is
//! then what it is at zero, to a percent.
//!
//! Where this is not the authors' setup:
//! - One learning rate serves both halves, so by default `scale` is `0.2·√max(rows, cols)`, with which
//!   the entries of a matrix move about as far as AdamW's (Liu et al., "Muon is scalable for LLM
//!   training", 2025). Jordan's `√max(1, outputs/inputs)` is `adjust_lr_fn = "original"`, which is
//!   PyTorch's default and wants a learning rate near 0.02.
//! - They leave embedding and output layer to AdamW. Here every matrix is orthogonalized, with the
//!   gates of a layer as one matrix.
//! - They compute the iteration in bfloat16, as PyTorch does; this stays in the type of the parameters.

use ndarray::{ArrayView2, ArrayViewMut2};
use registry::Part;
use registry::range::{Fraction, NonNegative, Positive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::gemm::{Packed, TILE, gemm, gemm_tn};
use tensor_core::pool::Pool;
use tensor_core::reduce::norm;
use tensor_core::{Aligned, Layout, Real, Shape};

use super::adam::AdamStep;
use super::{Optimizer, OptimizerPart, Update};

/// `a`, `b` and `c`.
const QUINTIC: [f64; 3] = [3.4445, -4.7750, 2.0315];
const ITERATIONS: usize = 5;
/// The least `‖u‖` that is divided by, as in PyTorch, so that a momentum of zero stays zero.
const LEAST_NORM: f64 = 1e-7;

/// Keys of `muon`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Muon {
    /// how much of the average of g is kept each step, for matrices
    pub momentum: Fraction,
    /// look ahead along the momentum, for matrices
    pub nesterov: bool,
    /// size of a matrix's step: that of an AdamW step, or Jordan's
    pub adjust_lr_fn: AdjustLr,
    /// how much of the averages of g and of g² is kept each step, for the rest
    pub betas: [Fraction; 2],
    /// added to √v, for the rest
    pub eps: Positive,
    /// share of the parameters that is taken off, times the learning rate
    pub weight_decay: NonNegative,
}

/// What an orthogonal matrix is multiplied with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdjustLr {
    /// `0.2·√max(rows, cols)`: the root mean square of its entries becomes 0.2, about that of AdamW.
    #[default]
    MatchRmsAdamw,
    /// `√max(1, outputs/inputs)`.
    Original,
}

impl Default for Muon {
    fn default() -> Self {
        Self {
            momentum: Fraction::new(0.95),
            nesterov: true,
            adjust_lr_fn: AdjustLr::MatchRmsAdamw,
            betas: [Fraction::new(0.9), Fraction::new(0.999)],
            eps: Positive::new(1e-8),
            weight_decay: NonNegative::new(0.0),
        }
    }
}

impl Part for Muon {
    const NAME: &'static str = "muon";
    const SUMMARY: &'static str = "orthogonalized momentum for matrices, AdamW for the rest";
    const SOURCE: &'static str = "Jordan et al. 2024";
}

impl OptimizerPart for Muon {
    /// What fits an LSTM of 512 units; PyTorch's 0.001 hardly moves one.
    const LEARNING_RATE: f64 = 0.05;

    fn optimizer<T: Real>(&self, layout: &Layout) -> Box<dyn Optimizer<T>> {
        let shapes = || layout.segments().iter().map(|segment| segment.shape);
        let n_matrix = shapes().filter(is_matrix).map(Shape::len).sum();
        let n_other = layout.len() - n_matrix;
        Box::new(State {
            keys: *self,
            workspace: Workspace::new(shapes().filter(is_matrix)),
            layout: layout.clone(),
            momentum: Aligned::new(T::ZERO, n_matrix),
            m: Aligned::new(T::ZERO, n_other),
            v: Aligned::new(T::ZERO, n_other),
        })
    }
}

fn is_matrix(shape: &Shape) -> bool {
    matches!(shape, Shape::Matrix(..))
}

impl AdjustLr {
    /// Matrices are `[inputs, outputs]` here, in PyTorch the other way round.
    fn scale(self, inputs: usize, outputs: usize) -> f64 {
        match self {
            Self::MatchRmsAdamw => 0.2 * (inputs.max(outputs) as f64).sqrt(),
            Self::Original => (outputs as f64 / inputs as f64).max(1.0).sqrt(),
        }
    }
}

struct State<T> {
    keys: Muon,
    layout: Layout,
    /// Average gradient of the matrices, one after the other.
    momentum: Aligned<T>,
    /// Average gradient of the rest.
    m: Aligned<T>,
    /// Average squared gradient of the rest.
    v: Aligned<T>,
    workspace: Workspace<T>,
}

impl<T: Real> Optimizer<T> for State<T> {
    fn update(&mut self, update: Update<'_, T>) {
        let Update { step, learning_rate, params, grads, pool } = update;
        let Muon { momentum: beta, nesterov, adjust_lr_fn, betas, eps, weight_decay } = self.keys;
        let keep = T::from_f64(1.0 - learning_rate * weight_decay.get());
        let (keep_m, take_m) = (T::from_f64(beta.get()), T::from_f64(1.0 - beta.get()));
        let adam = AdamStep::new(step, learning_rate, betas, eps);

        let mut momentum = self.momentum.iter_mut();
        let mut others = self.m.iter_mut().zip(self.v.iter_mut());
        for segment in self.layout.segments() {
            let params = &mut params[segment.range.clone()];
            let grads = &grads[segment.range.clone()];
            match segment.shape {
                Shape::Matrix(rows, cols) => {
                    let u = &mut self.workspace.x[..rows * cols];
                    for ((g, m), u) in grads.iter().zip(&mut momentum).zip(u) {
                        *m = keep_m * *m + take_m * *g;
                        *u = if nesterov { keep_m * *m + take_m * *g } else { *m };
                    }
                    let lr = T::from_f64(learning_rate * adjust_lr_fn.scale(rows, cols));
                    let u = self.workspace.orthogonalize(rows, cols, pool);
                    for (p, u) in params.iter_mut().zip(u) {
                        *p = keep * *p - lr * *u;
                    }
                }
                Shape::Vector(_) => {
                    for ((p, g), (m, v)) in params.iter_mut().zip(grads).zip(&mut others) {
                        let (descent, averages) = adam.descent(*g, [*m, *v]);
                        *p = keep * *p - descent;
                        [*m, *v] = averages;
                    }
                }
            }
        }
    }

    fn state(&mut self) -> Vec<(&'static str, &mut [T])> {
        vec![("momentum", &mut self.momentum), ("m", &mut self.m), ("v", &mut self.v)]
    }
}

/// What one iteration needs, for the largest matrix there is.
struct Workspace<T> {
    /// `X`, `[rows, cols]`.
    x: Aligned<T>,
    /// What becomes of it.
    out: Aligned<T>,
    /// `A`, with the shorter side of `X` for both of its sides, as all that follow.
    gram: Aligned<T>,
    /// `P = a·I + b·A + c·A²`.
    polynomial: Aligned<T>,
    /// `Q`, the product of the polynomials so far.
    factor: Aligned<T>,
    /// The next `Q`, or `A·P`.
    next: Aligned<T>,
    /// The right-hand side of the product in hand.
    packed: Packed<T>,
    scratch: Aligned<T>,
}

impl<T: Real> Workspace<T> {
    fn new(shapes: impl Iterator<Item = Shape> + Clone) -> Self {
        let short_side = |shape| match shape {
            Shape::Matrix(rows, cols) => rows.min(cols),
            Shape::Vector(_) => 0,
        };
        let largest = shapes.clone().map(Shape::len).max().unwrap_or(0);
        let short = shapes.map(short_side).max().unwrap_or(0);
        let [x, out] = [(); 2].map(|()| Aligned::new(T::ZERO, largest));
        let [gram, polynomial, factor, next] =
            [(); 4].map(|()| Aligned::new(T::ZERO, short * short));
        Self {
            x,
            out,
            gram,
            polynomial,
            factor,
            next,
            packed: Packed::default(),
            scratch: Aligned::default(),
        }
    }

    /// `NS` of the `[rows, cols]` that `x` begins with, which is overwritten.
    fn orthogonalize(&mut self, rows: usize, cols: usize, pool: &mut Pool) -> &[T] {
        let (len, short) = (rows * cols, rows.min(cols));
        let (x, out) = (&mut self.x[..len], &mut self.out[..len]);
        let gram = &mut self.gram[..short * short];
        let polynomial = &mut self.polynomial[..short * short];
        let mut factor = &mut self.factor[..short * short];
        let mut next = &mut self.next[..short * short];
        let (packed, scratch) = (&mut self.packed, &mut self.scratch);
        let [a, b, c] = QUINTIC.map(T::from_f64);

        let scale = T::from_f64(1.0 / norm(x).max(LEAST_NORM));
        for x in &mut *x {
            *x *= scale;
        }
        // `(X·Xᵀ)·X = X·(Xᵀ·X)`, so the smaller product is taken, and nothing has to be transposed.
        let is_wide = rows <= cols;
        if is_wide {
            packed.pack_transposed(view(x, rows), pool);
            product(x, packed, gram, rows, pool);
        } else {
            gemm_tn(view(x, rows), view(x, rows), view_mut(gram, short), scratch, pool);
        }
        for iteration in 1..=ITERATIONS {
            packed.pack(view(gram, short), pool);
            product(gram, packed, polynomial, short, pool);
            for (square, gram) in polynomial.iter_mut().zip(&*gram) {
                *square = b * *gram + c * *square;
            }
            for diagonal in polynomial.iter_mut().step_by(short + 1) {
                *diagonal += a;
            }
            // `A`, `P` and `Q` are polynomials of one matrix, so their order does not matter.
            packed.pack(view(polynomial, short), pool);
            if iteration == 1 {
                factor.copy_from_slice(polynomial);
            } else {
                product(factor, packed, next, short, pool);
                std::mem::swap(&mut factor, &mut next);
            }
            if iteration < ITERATIONS {
                product(gram, packed, next, short, pool);
                product(next, packed, gram, short, pool);
            }
        }
        if is_wide {
            packed.pack(view(x, rows), pool);
            product(factor, packed, out, rows, pool);
        } else {
            packed.pack(view(factor, short), pool);
            product(x, packed, out, rows, pool);
        }
        out
    }
}

/// `C ← A·B` for an `A` of `rows` rows, of which each thread takes some.
fn product<T: Real>(a: &[T], b: &Packed<T>, c: &mut [T], rows: usize, pool: &mut Pool) {
    let each = rows.div_ceil(pool.threads()).next_multiple_of(TILE);
    let (k, n) = (a.len() / rows, c.len() / rows);
    pool.each(a.chunks(each * k).zip(c.chunks_mut(each * n)), |(a, c)| {
        gemm(view(a, a.len() / k), b, view_mut(c, c.len() / n));
    });
}

fn view<T>(values: &[T], rows: usize) -> ArrayView2<'_, T> {
    ArrayView2::from_shape((rows, values.len() / rows.max(1)), values).expect("whole rows")
}

fn view_mut<T>(values: &mut [T], rows: usize) -> ArrayViewMut2<'_, T> {
    let cols = values.len() / rows.max(1);
    ArrayViewMut2::from_shape((rows, cols), values).expect("whole rows")
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::optimizer::AdamW;
    use crate::optimizer::probe::trajectory;

    fn orthogonalized<T: Real>(rows: usize, cols: usize, x: &[T]) -> Vec<T> {
        let mut workspace = Workspace::new([Shape::Matrix(rows, cols)].into_iter());
        workspace.x.copy_from_slice(x);
        workspace.orthogonalize(rows, cols, &mut Pool::default()).to_vec()
    }

    #[test]
    fn singular_values_end_near_one_whatever_they_were() {
        // On a diagonal matrix they are the entries, here over two orders of magnitude.
        let x: [f64; 12] = [9.0, 0.0, 0.0, 0.0, 0.0, 0.3, 0.0, 0.0, 0.0, 0.0, -0.05, 0.0];
        let out = orthogonalized(3, 4, &x);
        for (at, value) in out.iter().enumerate() {
            match x[at] {
                0.0 => assert_eq!(*value, 0.0),
                sign => assert!((0.68..1.21).contains(&(value * sign.signum())), "{out:?}"),
            }
        }
    }

    /// The iteration as Jordan writes it, on `X` itself.
    fn quintic(mut x: Array2<f64>) -> Array2<f64> {
        let [a, b, c] = QUINTIC;
        x /= x.iter().map(|x| x * x).sum::<f64>().sqrt();
        for _ in 0..ITERATIONS {
            let gram = x.dot(&x.t());
            x = &x * a + (&gram * b + gram.dot(&gram) * c).dot(&x);
        }
        x
    }

    #[test]
    fn iterating_the_gram_matrix_is_iterating_the_matrix() {
        for (rows, cols) in [(1, 1), (1, 5), (6, 6), (7, 29), (29, 7), (40, 160)] {
            // Rank 1 to full: singular values that fall to a 10⁸th, each below what f32 can tell
            // from nothing beside the first.
            for fall in [1.0, 0.5, 0.1, 1e-8] {
                let entry = |(row, col): (usize, usize)| -> f64 {
                    let of =
                        |k: usize| ((row * 7 + k * 3 + 1) as f64).sin() * ((col * k) as f64).cos();
                    (0..rows.min(cols)).map(|k| f64::powi(fall, k.min(8) as i32) * of(k)).sum()
                };
                let x = Array2::from_shape_fn((rows, cols), entry);
                let expected = quintic(x.clone());
                let x = x.into_raw_vec_and_offset().0;
                let single: Vec<f32> = x.iter().map(|x| *x as f32).collect();
                let case = format!("{rows}x{cols}, {fall}");
                for (one, other) in orthogonalized(rows, cols, &x).iter().zip(&expected) {
                    assert!((one - other).abs() < 1e-11, "{case}: {one} and {other}");
                }
                for (one, other) in orthogonalized(rows, cols, &single).iter().zip(&expected) {
                    assert!((f64::from(*one) - other).abs() < 1e-3, "{case}: {one} and {other}");
                }
            }
        }
    }

    #[test]
    fn a_tall_matrix_is_the_transpose_of_a_wide_one() {
        let wide: [f64; 6] = [0.3, -1.2, 0.7, 2.0, 0.1, -0.4];
        let tall = [0.3, 2.0, -1.2, 0.1, 0.7, -0.4];
        let (wide, tall) = (orthogonalized(2, 3, &wide), orthogonalized(3, 2, &tall));
        for row in 0..2 {
            for col in 0..3 {
                let (a, b) = (wide[row * 3 + col], tall[col * 2 + row]);
                assert!((a - b).abs() < 1e-13, "{wide:?} and {tall:?}");
            }
        }
    }

    #[test]
    fn the_smaller_of_two_matrices_ignores_what_the_larger_left_behind() {
        let mut layout = Layout::default();
        layout.push(None, [("a", Shape::Matrix(3, 4)), ("b", Shape::Matrix(2, 2))]);
        let (mut both, mut alone) = (vec![1.0; 16], vec![1.0; 4]);
        let grads: Vec<f64> = (0..16).map(|i| f64::from(i * 7 % 5) - 1.7).collect();
        Muon::default().optimizer(&layout).update(Update {
            step: 1,
            learning_rate: 0.1,
            params: &mut both,
            grads: &grads,
            pool: &mut Pool::default(),
        });
        let mut layout = Layout::default();
        layout.push(None, [("b", Shape::Matrix(2, 2))]);
        Muon::default().optimizer(&layout).update(Update {
            step: 1,
            learning_rate: 0.1,
            params: &mut alone,
            grads: &grads[12..],
            pool: &mut Pool::default(),
        });
        assert_eq!(both[12..], alone);
    }

    #[test]
    fn its_state_is_one_average_for_a_matrix_and_two_for_the_rest() {
        let mut layout = Layout::default();
        layout.push(None, [("w", Shape::Matrix(2, 3)), ("b", Shape::Vector(4))]);
        let keys = Muon { momentum: Fraction::new(0.75), ..Muon::default() };
        let mut optimizer = keys.optimizer::<f64>(&layout);
        optimizer.update(Update {
            step: 1,
            learning_rate: 0.1,
            params: &mut [0.5; 10],
            grads: &[8.0; 10],
            pool: &mut Pool::default(),
        });
        let state = optimizer.state().into_iter().map(|(name, values)| (name, values.to_vec()));
        let state: Vec<_> = state.collect();
        assert_eq!(state[0], ("momentum", vec![2.0; 6]));
        assert_eq!((state[1].1.len(), state[2].1.len()), (4, 4));
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let mut layout = Layout::default();
        layout.push(None, [("w", Shape::Matrix(20, 50)), ("v", Shape::Matrix(50, 20))]);
        let grads: Vec<f32> = (0..layout.len()).map(|i| (i as f32 * 0.7).sin()).collect();
        let moved = |threads| {
            let (mut params, mut pool) = (vec![0.5_f32; layout.len()], Pool::new(threads));
            let mut optimizer = Muon::default().optimizer(&layout);
            for step in 1..4 {
                optimizer.update(Update {
                    step,
                    learning_rate: 0.1,
                    params: &mut params,
                    grads: &grads,
                    pool: &mut pool,
                });
            }
            params
        };
        let alone = moved(1);
        assert!(alone.iter().all(|param| param.is_finite() && *param != 0.5));
        for threads in [2, 3, 7] {
            assert_eq!(moved(threads), alone, "{threads} threads");
        }
    }

    #[test]
    fn a_momentum_of_zero_moves_nothing() {
        assert_eq!(orthogonalized(2, 3, &[0.0; 6]), [0.0; 6]);
    }

    #[test]
    fn a_step_has_the_size_of_an_adamw_step_or_jordans() {
        let rms = |scale: f64, rows: usize, cols: usize| {
            // An orthogonal matrix has as many singular values as its shorter side is long.
            scale * (rows.min(cols) as f64 / (rows * cols) as f64).sqrt()
        };
        for (inputs, outputs) in [(4, 9), (9, 4), (5, 5)] {
            let scale = AdjustLr::MatchRmsAdamw.scale(inputs, outputs);
            assert!((rms(scale, inputs, outputs) - 0.2).abs() < 1e-15);
        }
        assert_eq!(AdjustLr::Original.scale(4, 9), 1.5);
        assert_eq!(AdjustLr::Original.scale(9, 4), 1.0);
    }

    #[test]
    fn a_bias_moves_as_by_adamw() {
        let (keys, adamw) = (Muon::default(), AdamW::default());
        let weight_decay = adamw.weight_decay;
        let grads = [[1.0, -3.0], [0.5, 2.0]];
        let expected = trajectory(adamw, 0.1, &grads, [2.0, -1.0]);
        assert_eq!(trajectory(Muon { weight_decay, ..keys }, 0.1, &grads, [2.0, -1.0]), expected);
    }
}
