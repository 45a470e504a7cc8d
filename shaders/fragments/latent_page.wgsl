// Where an entry of a latent cache starts, in elements. pool: [page][PAGE][RANK + ROPE] (KV_HEADS is 1: nothing is per head)
const KV_HEADS: u32 = 1u;
const DIM: u32 = RANK + ROPE;

fn latentAt(page: u32, index: u32) -> u32 { return entryOf(page, index, 0u) * DIM; }
