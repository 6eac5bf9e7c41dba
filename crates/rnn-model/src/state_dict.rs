//! The names and layouts of PyTorch: a state dict of `nn.RNN` called `rnn` and `nn.Linear` called
//! `head`.
//!
//! A weight is transposed there, `[outputs, inputs]`. Each recurrent layer has two biases, of which
//! only the sum matters; written, `bias_ih` holds ours and `bias_hh` is zero; read, they are added,
//! and a missing `bias_hh` counts as zero.

use tensor_core::{Layout, Real, Segment, Shape};

use crate::InitError;

/// A tensor as PyTorch names and lays it out.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<T> {
    /// `rnn.weight_ih_l0`, `head.bias`, …
    pub name: String,
    /// `[rows, cols]` or `[len]`.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<T>,
}

/// The tensors of `theta`, or of its gradient, as PyTorch names them.
///
/// # Panics
/// If `theta` is not as long as `layout`.
#[track_caller]
pub fn export<T: Real>(layout: &Layout, theta: &[T]) -> Vec<Tensor<T>> {
    assert_eq!(theta.len(), layout.len(), "number of parameters");
    let mut tensors = Vec::new();
    for segment in layout.segments() {
        let values = &theta[segment.range.clone()];
        let (name, second_bias) = names(segment);
        tensors.push(match segment.shape {
            Shape::Vector(len) => Tensor { name, shape: vec![len], values: values.to_vec() },
            Shape::Matrix(rows, cols) => {
                Tensor { name, shape: vec![cols, rows], values: transposed(values, rows, cols) }
            }
        });
        if let Some(name) = second_bias {
            let len = segment.shape.len();
            tensors.push(Tensor { name, shape: vec![len], values: vec![T::ZERO; len] });
        }
    }
    tensors
}

/// Overwrites `theta` with the tensors that `find` returns by name.
///
/// # Errors
/// If a tensor is missing or has another shape.
pub fn import<T: Real>(
    layout: &Layout,
    theta: &mut [T],
    mut find: impl FnMut(&str) -> Option<Tensor<T>>,
) -> Result<(), InitError> {
    for segment in layout.segments() {
        let (name, second_bias) = names(segment);
        let shape = match segment.shape {
            Shape::Vector(len) => vec![len],
            Shape::Matrix(rows, cols) => vec![cols, rows],
        };
        let tensor = checked(find(&name), &name, &shape)?;
        let values = &mut theta[segment.range.clone()];
        match segment.shape {
            Shape::Vector(_) => values.copy_from_slice(&tensor.values),
            Shape::Matrix(rows, cols) => {
                values.copy_from_slice(&transposed(&tensor.values, cols, rows));
            }
        }
        if let Some(name) = second_bias
            && let Some(tensor) = find(&name)
        {
            let tensor = checked(Some(tensor), &name, &shape)?;
            for (value, second) in values.iter_mut().zip(tensor.values) {
                // Adding zero would turn -0.0 into 0.0, and what was written must come back.
                if second != T::ZERO {
                    *value += second;
                }
            }
        }
    }
    Ok(())
}

/// PyTorch's name of a segment, and that of the second bias it has besides.
fn names(segment: &Segment) -> (String, Option<String>) {
    let layer = segment.layer.unwrap_or_default();
    match segment.tensor {
        "w_xh" => (format!("rnn.weight_ih_l{layer}"), None),
        "w_hh" => (format!("rnn.weight_hh_l{layer}"), None),
        "b_h" => (format!("rnn.bias_ih_l{layer}"), Some(format!("rnn.bias_hh_l{layer}"))),
        "w_hy" => ("head.weight".into(), None),
        "b_y" => ("head.bias".into(), None),
        // A tensor that PyTorch does not have.
        other => (format!("rnn.{other}_l{layer}"), None),
    }
}

fn checked<T>(
    tensor: Option<Tensor<T>>,
    name: &str,
    shape: &[usize],
) -> Result<Tensor<T>, InitError> {
    let error = |message| InitError {
        place: name.to_owned(),
        message,
        help: "the file must hold a model of the same cell, layers, hidden_size and vocabulary"
            .into(),
    };
    match tensor {
        None => Err(error(format!("there is no tensor `{name}`"))),
        Some(tensor) if tensor.shape != shape => {
            Err(error(format!("`{name}` is {:?}, the model needs {shape:?}", tensor.shape)))
        }
        Some(tensor) => Ok(tensor),
    }
}

/// The transpose of a row-major `[rows, cols]`.
fn transposed<T: Real>(values: &[T], rows: usize, cols: usize) -> Vec<T> {
    (0..cols).flat_map(|col| (0..rows).map(move |row| values[row * cols + col])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BuildLayer, Dims, Model, cell::Vanilla};

    fn model() -> Model<f64> {
        let dims = Dims { input_size: 4, hidden_size: 3, batch_size: 1, seq_len: 2 };
        let layers = vec![
            BuildLayer::f64(&Vanilla {}, dims),
            BuildLayer::f64(&Vanilla {}, Dims { input_size: 3, ..dims }),
        ];
        Model::new(4, layers)
    }

    #[test]
    fn what_is_exported_comes_back_to_the_bit() {
        let layout = model().layout().clone();
        let theta: Vec<f64> =
            (0..layout.len()).map(|i| (i as f64).sin() * -0.0_f64.max(1.0)).collect();
        let mut theta = theta;
        theta[7] = -0.0;
        let bias = layout.segments()[2].range.start;
        theta[bias] = -0.0;
        let tensors = export(&layout, &theta);
        let mut back = vec![1.0; theta.len()];
        let find = |name: &str| tensors.iter().find(|tensor| tensor.name == name).cloned();
        import(&layout, &mut back, find).expect("all there");
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(&theta));
    }

    #[test]
    fn names_and_shapes_are_those_of_pytorch() {
        let layout = model().layout().clone();
        let tensors = export(&layout, &vec![0.0; layout.len()]);
        let found: Vec<_> = tensors.iter().map(|t| (t.name.as_str(), t.shape.as_slice())).collect();
        // torch.nn.RNN(4, 3, num_layers=2).state_dict() and torch.nn.Linear(3, 4).state_dict()
        let expected: [(&str, &[usize]); 10] = [
            ("rnn.weight_ih_l0", &[3, 4]),
            ("rnn.weight_hh_l0", &[3, 3]),
            ("rnn.bias_ih_l0", &[3]),
            ("rnn.bias_hh_l0", &[3]),
            ("rnn.weight_ih_l1", &[3, 3]),
            ("rnn.weight_hh_l1", &[3, 3]),
            ("rnn.bias_ih_l1", &[3]),
            ("rnn.bias_hh_l1", &[3]),
            ("head.weight", &[4, 3]),
            ("head.bias", &[4]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn biases_add_up_and_a_missing_or_misshapen_tensor_is_named() {
        let layout = model().layout().clone();
        let mut tensors = export(&layout, &vec![0.25; layout.len()]);
        tensors[3].values.fill(0.5);
        let mut theta = vec![0.0; layout.len()];
        let import = |tensors: &[Tensor<f64>], theta: &mut [f64]| {
            let find = |name: &str| tensors.iter().find(|tensor| tensor.name == name).cloned();
            import(&layout, theta, find).map_err(|error| error.message)
        };
        assert_eq!(import(&tensors, &mut theta), Ok(()));
        assert_eq!(theta[layout.segments()[2].range.clone()], [0.75; 3]);

        tensors[0].shape = vec![4, 3];
        let expected = "`rnn.weight_ih_l0` is [4, 3], the model needs [3, 4]";
        assert_eq!(import(&tensors, &mut theta), Err(expected.into()));
        let expected = "there is no tensor `rnn.weight_ih_l0`";
        assert_eq!(import(&tensors[1..], &mut theta), Err(expected.into()));
    }
}
