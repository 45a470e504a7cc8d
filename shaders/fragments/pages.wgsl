// From an index in a sequence to its place in the pool: entries are [page][head][PAGE].
// keys: entry · HEAD_DIM from 0; values: entry · VALUE_DIM from params.valueOffset
const PAGE_SHIFT: u32 = firstTrailingBit(PAGE);

fn pageOf(slot: u32, index: u32) -> Page {
  return pageTable[slot * params.pagesPerSequence + (index >> PAGE_SHIFT)];
}

fn entryOf(page: u32, index: u32, head: u32) -> u32 {
  return (page * KV_HEADS + head) * PAGE + (index & (PAGE - 1u));
}
