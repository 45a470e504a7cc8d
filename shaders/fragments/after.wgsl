// The order in which log-probabilities are given: the larger first, the lower token of equals.
struct Ranked {
  token: u32,
  value: f32,
}

const BEFORE_ALL = Partial(3.4e38, NO_TOKEN, LOWEST, 0.0);

// x comes after the last one given, and before the best found since.
fn isNext(x: f32, token: u32, last: Partial, found: Partial) -> bool {
  let after = x < last.key || (x == last.key && token > last.token);
  return after && (x > found.key || (x == found.key && token < found.token));
}
