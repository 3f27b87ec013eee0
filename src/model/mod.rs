//! A graph bound to a device: a runnable, differentiable model.
