#![no_main]
use onnx_forget_fuzz::footer;

onnx_forget_fuzz::target!(onnx_forget::fuzzing::table, |bytes, random| {
    let (&which, file) = bytes.split_first()?;
    let which = if random.below(20) == 0 { random.below(12) as u8 } else { which };
    Some([&[which], footer::change(file, random)?.as_slice()].concat())
});
