#![no_main]
onnx_forget_fuzz::target!(onnx_forget::fuzzing::config, |_, _| None);
