// Σ of four products of signed bytes: one instruction where the GPU has it. 4-bit weights are below 128, so signed too.
fn integerDot(a: u32, b: u32) -> i32 { return dot4I8Packed(a, b); }
