//! Weights that are attributes of a node: which they are, and what they are called.

/// The attributes that hold the weights of a linear model.
pub const WEIGHTS: [&str; 2] = ["coefficients", "intercepts"];

/// Whether a node of this operator is a linear model of ai.onnx.ml, whose weights are attributes.
pub fn is_linear(domain: &str, op: &str) -> bool {
    domain == "ai.onnx.ml" && matches!(op, "LinearClassifier" | "LinearRegressor")
}

/// What a node is called: its name, or its operator and its first output.
pub fn label(name: &str, op: &str, outputs: &[String]) -> String {
    match (name, outputs.iter().find(|name| !name.is_empty())) {
        ("", Some(output)) => format!("{op} of {output}"),
        ("", None) => format!("{op} without output"),
        (name, _) => name.to_string(),
    }
}
