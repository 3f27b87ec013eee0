#![no_main]
onnx_forget_fuzz::target!(onnx_forget::fuzzing::image, |_, _| None);
