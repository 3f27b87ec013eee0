#![no_main]
onnx_forget_fuzz::target!(onnx_forget::fuzzing::splice, onnx_forget_fuzz::protobuf::change);
