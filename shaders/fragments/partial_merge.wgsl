// The better key wins, the lower token where keys are equal; the two softmax sums become one.
fn merge(a: Partial, b: Partial) -> Partial {
  let takeB = b.key > a.key || (b.key == a.key && b.token < a.token);
  let top = max(a.top, b.top);
  let sum = a.sum * exp(a.top - top) + b.sum * exp(b.top - top);
  return Partial(max(a.key, b.key), select(a.token, b.token, takeB), top, sum);
}
