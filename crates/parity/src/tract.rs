//! tract: the second, independent runtime, in pure Rust.

use super::{Runner, compare::Outputs};
use crate::{
    each, quiet,
    tensor::{Element, HostTensor},
};
use half::{bf16, f16};
use ndarray::ArrayD;
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tract_onnx::{
    prelude::*,
    tract_core::internal::{TractErrorContext, bail},
};

/// The version of tract that this program is built with (a test holds it to `Cargo.lock`).
const VERSION: &str = "0.23.9";

/// Name, element type and shape of each input: what a plan is made for.
type Shapes = Vec<(String, DatumType, Vec<usize>)>;
type Plan = Arc<TypedRunnableModel>;

/// A model in tract. A plan is made for each set of input shapes that comes, since tract optimizes for fixed ones.
pub struct TractRunner {
    model: InferenceModel,
    outputs: Vec<String>,
    plans: Mutex<HashMap<Shapes, Plan>>,
}

impl TractRunner {
    /// Nodes and stored tensors of a graph that tract is given unasked: the time that it takes to optimize a graph grows with
    /// their square, and is about 20 s for so many.
    pub const MOST: usize = 3000;
    /// Bytes of stored tensors likewise: it holds several copies of them.
    pub const MOST_BYTES: usize = 256 << 20;

    /// Reads the model at `path`, whose graph's outputs are `outputs`, and prepares it for inputs like `example`.
    ///
    /// # Errors
    /// A sentence: what tract says against the model.
    pub fn open(path: &Path, outputs: Vec<String>, example: &BTreeMap<String, HostTensor>) -> Result<Self, String> {
        // tract looks for external data in the folder of the path, and takes no empty one.
        let path = if path.is_absolute() { path.to_path_buf() } else { PathBuf::from(".").join(path) };
        let read = || {
            // Declared intermediate shapes may hold symbols that the inputs' real shapes contradict.
            let onnx = tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_types(true);
            onnx.model_for_path(&path).map_err(|e| format!("{e:#}"))
        };
        let model = quiet::catch(read).and_then(|r| r)?;
        let runner = Self { model, outputs, plans: Mutex::default() };
        runner.plan(&shapes(example)?)?;
        Ok(runner)
    }

    fn plan(&self, shapes: &Shapes) -> Result<Plan, String> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(shapes) {
            return Ok(plan.clone());
        }
        let make = || -> TractResult<Plan> {
            let mut model = self.model.clone();
            for (at, name) in self.inputs()?.iter().enumerate() {
                let fact =
                    shapes.iter().find(|(n, ..)| n == name).map(|(_, ty, dims)| InferenceFact::dt_shape(*ty, dims));
                model.set_input_fact(at, fact.with_context(|| format!("no value for input {name}"))?)?;
            }
            model.into_optimized()?.into_runnable()
        };
        let plan = quiet::catch(make).and_then(|r| r.map_err(|e| format!("{e:#}")))?;
        plans.insert(shapes.clone(), plan.clone());
        Ok(plan)
    }

    /// Names of the inputs, in the order that a plan takes them.
    fn inputs(&self) -> TractResult<Vec<String>> {
        self.model.input_outlets()?.iter().map(|o| Ok(self.model.node(o.node).name.clone())).collect()
    }
}

impl Runner for TractRunner {
    fn name(&self) -> &'static str {
        "tract"
    }

    fn version(&self) -> String {
        VERSION.into()
    }

    fn run(&self, inputs: &BTreeMap<String, HostTensor>) -> Result<Outputs, String> {
        let plan = self.plan(&shapes(inputs)?)?;
        let run = || -> TractResult<Outputs> {
            let mut fed = TVec::new();
            for name in self.inputs()? {
                let tensor = inputs.get(&name).with_context(|| format!("no value for input {name}"))?;
                fed.push(each!(tensor, a => Feed::tensor(a))?.into_tvalue());
            }
            let outputs = plan.run(fed)?;
            self.outputs.iter().zip(outputs).map(|(name, t)| Ok((name.clone(), fetch(&t)?))).collect()
        };
        quiet::catch(run).and_then(|r| r.map_err(|e| format!("{e:#}")))
    }
}

fn shapes(inputs: &BTreeMap<String, HostTensor>) -> Result<Shapes, String> {
    let one = |(name, tensor): (&String, &HostTensor)| {
        let ty = each!(tensor, a => Feed::datum_type(a)).ok_or("tract has no bf16 tensors")?;
        Ok((name.clone(), ty, tensor.dims().to_vec()))
    };
    inputs.iter().map(one).collect()
}

/// What tract takes; everything but bf16.
trait Feed {
    fn datum_type(&self) -> Option<DatumType>;
    fn tensor(&self) -> TractResult<Tensor>;
}

macro_rules! feed {
    ($($ty:ty)*) => {$(
        impl Feed for ArrayD<$ty> {
            fn datum_type(&self) -> Option<DatumType> {
                Some(<$ty>::datum_type())
            }
            fn tensor(&self) -> TractResult<Tensor> {
                let values: Vec<$ty> = self.iter().copied().collect();
                Tensor::from_shape(self.shape(), &values)
            }
        }
    )*};
}
feed!(f16 f32 f64 i8 i16 i32 i64 u8 u16 u32 u64 bool);

impl Feed for ArrayD<bf16> {
    fn datum_type(&self) -> Option<DatumType> {
        None
    }
    fn tensor(&self) -> TractResult<Tensor> {
        bail!("tract has no bf16 tensors")
    }
}

fn fetch(tensor: &Tensor) -> TractResult<HostTensor> {
    // Shapes and what is computed from them are symbolic integers in tract.
    let tensor = match tensor.datum_type() {
        DatumType::TDim => tensor.cast_to::<i64>()?,
        _ => std::borrow::Cow::Borrowed(tensor),
    };
    fn take<T: Datum + Element>(tensor: &Tensor) -> TractResult<HostTensor> {
        let values = tensor.to_plain_array_view::<T>()?.iter().copied().collect();
        HostTensor::new::<T>(tensor.shape(), values).context("shape and number of elements differ")
    }
    match tensor.datum_type() {
        DatumType::F16 => take::<f16>(&tensor),
        DatumType::F32 => take::<f32>(&tensor),
        DatumType::F64 => take::<f64>(&tensor),
        DatumType::I8 => take::<i8>(&tensor),
        DatumType::I16 => take::<i16>(&tensor),
        DatumType::I32 => take::<i32>(&tensor),
        DatumType::I64 => take::<i64>(&tensor),
        DatumType::U8 => take::<u8>(&tensor),
        DatumType::U16 => take::<u16>(&tensor),
        DatumType::U32 => take::<u32>(&tensor),
        DatumType::U64 => take::<u64>(&tensor),
        DatumType::Bool => take::<bool>(&tensor),
        other => bail!("output of type {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_is_the_one_in_the_lock_file() {
        let lock = include_str!("../../../Cargo.lock");
        assert!(lock.contains(&format!("name = \"tract-onnx\"\nversion = \"{}\"", super::VERSION)));
    }
}
