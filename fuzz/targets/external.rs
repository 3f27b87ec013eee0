#![no_main]
use onnx_forget_fuzz::{cut, joined, protobuf};

onnx_forget_fuzz::target!(onnx_forget::fuzzing::external, |bytes, random| {
    let (model, data) = cut(bytes)?;
    if random.below(6) > 0 {
        return Some(joined(&protobuf::change(model, random)?, data));
    }
    let mut data = data.to_vec();
    random.bytes(&mut data);
    Some(joined(model, &data))
});
