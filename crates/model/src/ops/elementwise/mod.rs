//! Functions of each element, and of elements that stand at the same place.

pub mod activation;
pub mod binary;
pub mod cast;
pub mod clip;
pub mod gelu;
pub mod pow;
pub mod scaler;
pub mod select;
pub mod unary;
pub mod variadic;
