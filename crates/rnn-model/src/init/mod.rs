//! How the parameters start, one file each.

mod normal;
mod orthogonal;
mod pytorch;
mod xavier;

use registry::{Entry, Part, Registry};
use tensor_core::rng::Rng;
use tensor_core::{Layout, Segment, Shape};

pub use normal::Normal;
pub use orthogonal::Orthogonal;
pub use pytorch::Pytorch;
pub use xavier::Xavier;

/// Sets the parameters of a model before training.
///
/// Values are drawn in `f64` and rounded afterwards, so models in `f32` and in `f64` start alike.
pub trait Initializer: Send + Sync {
    /// Overwrites `theta`, laid out as `layout`, of a model of width `hidden_size`, and adds
    /// `forget_bias` to the bias of every forget gate.
    ///
    /// # Errors
    /// If the values come from elsewhere and cannot be had.
    fn init(
        &self,
        layout: &Layout,
        hidden_size: usize,
        forget_bias: f64,
        rng: &mut Rng,
        theta: &mut [f64],
    ) -> Result<(), InitError>;
}

/// An initializer that draws each tensor by itself.
pub trait Distribution: Send + Sync {
    /// Overwrites the values of one tensor in a model of width `hidden_size`.
    fn draw(&self, segment: &Segment, hidden_size: usize, rng: &mut Rng, values: &mut [f64]);
}

impl<D: Distribution> Initializer for D {
    fn init(
        &self,
        layout: &Layout,
        hidden_size: usize,
        forget_bias: f64,
        rng: &mut Rng,
        theta: &mut [f64],
    ) -> Result<(), InitError> {
        for segment in layout.segments() {
            let values = &mut theta[segment.range.clone()];
            match segment.start {
                Some(start) => values.fill(start),
                None => self.draw(segment, hidden_size, rng, values),
            }
            if let Some(gate) = forget_gate(segment) {
                let width = values.len() / segment.gates.len();
                values[gate * width..][..width].iter_mut().for_each(|value| *value += forget_bias);
            }
        }
        Ok(())
    }
}

/// The place of the forget gate among the gates of a bias, if this is one with such a gate.
///
/// A bias of one there lets a state survive before anything is learned: Gers, Schmidhuber & Cummins,
/// "Learning to forget", 2000; Jozefowicz, Zaremba & Sutskever, "An empirical exploration of
/// recurrent network architectures", ICML 2015.
pub fn forget_gate(segment: &Segment) -> Option<usize> {
    let gates = segment.gates.iter().position(|gate| *gate == "f");
    gates.filter(|_| segment.tensor == "b_h")
}

/// The blocks of a matrix `[rows, cols]` that belong to one gate each: rows, columns of one block,
/// and the first column of each.
fn gate_blocks(segment: &Segment) -> Option<(usize, usize, impl Iterator<Item = usize> + use<>)> {
    let Shape::Matrix(rows, cols) = segment.shape else { return None };
    let width = cols / segment.gates.len().max(1);
    Some((rows, width, (0..cols).step_by(width.max(1))))
}

/// Initial values that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct InitError {
    /// The file, or the tensor in it.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: String,
}

/// The entry of initializer `P`.
pub fn entry<P: Part + Initializer>() -> Entry<dyn Initializer> {
    Entry::new::<P>(|part| Box::new(part))
}

/// Every initializer this crate offers, by the name a config uses.
pub fn builtin_initializers() -> Registry<dyn Initializer> {
    Registry::new(
        "initializer",
        [entry::<Normal>(), entry::<Pytorch>(), entry::<Xavier>(), entry::<Orthogonal>()],
    )
}

#[cfg(test)]
mod tests {
    use tensor_core::Tensor;
    use tensor_core::rng::{Stream, stream};

    use super::*;

    const GATES: &[&str] = &["i", "f"];

    fn layout() -> Layout {
        let tensor = |name, shape| Tensor { name, shape, gates: GATES, start: None };
        let mut layout = Layout::default();
        let gain = Tensor { start: Some(1.0), ..tensor("g_xh", Shape::Vector(10)) };
        layout.push(
            Some(0),
            [tensor("w_xh", Shape::Matrix(3, 10)), tensor("b_h", Shape::Vector(10)), gain],
        );
        layout.push(Some(0), [tensor("w_hh", Shape::Matrix(5, 10))]);
        layout.push(None, [("w_hy", Shape::Matrix(5, 7)), ("b_y", Shape::Vector(7))]);
        layout
    }

    fn initial(init: &dyn Initializer, forget_bias: f64) -> Vec<f64> {
        let layout = layout();
        let mut theta = vec![f64::NAN; layout.len()];
        let mut rng = stream(3, Stream::Init);
        init.init(&layout, 5, forget_bias, &mut rng, &mut theta).expect("nothing from elsewhere");
        theta
    }

    #[test]
    fn every_value_is_set_gains_start_at_one_and_the_forget_bias_is_added() {
        let all: [&dyn Initializer; 4] =
            [&Normal::default(), &Pytorch {}, &Xavier {}, &Orthogonal::default()];
        for init in all {
            let (plain, biased) = (initial(init, 0.0), initial(init, 2.0));
            assert!(plain.iter().all(|value| value.is_finite()));
            for segment in layout().segments() {
                for (offset, index) in segment.range.clone().enumerate() {
                    let is_forget = segment.tensor == "b_h" && 5 <= offset;
                    let added = if is_forget { 2.0 } else { 0.0 };
                    assert!((biased[index] - plain[index] - added).abs() < 1e-15);
                    if segment.tensor == "g_xh" {
                        assert_eq!(plain[index], 1.0);
                    }
                }
            }
        }
    }

    #[test]
    fn orthogonal_makes_every_gates_recurrent_block_orthogonal() {
        let theta = initial(&Orthogonal { gain: registry::range::Positive::new(1.5) }, 0.0);
        let segment = layout().segments()[3].clone();
        let w = &theta[segment.range];
        for gate in 0..2 {
            for (i, j) in (0..5).flat_map(|i| (0..5).map(move |j| (i, j))) {
                let dot: f64 =
                    (0..5).map(|k| w[i * 10 + gate * 5 + k] * w[j * 10 + gate * 5 + k]).sum();
                let expected = if i == j { 1.5 * 1.5 } else { 0.0 };
                assert!((dot - expected).abs() < 1e-14, "{i} {j}: {dot}");
            }
        }
    }

    /// Asserts mean and variance of what is drawn for `tensor`, `[40, 2·60]`, in a model of width 60.
    #[track_caller]
    fn check(init: &dyn Initializer, tensor: &'static str, variance: f64, bound: f64) {
        let mut layout = Layout::default();
        let shape = Shape::Matrix(40, 2 * 60);
        layout.push(Some(0), [Tensor { name: tensor, shape, gates: GATES, start: None }]);
        let mut theta = vec![0.0; layout.len()];
        init.init(&layout, 60, 0.0, &mut stream(3, Stream::Init), &mut theta).expect("drawn");
        let n = theta.len() as f64;
        let mean = theta.iter().sum::<f64>() / n;
        assert!(mean.abs() < 4.0 * (variance / n).sqrt(), "{mean}");
        // The square of a normal variable deviates by √2 of its variance, that of a uniform by 0.9.
        let found = theta.iter().map(|value| value * value).sum::<f64>() / n;
        assert!((found / variance - 1.0).abs() < 4.0 * (2.0 / n).sqrt(), "{found}");
        assert!(theta.iter().all(|value| value.abs() <= bound));
    }

    #[test]
    fn each_initializer_has_its_mean_and_its_variance() {
        let normal = Normal { std: registry::range::NonNegative::new(0.3) };
        check(&normal, "w_xh", 0.3 * 0.3, f64::INFINITY);
        check(&Pytorch {}, "w_xh", 1.0 / 60.0 / 3.0, (1.0_f64 / 60.0).sqrt());
        check(&Pytorch {}, "w_e", 1.0, f64::INFINITY);
        // By inputs and outputs of one gate.
        check(&Xavier {}, "w_xh", 2.0 / (40.0 + 60.0), (6.0_f64 / 100.0).sqrt());
    }
}
