#![no_main]
use onnx_forget_fuzz::flatbuffer;

onnx_forget_fuzz::target!(onnx_forget::fuzzing::checkpoint, |bytes, random| match bytes.split_first()? {
    (0, file) => Some([&[0], flatbuffer::change(file, random)?.as_slice()].concat()),
    _ => None,
});
