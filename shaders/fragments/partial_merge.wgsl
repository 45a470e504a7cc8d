// What a lane, a workgroup or a chunk knows of a row of logits: its best key and that key's token, and the maximum and
// Σ exp(x − maximum) of its distribution.
const LOWEST: f32 = -1e30;  // finite: what is not allowed, and what nothing has been found above

struct Partial {
  key: f32,
  token: u32,
  top: f32,
  sum: f32,
}

const NOTHING = Partial(LOWEST, NO_TOKEN, LOWEST, 0.0);

// With one more token, of a higher id than those before it.
fn include(a: Partial, x: f32, key: f32, token: u32) -> Partial {
  let better = key > a.key;
  let top = max(a.top, x);
  let sum = a.sum * exp(a.top - top) + exp(x - top);
  return Partial(select(a.key, key, better), select(a.token, token, better), top, sum);
}

// The better key wins, the lower token where keys are equal; the two softmax sums become one.
fn merge(a: Partial, b: Partial) -> Partial {
  let takeB = b.key > a.key || (b.key == a.key && b.token < a.token);
  let top = max(a.top, b.top);
  let sum = a.sum * exp(a.top - top) + b.sum * exp(b.top - top);
  return Partial(max(a.key, b.key), select(a.token, b.token, takeB), top, sum);
}
