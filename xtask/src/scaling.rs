//! `cargo xtask scaling`: what a step of training takes on so many ranks, from what was measured on one.
//!
//! A model, and no measurement: docs/scaling.md has its formula, and how far it is from two ranks that were
//! measured.

use std::io::{self, Write};

use crate::table;

/// Arguments of `cargo xtask scaling`. The defaults are a cluster with 100 Gbit/s between machines.
#[derive(clap::Args)]
pub struct Args {
    /// Microseconds that a message costs a rank
    #[arg(long, value_name = "US", default_value = "0.5")]
    message_us: f64,
    /// Microseconds until a message is there
    #[arg(long, value_name = "US", default_value = "2")]
    latency_us: f64,
    /// Gigabytes a second that a rank sends while it receives as much
    #[arg(long, value_name = "GB/S", default_value = "12")]
    network: f64,
    /// Gigabytes a second at which a rank takes what came and adds it up
    #[arg(long, value_name = "GB/S", default_value = "2.8")]
    memory: f64,
    /// Lanes of the whole batch
    #[arg(long, value_name = "N", default_value = "1024")]
    lanes: u64,
    /// A model of your own: milliseconds of a step with no lane, milliseconds for each lane, parameters
    #[arg(long, value_name = "MS,MS,N", value_delimiter = ',', num_args = 3)]
    model: Option<Vec<f64>>,
}

/// What a model costs one rank, a core.
struct Model {
    title: String,
    /// Milliseconds of a step that do not grow with the lanes: weights are read once for all.
    step_ms: f64,
    /// Milliseconds for each lane.
    lane_ms: f64,
    /// Number of parameters.
    parameters: f64,
}

/// Measured on a core with AVX-512, windows of 64 characters.
fn measured() -> Vec<Model> {
    let model = |title: &str, step_ms, lane_ms, parameters| Model {
        title: title.into(),
        step_ms,
        lane_ms,
        parameters,
    };
    vec![
        model("LSTM 1x128", 0.3, 0.31, 128e3),
        model("LSTM 2x512", 50.0, 10.1, 3.4e6),
        model("LSTM 2x2048", 720.0, 218.0, 51.4e6),
    ]
}

/// Prints a row for each model and number of ranks.
///
/// # Errors
/// If it cannot be written.
pub fn run(args: Args) -> crate::Result {
    let own = args.model.as_ref().map(|numbers| {
        let title = "your model".into();
        vec![Model { title, step_ms: numbers[0], lane_ms: numbers[1], parameters: numbers[2] }]
    });
    let mut rows = Vec::new();
    for model in own.unwrap_or_else(measured) {
        let one = args.step_ms(&model, 1);
        let ranks = (0..=5).map(|power| 4_u64.pow(power)).take_while(|ranks| *ranks <= args.lanes);
        rows.extend(ranks.map(|ranks| {
            let (whole, sum) = (args.step_ms(&model, ranks), args.sum_ms(&model, ranks));
            let speedup = one / whole;
            [
                model.title.clone(),
                ranks.to_string(),
                (args.lanes / ranks).to_string(),
                format!("{whole:.1}"),
                format!("{sum:.1}"),
                format!("{speedup:.1}"),
                format!("{:.0} %", 100.0 * speedup / ranks as f64),
            ]
        }));
    }
    let heading =
        ["model", "ranks", "lanes each", "ms a step", "of it sum", "speedup", "efficiency"];
    write!(io::stdout(), "{}", table::markdown(heading, &rows))?;
    Ok(())
}

impl Args {
    fn step_ms(&self, model: &Model, ranks: u64) -> f64 {
        let lanes = self.lanes as f64 / ranks as f64;
        model.step_ms + model.lane_ms * lanes + self.sum_ms(model, ranks)
    }

    /// Each rank sends every other its slice of the gradient, adds up what came, and sends every other the
    /// sum; the losses and whether to stop are two more rounds of small messages.
    fn sum_ms(&self, model: &Model, ranks: u64) -> f64 {
        if ranks == 1 {
            return 0.0;
        }
        let others = (ranks - 1) as f64;
        let bytes = 2.0 * 4.0 * model.parameters * others / ranks as f64;
        let messages = 4.0 * (others * self.message_us + self.latency_us) * 1e-6;
        1e3 * (messages + bytes / (1e9 * self.network) + bytes / (1e9 * self.memory))
    }
}
