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

/// The order in which PyTorch has the gates of an LSTM; ours has the sigmoid gates side by side. All
/// other cells have one order.
const TORCH_LSTM: [&str; 4] = ["i", "f", "g", "o"];

/// The tensors of `theta`, or of its gradient, as PyTorch names them.
///
/// # Panics
/// If `theta` is not as long as `layout`.
#[track_caller]
pub fn export<T: Real>(layout: &Layout, theta: &[T]) -> Vec<Tensor<T>> {
    assert_eq!(theta.len(), layout.len(), "number of parameters");
    let mut tensors = Vec::new();
    for segment in layout.segments().iter().filter(|segment| segment.tensor != "b_hh") {
        let values = to_torch(segment, &theta[segment.range.clone()]);
        tensors.push(Tensor { name: name(segment), shape: torch_shape(segment), values });
        if segment.tensor == "b_h" {
            let mut values = vec![T::ZERO; segment.shape.len()];
            if let Some((second, gate)) = second_bias(layout, segment) {
                let width = second.shape.len();
                let start = torch_place(segment, gate) * width;
                values[start..][..width].copy_from_slice(&theta[second.range.clone()]);
            }
            let name = name(segment).replace("bias_ih", "bias_hh");
            tensors.push(Tensor { name, shape: torch_shape(segment), values });
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
    for segment in layout.segments().iter().filter(|segment| segment.tensor != "b_hh") {
        let (name, shape) = (name(segment), torch_shape(segment));
        let tensor = checked(find(&name), &name, &shape)?;
        from_torch(segment, &tensor.values, &mut theta[segment.range.clone()]);
        if segment.tensor != "b_h" {
            continue;
        }

        let name = name.replace("bias_ih", "bias_hh");
        let mut bias = match find(&name) {
            None => vec![T::ZERO; segment.shape.len()],
            tensor => checked(tensor, &name, &shape)?.values,
        };
        if let Some((second, gate)) = second_bias(layout, segment) {
            let width = second.shape.len();
            let block = &mut bias[torch_place(segment, gate) * width..][..width];
            theta[second.range.clone()].copy_from_slice(block);
            block.fill(T::ZERO);
        }
        let mut sorted = vec![T::ZERO; bias.len()];
        from_torch(segment, &bias, &mut sorted);
        for (value, second) in theta[segment.range.clone()].iter_mut().zip(sorted) {
            // Adding zero would turn -0.0 into 0.0, and what was written must come back.
            if second != T::ZERO {
                *value += second;
            }
        }
    }
    Ok(())
}

/// PyTorch's name of a segment; what PyTorch does not have is named in its manner.
fn name(segment: &Segment) -> String {
    let layer = segment.layer.unwrap_or_default();
    match segment.tensor {
        "w_xh" => format!("rnn.weight_ih_l{layer}"),
        "w_hh" => format!("rnn.weight_hh_l{layer}"),
        "b_h" => format!("rnn.bias_ih_l{layer}"),
        "w_hy" => "head.weight".into(),
        "b_y" => "head.bias".into(),
        "w_e" => "embedding.weight".into(),
        other => format!("rnn.{other}_l{layer}"),
    }
}

/// The bias within `bias_hh` that does not merely add to the first, and the gate it belongs to: that
/// of a GRU's candidate, which the reset gate scales.
fn second_bias<'a>(layout: &'a Layout, first: &Segment) -> Option<(&'a Segment, &'static str)> {
    let is_it = |segment: &&Segment| segment.tensor == "b_hh" && segment.layer == first.layer;
    let second = layout.segments().iter().find(is_it)?;
    Some((second, second.gates.first()?))
}

/// Which gate, in PyTorch's order, `gate` is.
fn torch_place(segment: &Segment, gate: &str) -> usize {
    let is_lstm =
        segment.gates.len() == 4 && TORCH_LSTM.iter().all(|gate| segment.gates.contains(gate));
    let order = if is_lstm { &TORCH_LSTM[..] } else { segment.gates };
    order.iter().position(|name| *name == gate).expect("one of the segment's gates")
}

fn torch_shape(segment: &Segment) -> Vec<usize> {
    match segment.shape {
        Shape::Vector(len) => vec![len],
        // `nn.Embedding` has a row for each character, as we do.
        Shape::Matrix(rows, cols) if segment.tensor == "w_e" => vec![rows, cols],
        Shape::Matrix(rows, cols) => vec![cols, rows],
    }
}

/// For each value of PyTorch's tensor, in order, where it stands in ours.
fn places(segment: &Segment) -> impl Iterator<Item = usize> {
    let (rows, cols) = match segment.shape {
        Shape::Matrix(rows, cols) if segment.tensor == "w_e" => (1, rows * cols),
        Shape::Matrix(rows, cols) => (rows, cols),
        Shape::Vector(len) => (1, len),
    };
    // For each of PyTorch's gates, which of ours it is.
    let mut gates = vec![0; segment.gates.len().max(1)];
    for (ours, gate) in segment.gates.iter().enumerate() {
        gates[torch_place(segment, gate)] = ours;
    }
    let width = cols / gates.len();
    (0..cols).flat_map(move |col| {
        let col = gates[col / width] * width + col % width;
        (0..rows).map(move |row| row * cols + col)
    })
}

fn to_torch<T: Real>(segment: &Segment, values: &[T]) -> Vec<T> {
    places(segment).map(|place| values[place]).collect()
}

fn from_torch<T: Real>(segment: &Segment, torch: &[T], values: &mut [T]) {
    for (place, value) in places(segment).zip(torch) {
        values[place] = *value;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Architecture, BuildLayer, Dims, LayerOptions, Model, cell::Vanilla};

    fn model() -> Model<f64> {
        let dims = Dims { input_size: 4, hidden_size: 3, batch_size: 1, seq_len: 2 };
        let layers = vec![
            BuildLayer::f64(&Vanilla::default(), dims, LayerOptions::default()),
            BuildLayer::f64(
                &Vanilla::default(),
                Dims { input_size: 3, ..dims },
                LayerOptions::default(),
            ),
        ];
        Model::new(Architecture { vocab_size: 4, ..Architecture::default() }, layers)
    }

    #[test]
    fn what_is_exported_comes_back_to_the_bit() {
        let layout = model().layout().clone();
        let theta: Vec<f64> =
            (0..layout.len()).map(|i| (i as f64).sin() * -0.0_f64.max(1.0)).collect();
        let mut theta = theta;
        theta[7] = -0.0;
        let bias = layout.segments()[1].range.start;
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
            ("rnn.bias_ih_l0", &[3]),
            ("rnn.bias_hh_l0", &[3]),
            ("rnn.weight_hh_l0", &[3, 3]),
            ("rnn.weight_ih_l1", &[3, 3]),
            ("rnn.bias_ih_l1", &[3]),
            ("rnn.bias_hh_l1", &[3]),
            ("rnn.weight_hh_l1", &[3, 3]),
            ("head.weight", &[4, 3]),
            ("head.bias", &[4]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_embedding_is_no_transpose_in_pytorch() {
        let mut layout = Layout::default();
        layout.push(None, [("w_e", Shape::Matrix(4, 3))]);
        let theta: Vec<f64> = (0..12).map(f64::from).collect();
        let name = "embedding.weight".to_owned();
        let expected = [Tensor { name, shape: vec![4, 3], values: theta.clone() }];
        assert_eq!(export(&layout, &theta), expected);
    }

    #[test]
    fn four_gates_that_are_not_those_of_an_lstm_keep_their_order() {
        let gates = &["i", "f", "o", "x"];
        let tensor =
            tensor_core::Tensor { name: "b_h", shape: Shape::Vector(4), gates, start: None };
        let mut layout = Layout::default();
        layout.push(Some(0), [tensor]);
        assert_eq!(export(&layout, &[1.0, 2.0, 3.0, 4.0])[0].values, [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn biases_add_up_and_a_missing_or_misshapen_tensor_is_named() {
        let layout = model().layout().clone();
        let mut tensors = export(&layout, &vec![0.25; layout.len()]);
        tensors[2].values.fill(0.5);
        let mut theta = vec![0.0; layout.len()];
        let import = |tensors: &[Tensor<f64>], theta: &mut [f64]| {
            let find = |name: &str| tensors.iter().find(|tensor| tensor.name == name).cloned();
            import(&layout, theta, find).map_err(|error| error.message)
        };
        assert_eq!(import(&tensors, &mut theta), Ok(()));
        assert_eq!(theta[layout.segments()[1].range.clone()], [0.75; 3]);

        tensors[0].shape = vec![4, 3];
        let expected = "`rnn.weight_ih_l0` is [4, 3], the model needs [3, 4]";
        assert_eq!(import(&tensors, &mut theta), Err(expected.into()));
        let expected = "there is no tensor `rnn.weight_ih_l0`";
        assert_eq!(import(&tensors[1..], &mut theta), Err(expected.into()));
    }
}
