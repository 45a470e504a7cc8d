// Copies whole pages within one layer's pool: keys and values of copies[i].x go to page copies[i].y.
// copies: [batch.copies] (from, to); a page is never both
// pool:   this layer's pages, in words; values start params.valueOffset words in
// grid:   (⌈pageWords / 64⌉, slots), 64 lanes, a word of K and a word of V each
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.y >= batch.copies || id.x >= params.pageWords) { return; }
  let word = copies[id.y] * params.pageWords + id.x;
  pool[word.y] = pool[word.x];
  pool[word.y + params.valueOffset] = pool[word.x + params.valueOffset];
}
