//! Numerics: each kernel has a definition composed of dfdx operations ([`compose`]), which runs on any device and in
//! `f32` and `f64`, and may have a fast version for the CPU, which a differential test holds against the definition.
//!
//! [`Backend`] is the one dispatch point: its default methods are the definitions, and a device overrides what is hot.
//! Kernels know shapes and numbers; they never see a node, an attribute or an opset.
