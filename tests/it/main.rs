//! Tests of the whole program and across rooms, in one binary: linking the runtimes once is slow enough.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod artifacts;
mod audit;
mod bounds;
mod cases;
mod commands;
mod compare;
mod data;
mod decoders;
mod docs;
mod fidelity;
mod flow;
mod forms;
mod graph;
mod heads;
mod init;
mod large_model;
mod library;
mod linear_models;
mod loss_graphs;
mod machine;
mod model;
mod model_diff;
mod mutation;
mod onnx_models;
mod operators;
mod parity;
mod pipeline;
mod positions;
#[cfg(unix)]
mod processes;
mod readme;
#[cfg(unix)]
mod reliability;
mod rooms;
mod suite;
mod writeback;
mod writeback_refusals;
mod wrong_readings;
