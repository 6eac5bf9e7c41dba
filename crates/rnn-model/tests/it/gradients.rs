//! Every registered cell against finite differences and dual numbers. `cargo xtask gradcheck` checks
//! each cell at every shape; here each has a share of them, and together they have all.

use std::collections::BTreeMap;

use rnn_model::gradcheck::{Case, Finding, Gradient, Variant, cases, variants};
use rnn_model::{Model, builtin_cells};

/// How many cells share the shapes.
const SHARES: usize = 7;

#[test]
fn every_registered_cell_has_true_gradients_by_finite_differences() {
    check(|cell, case| case.check(|dims, options| cell.cell.f64(dims, options)));
}

#[test]
fn every_registered_cell_has_true_gradients_by_dual_numbers() {
    check(|cell, case| case.check_dual(&*cell.cell));
}

/// One shape of every cell, then the next: a wrong cell shows at its first.
#[track_caller]
fn check(findings: impl Fn(&Variant, &Case) -> Vec<Finding>) {
    let cells = variants(&builtin_cells());
    for shared in cases().chunks(SHARES) {
        for (index, cell) in cells.iter().enumerate() {
            let Some(case) = shared.get(index % SHARES) else { continue };
            let (model, findings) = (model(cell, case), findings(cell, case));
            let tensors = model.layout().segments().len() + model.states().len();
            assert_eq!(findings.len(), tensors, "{} at {case}", cell.name);
            for finding in findings {
                assert!(finding.passes(), "{} at {case}: {finding}", cell.name);
            }
        }
    }
}

/// Where a gradient is zero at every shape, one that was forgotten would pass as well.
#[test]
fn every_tensor_of_a_registered_cell_has_a_gradient_at_some_shape() {
    for cell in variants(&builtin_cells()) {
        let mut largest = BTreeMap::new();
        for case in cases().iter().step_by(SHARES) {
            let mut model = model(&cell, case);
            let point = case.point(&mut model);
            let gradient = Gradient::of(&mut model, &point);
            let parameters = model.layout().segments().iter();
            let parameters = parameters.map(|s| (s.name(), &gradient.theta[s.range.clone()]));
            let states = model.states().into_iter();
            let states = states.map(|(name, range)| (name, &gradient.state[range]));
            for (tensor, values) in parameters.chain(states) {
                let largest = largest.entry(tensor).or_insert(0.0_f64);
                *largest = values.iter().fold(*largest, |max, value| max.max(value.abs()));
            }
        }
        for (tensor, largest) in largest {
            assert!(0.0 < largest, "{}: {tensor}", cell.name);
        }
    }
}

/// Of a weight that is left out, and of all weights that read an output which is, the gradient is
/// zero. Of a cell without kinks, and with a state from the start, no other is.
#[test]
fn masks_leave_something_out_and_not_everything() {
    let smooth = ["vanilla", "lstm", "gru", "mgu", "mlstm"];
    let drops_weights = |case: &Case| case.carried && case.options.drop_connect != 0.0;
    // One mask for all rows of the window.
    let drops_outputs = |case: &Case| case.architecture.variational && case.batch_size == 1;
    for cell in variants(&builtin_cells()) {
        if !smooth.contains(&&*cell.name) {
            continue;
        }
        let weights = cases().into_iter().filter(drops_weights);
        let weights = weights.filter(|case| leaves_out_some(&cell, case, "w_hh", 1)).count();
        let outputs = cases().into_iter().filter(drops_outputs);
        let is_left_out =
            |case: &Case| leaves_out_some(&cell, case, "w_hy", case.architecture.vocab_size);
        let outputs = outputs.filter(is_left_out).count();
        assert!(20 <= weights && 10 <= outputs, "{}: {weights}, {outputs}", cell.name);
    }
}

/// Whether some stretches of a tensor's gradient are zero, each `width` wide, and others are not.
fn leaves_out_some(cell: &Variant, case: &Case, tensor: &str, width: usize) -> bool {
    let mut model = model(cell, case);
    let point = case.point(&mut model);
    let gradient = Gradient::of(&mut model, &point);
    let mut segments = model.layout().segments().iter();
    let Some(segment) = segments.find(|segment| segment.tensor == tensor) else { return false };
    let stretches = gradient.theta[segment.range.clone()].chunks(width);
    let zeros: Vec<_> = stretches.map(|values| values.iter().all(|v| *v == 0.0)).collect();
    zeros.contains(&true) && zeros.contains(&false)
}

fn model(cell: &Variant, case: &Case) -> Model<f64> {
    case.model(|dims, options| cell.cell.f64(dims, options))
}
