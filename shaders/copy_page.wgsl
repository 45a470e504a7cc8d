// Copies whole pages within one layer's pool: everything of page copies[i].x goes to page copies[i].y.
// copies: [batch.copies] (source, target); a page is never both
// pool:   this layer's pages, in words: keys [page][params.keyWords] from 0, values [page][params.valueWords] from
//         params.valueStart, scales [page][params.scaleWords] from params.scaleStart; what a format has not got has 0 words
// grid:   (⌈words of a page / 64⌉, slots), 64 lanes, a word each
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let valuesEnd = params.keyWords + params.valueWords;
  if (id.y >= batch.copies || id.x >= valuesEnd + params.scaleWords) { return; }
  var start = 0u;
  var pageWords = params.keyWords;
  var word = id.x;
  if (id.x >= valuesEnd) {
    start = params.scaleStart;
    pageWords = params.scaleWords;
    word = id.x - valuesEnd;
  } else if (id.x >= params.keyWords) {
    start = params.valueStart;
    pageWords = params.valueWords;
    word = id.x - params.keyWords;
  }
  let pair = start + copies[id.y] * pageWords + word;
  pool[pair.y] = pool[pair.x];
}
