// What a lane, a workgroup or a chunk knows of a row of logits: its best key and that key's token, and the maximum and
// Σ exp(x − maximum) of its distribution.
const LOWEST: f32 = -1e30;  // finite: what is not allowed, and what nothing has been found above

struct Partial {
  key: f32,
  token: u32,
  top: f32,
  sum: f32,
}

// The better key wins, the lower token where keys are equal; the two softmax sums become one.
fn merge(a: Partial, b: Partial) -> Partial {
  let takeB = b.key > a.key || (b.key == a.key && b.token < a.token);
  let top = max(a.top, b.top);
  let sum = a.sum * exp(a.top - top) + b.sum * exp(b.top - top);
  return Partial(max(a.key, b.key), select(a.token, b.token, takeB), top, sum);
}
