//! What a kernel is asked to do, in numbers.

use super::shape::require;
use crate::error::{Error, Result};

/// An elementwise function of one tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// −x
    Neg,
    /// |x|; gradient 0 at 0
    Abs,
    /// 1/x
    Reciprocal,
    /// √x
    Sqrt,
    /// eˣ
    Exp,
    /// ln x
    Log,
    /// erf x
    Erf,
    /// tanh x
    Tanh,
    /// 1/(1 + e⁻ˣ)
    Sigmoid,
    /// max(x, 0); gradient 0 at 0
    Relu,
    /// x where x ≥ 0, else αx
    LeakyRelu {
        /// Slope below 0.
        alpha: f64,
    },
    /// x where x > 0, else α(eˣ − 1)
    Elu {
        /// Scale below 0.
        alpha: f64,
    },
    /// x·Φ(x), or its tanh approximation
    Gelu {
        /// Whether Φ is approximated through tanh.
        tanh: bool,
    },
    /// x·max(0, min(1, αx + β)) with α = 1/6, β = 1/2
    HardSwish,
    /// max(0, min(1, αx + β))
    HardSigmoid {
        /// Slope.
        alpha: f64,
        /// Offset.
        beta: f64,
    },
    /// min(max(x, min), max); gradient 1 inside the bounds, 0 at them and outside
    Clip {
        /// Lower bound.
        min: f64,
        /// Upper bound.
        max: f64,
    },
    /// ln(1 + eˣ)
    Softplus,
    /// x/(1 + |x|)
    Softsign,
    /// sin x
    Sin,
    /// cos x
    Cos,
    /// tan x
    Tan,
    /// arccos x
    Acos,
    /// arcsin x
    Asin,
    /// arctan x
    Atan,
    /// cosh x
    Cosh,
    /// sinh x
    Sinh,
    /// arcosh x
    Acosh,
    /// arsinh x
    Asinh,
    /// artanh x
    Atanh,
    /// x + c
    AddScalar(f64),
    /// x·c
    MulScalar(f64),
    /// xᶜ
    PowScalar(f64),
    /// The nearest integer toward −∞ (`Floor`), +∞, or even: gradient 0
    Floor,
    /// Toward +∞
    Ceil,
    /// To nearest, halves to even
    Round,
    /// −1, 0, 1
    Sign,
}

/// An elementwise function of two tensors that broadcast against each other as in NumPy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// a + b
    Add,
    /// a − b
    Sub,
    /// a·b
    Mul,
    /// a/b
    Div,
    /// aᵇ
    Pow,
    /// max(a, b); where equal, each side gets half of the gradient
    Max,
    /// min(a, b); where equal, each side gets half of the gradient
    Min,
    /// slope·a below 0, else a, with b the slope (`PRelu`)
    PRelu,
}

/// A reduction over axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    /// Σ
    Sum,
    /// Mean
    Mean,
    /// Largest; the gradient is shared equally among equal largest elements
    Max,
    /// Smallest; likewise
    Min,
    /// Π
    Prod,
}

/// A convolution over any number of spatial axes, in NC… layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvSpec {
    /// Step of the window, per spatial axis.
    pub strides: Vec<usize>,
    /// Distance between kernel elements, per spatial axis.
    pub dilations: Vec<usize>,
    /// Zeros before and after, per spatial axis.
    pub pads: Vec<[usize; 2]>,
    /// Groups of channels that do not mix.
    pub groups: usize,
}

/// A step of AdamW (arXiv 1711.05101).
#[derive(Clone, Debug, PartialEq)]
pub struct AdamStep {
    /// Counted from 1.
    pub number: i32,
    /// Learning rate.
    pub rate: f64,
    /// Decay of the two moments.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub decay: f64,
}

impl ConvSpec {
    /// Output extents for spatial extents `input` and a window of `kernel`.
    ///
    /// # Errors
    /// If the ranks differ, a step is 0, or the window is larger than the padded input.
    pub fn output(&self, input: &[usize], kernel: &[usize]) -> Result<Vec<usize>> {
        let n = input.len();
        let ranks = [kernel.len(), self.strides.len(), self.dilations.len(), self.pads.len()];
        require(ranks == [n; 4], || format!("convolution of ranks {ranks:?} over {n} spatial axes"))?;
        let axes = input.iter().zip(kernel).zip(self.strides.iter().zip(&self.dilations).zip(&self.pads));
        axes.map(|((&d, &k), ((&stride, &dilation), &[before, after]))| {
            let padded = d.checked_add(before).and_then(|n| n.checked_add(after));
            let extent = dilation.checked_mul(k.saturating_sub(1)).and_then(|n| n.checked_add(1));
            let room = padded.zip(extent).and_then(|(padded, extent)| padded.checked_sub(extent));
            let steps = room.filter(|_| k > 0).and_then(|room| room.checked_div(stride));
            steps.map(|s| s + 1).ok_or_else(|| Error::Internal(format!("window {kernel:?} over {input:?} by {self:?}")))
        })
        .collect()
    }
}

/// A pooling window over spatial axes, in NC… layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// Extent of the window, per spatial axis.
    pub kernel: Vec<usize>,
    /// Step of the window, per spatial axis.
    pub strides: Vec<usize>,
    /// Distance between window elements, per spatial axis.
    pub dilations: Vec<usize>,
    /// Padding before and after, per spatial axis, as declared (`ceil_mode` may let windows overhang further).
    pub pads: Vec<[usize; 2]>,
    /// Output extent, per spatial axis.
    pub output: Vec<usize>,
    /// Average pooling: whether padding counts in the divisor.
    pub count_include_pad: bool,
}

/// Values beyond the edge of a padded tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// A constant.
    Constant(f64),
    /// The nearest element.
    Edge,
    /// Mirrored, without repeating the edge.
    Reflect,
    /// Wrapped around.
    Wrap,
}
