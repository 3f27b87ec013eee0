//! What scikit-learn's exporter writes for the preparation of columns (ai.onnx.ml), of numbers.

pub mod binarizer;
pub mod feature_vectorizer;
pub mod imputer;
pub mod label_encoder;
pub mod normalizer;
pub mod one_hot_encoder;
