//! Adaptive gradient clipping: a unit's gradient may be as long as a share of its weights,
//! `g ← g · min(1, clipping·max(‖p‖, eps) / ‖g‖)`.
//!
//! Brock et al., "High-performance large-scale image recognition without normalization", ICML 2021.
//! What a unit is follows the authors' code: a column of a matrix `[inputs, outputs]`, which is all
//! that leads into one output, and a bias as a whole. They spare the output layer; here it is clipped
//! like the others. A bias that starts at zero moves slowly at first, since eps is all it has.

use registry::Part;
use registry::range::Positive;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::reduce::norm;
use tensor_core::{Layout, Real, Shape};

use super::{Transform, TransformPart, Verdict};

/// Keys of `adaptive_clip`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AdaptiveClip {
    /// greatest L2 norm of a unit's gradient, as a share of that of its weights
    pub clipping: Positive,
    /// norm that weights count as if theirs is smaller
    pub eps: Positive,
}

impl Default for AdaptiveClip {
    fn default() -> Self {
        Self { clipping: Positive::new(0.01), eps: Positive::new(1e-3) }
    }
}

impl Part for AdaptiveClip {
    const NAME: &'static str = "adaptive_clip";
    const SUMMARY: &'static str = "clips each unit's gradient to a share of its weights";
    const SOURCE: &'static str = "Brock et al. 2021";
}

impl TransformPart for AdaptiveClip {
    fn transform<T: Real>(&self, layout: &Layout, _seed: u64) -> Box<dyn Transform<T>> {
        let cols = |shape| match shape {
            Shape::Matrix(_, cols) => cols,
            Shape::Vector(_) => 0,
        };
        let widest = layout.segments().iter().map(|segment| cols(segment.shape)).max().unwrap_or(0);
        Box::new(State {
            keys: *self,
            layout: layout.clone(),
            p_squares: vec![0.0; widest],
            g_squares: vec![0.0; widest],
            scales: vec![T::ONE; widest],
        })
    }
}

impl AdaptiveClip {
    /// What a gradient of norm `g` is multiplied with where the weights have norm `p`.
    fn scale(&self, p: f64, g: f64) -> f64 {
        let limit = self.clipping.get() * p.max(self.eps.get());
        if limit < g { limit / g } else { 1.0 }
    }
}

struct State<T> {
    keys: AdaptiveClip,
    layout: Layout,
    /// Workspace: sums of squares of the columns of a matrix, and of its gradient's.
    p_squares: Vec<f64>,
    g_squares: Vec<f64>,
    /// Workspace: what each column is multiplied with.
    scales: Vec<T>,
}

impl<T: Real> Transform<T> for State<T> {
    fn apply(&mut self, _step: u64, params: &[T], grads: &mut [T]) -> Verdict {
        for segment in self.layout.segments() {
            let (params, grads) =
                (&params[segment.range.clone()], &mut grads[segment.range.clone()]);
            match segment.shape {
                Shape::Matrix(_, cols) => {
                    let (p_squares, g_squares) =
                        (&mut self.p_squares[..cols], &mut self.g_squares[..cols]);
                    column_squares(params, p_squares);
                    column_squares(grads, g_squares);
                    let scales = &mut self.scales[..cols];
                    for ((scale, p), g) in scales.iter_mut().zip(p_squares).zip(g_squares) {
                        *scale = T::from_f64(self.keys.scale(p.sqrt(), g.sqrt()));
                    }
                    for row in grads.chunks_exact_mut(cols.max(1)) {
                        for (g, scale) in row.iter_mut().zip(&*scales) {
                            *g *= *scale;
                        }
                    }
                }
                Shape::Vector(_) => {
                    let scale = T::from_f64(self.keys.scale(norm(params), norm(grads)));
                    for g in grads {
                        *g *= scale;
                    }
                }
            }
        }
        Verdict::Step
    }
}

/// Overwrites `squares` with the sum of squares of each column of `matrix`, the rows in order.
fn column_squares<T: Real>(matrix: &[T], squares: &mut [f64]) {
    squares.fill(0.0);
    for row in matrix.chunks_exact(squares.len().max(1)) {
        for (sum, value) in squares.iter_mut().zip(row) {
            let value = value.to_f64();
            *sum += value * value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::applied;
    use super::*;

    const KEYS: AdaptiveClip =
        AdaptiveClip { clipping: Positive::new(0.5), eps: Positive::new(1e-3) };

    #[test]
    fn each_column_of_a_matrix_is_clipped_by_its_own_weights() {
        let mut layout = Layout::default();
        layout.push(None, [("b", Shape::Vector(1)), ("w", Shape::Matrix(2, 3))]);
        // Norms of the columns of p: 5, 2, 0; of g: 10, 1, 4.
        let params = [0.0, 3.0, 2.0, 0.0, 4.0, 0.0, 0.0];
        let mut grads: [f64; 7] = [0.0, 6.0, 0.0, 4.0, 8.0, 1.0, 0.0];
        let verdict = KEYS.transform(&layout, 0).apply(1, &params, &mut grads);
        assert_eq!(verdict, Verdict::Step);
        let expected = [0.0, 1.5, 0.0, 5e-4, 2.0, 1.0, 0.0];
        for (g, expected) in grads.iter().zip(expected) {
            assert!((g - expected).abs() < 1e-15, "{grads:?}");
        }
    }

    #[test]
    fn a_bias_is_one_unit() {
        let (grads, _) = applied(KEYS, 1, [3.0, 4.0], [0.0, 10.0]);
        assert_eq!(grads, [0.0, 2.5]);
        // The second entry alone would have been allowed 2.
        let (grads, _) = applied(KEYS, 1, [3.0, 4.0], [1.5, 2.0]);
        assert_eq!(grads, [1.5, 2.0]);
    }

    #[test]
    fn nothing_changes_far_below_the_bound() {
        let grads = [1e-3, -2e-3, 0.0];
        assert_eq!(applied(KEYS, 1, [1.0, 2.0, -3.0], grads), (grads, Verdict::Step));
    }
}
