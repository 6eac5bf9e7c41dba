//! The one place that knows which number types a run can compute in.

use data_io::Values;
use optim::{BuildOptimizer, BuildTransform, Optimizer, Transform};
use rnn_model::{BuildLayer, Dims, Layer, LayerOptions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor_core::{Layout, Real};

/// `model.dtype`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DtypeName {
    /// Single precision.
    #[default]
    F32,
    /// Double precision.
    F64,
}

impl DtypeName {
    /// Bytes of a number.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

impl std::fmt::Display for DtypeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}

/// A number type that a config can ask for: it picks the constructors of that type.
pub trait Dtype: Real + bytemuck::Pod {
    /// A layer that computes in this type.
    fn layer(part: &dyn BuildLayer, dims: Dims, options: LayerOptions) -> Box<dyn Layer<Self>>;
    /// An optimizer of such parameters.
    fn optimizer(part: &dyn BuildOptimizer, layout: &Layout) -> Box<dyn Optimizer<Self>>;
    /// A transform of such gradients.
    fn transform(part: &dyn BuildTransform, layout: &Layout, seed: u64)
    -> Box<dyn Transform<Self>>;
    /// Values as they are stored.
    fn values(values: Vec<Self>) -> Values;
    /// Stored values in this type; beyond its range they are infinite.
    fn from_values(values: Values) -> Vec<Self>;
    /// Stored values of this type, `None` for those of another.
    fn stored(values: &Values) -> Option<&[Self]>;
}

macro_rules! dtype {
    ($float:ident, $stored:ident) => {
        impl Dtype for $float {
            fn layer(
                part: &dyn BuildLayer,
                dims: Dims,
                options: LayerOptions,
            ) -> Box<dyn Layer<Self>> {
                part.$float(dims, options)
            }
            fn optimizer(part: &dyn BuildOptimizer, layout: &Layout) -> Box<dyn Optimizer<Self>> {
                part.$float(layout)
            }
            fn transform(
                part: &dyn BuildTransform,
                layout: &Layout,
                seed: u64,
            ) -> Box<dyn Transform<Self>> {
                part.$float(layout, seed)
            }
            fn values(values: Vec<Self>) -> Values {
                Values::$stored(values)
            }
            fn from_values(values: Values) -> Vec<Self> {
                match values {
                    Values::$stored(values) => values,
                    other => other.to_f64().into_iter().map(Self::from_f64).collect(),
                }
            }
            fn stored(values: &Values) -> Option<&[Self]> {
                match values {
                    Values::$stored(values) => Some(values),
                    _ => None,
                }
            }
        }
    };
}

dtype!(f32, F32);
dtype!(f64, F64);
