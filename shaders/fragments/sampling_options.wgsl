// A slot's sampling options, as src/kernels/sampling.ts packs them.
struct Bias {
  token: u32,
  bias: f32,
}
struct Options {
  temperature: f32,     // 0: greedy
  seed: u32,
  topK: u32,            // 0: off
  topP: f32,            // 1: off
  logMinP: f32,         // ln of min-p; hugely negative: off
  repetition: f32,
  frequency: f32,
  presence: f32,
  penalties: u32,       // 1: some of the three above are on, and tokens are counted
  topN: u32,            // log-probabilities wanted beside the chosen token's; 0: none at all
  biases: u32,
  ends: array<u32, 5>,  // tokens that end the sequence; NO_TOKEN past them
  bias: array<Bias, 300>,
}

// Counts of a token: how often it was drawn, and whether the prompt has it.
const IN_PROMPT: u32 = 0x80000000u;

// What logits are divided by. Below 1e-6 a draw is greedy but for ties, and logits / temperature would overflow.
fn inverseTemperature(temperature: f32) -> f32 {
  return select(1.0 / max(temperature, 1e-6), 1.0, temperature <= 0.0);
}

fn isEnd(slot: u32, token: u32) -> bool {
  var found = false;
  for (var i = 0u; i < 5u; i++) { found = found || options[slot].ends[i] == token; }
  return found && token != NO_TOKEN;
}

// Not a comparison with x != x: WGSL may assume that there is no NaN.
fn isFinite(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

fn isAllowed(word: u32, token: u32) -> bool {
  return ((word >> (token % 32u)) & 1u) == 1u;
}
