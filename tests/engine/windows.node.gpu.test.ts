/** Models with windows: pages that fell out of one are given back, and never read again. */
import { afterEach, describe, expect, it, vi } from "vitest";
import type { InProcessEngine } from "../../src/engine/engine.ts";
import type { EngineTuning } from "../../src/engine/load.ts";
import { PagePool } from "../../src/engine/pages.ts";
import type { SamplingOptions } from "../../src/engine/port.ts";
import { load } from "./checkpoints.ts";
import { readGolden, rowSource } from "./families.ts";

const silent = (): void => undefined;
const CONTEXT = 128;
const PAGE = 32;
/** Windows of 16 in all of them; in pages of 32 most of a long sequence lies behind. */
const ROWS = ["mistral-window", "starcoder2", "gemma2", "gemma3_text", "qwen2-window"];

afterEach(() => vi.restoreAllMocks());

/** Pool buffers, by layer. */
function buffersOf({ gpu }: InProcessEngine): GPUBuffer[] {
  const { entries } = gpu.arena as unknown as { entries: Map<GPUBuffer, unknown> };
  return [...entries.keys()].filter(({ label }) => label.startsWith("cache of layer"));
}

/**
 * From now on a page that nobody holds is overwritten with NaN in every layer, f32 keys and values, at the moment it is
 * given back. Nothing is found by its tokens again, so such a page is of no use to anybody.
 */
function poison(engines: () => InProcessEngine[]): { readonly pages: number } {
  const poisoned = { pages: 0 };
  vi.spyOn(PagePool.prototype, "label").mockImplementation(() => undefined);
  const release = PagePool.prototype.release;
  vi.spyOn(PagePool.prototype, "release").mockImplementation(function (this: PagePool, pages: readonly number[]) {
    const given = [...pages];
    release.call(this, given);
    for (const engine of engines()) {
      for (const buffer of buffersOf(engine)) {
        // Which layers belong to this pool is told by how many pages their buffers have: tests choose them to differ.
        const pageBytes = bytesPerPage(engine, buffer, this.total);
        if (pageBytes === undefined) continue;
        const nan = new Float32Array(pageBytes / 8).fill(NaN);
        for (const page of given.filter((p) => !this.isHeld(p))) {
          for (const half of [0, buffer.size / 2])
            engine.gpu.queue.writeBuffer(buffer, half + page * nan.byteLength, nan);
          poisoned.pages++;
        }
      }
    }
  });
  return poisoned;
}

function bytesPerPage({ info }: InProcessEngine, buffer: GPUBuffer, total: number): number | undefined {
  const bytes = (PAGE * info.kvBytesPerToken) / info.layers;
  return buffer.size === total * bytes ? bytes : undefined;
}

const load32 = (row: string, tuning: EngineTuning = {}): Promise<InProcessEngine> =>
  load(rowSource(row), { contextTokens: CONTEXT }, { pageSize: PAGE, ...tuning });

async function prompts(row: string): Promise<{ ids: number[]; options: SamplingOptions }[]> {
  const { ids } = await readGolden(row);
  return [
    { ids: [...ids, ...ids].slice(0, 70), options: { temperature: 0, maxTokens: 50 } },
    { ids: ids.slice(0, 20), options: { temperature: 1, seed: 3, maxTokens: 90, n: 2 } },
    { ids: ids.slice(5, 38), options: { temperature: 0, maxTokens: 60 } },
  ];
}

const run = async (engine: InProcessEngine, { ids, options }: { ids: number[]; options: SamplingOptions }) =>
  (await engine.generate(ids, options, silent)).choices.map((c) => c.ids);

describe.each(ROWS)("%s", (row) => {
  it.each([
    ["in chunks of 8", { maxRows: 8, lookAhead: 3 }],
    ["in chunks of 64", { maxRows: 64, lookAhead: 2 }],
  ] as const)("gives the same tokens when everything behind a window is NaN, %s", async (_, tuning) => {
    const wanted = await prompts(row);
    const expected: number[][][] = [];
    // Pages as long as the context: nothing is ever let go.
    const whole = await load(rowSource(row), { contextTokens: CONTEXT }, { pageSize: 128, ...tuning });
    for (const w of wanted) expected.push(await run(whole, w));
    await whole.dispose();
    const engines: InProcessEngine[] = [];
    const poisoned = poison(() => engines);
    engines.push(await load32(row, { ...tuning, poolTokens: 992, slots: 4 }));
    const [engine] = engines as [InProcessEngine];
    expect(engine.stats().windowPages?.total).not.toBe(engine.stats().pages.total); // `poison` tells them by that
    expect(await run(engine, wanted[0]!)).toEqual(expected[0]);
    expect(poisoned.pages).toBeGreaterThan(0);
    expect(await Promise.all(wanted.map((w) => run(engine, w)))).toEqual(expected);
    const { pages, windowPages } = engine.stats();
    expect([pages.used, windowPages?.used ?? 0]).toEqual([0, 0]);
    await engine.dispose();
  });

  it("takes less memory for layers with a window, and still gives as many tokens", async () => {
    const engine = await load32(row, { maxRows: 8, slots: 2, poolTokens: 512 });
    const { pages, windowPages, gpuBytes } = engine.stats();
    // ⌈15 / 32⌉ and ⌈8 / 32⌉ and one more for each of two sequences.
    expect((windowPages ?? pages).total).toBe(6);
    expect(pages.total).toBe(windowPages ? 16 : 6);
    const perLayer = (32 * engine.info.kvBytesPerToken) / engine.info.layers;
    const windowed = buffersOf(engine).filter(({ size }) => size === 6 * perLayer).length;
    expect(windowed).toBeGreaterThan(0);
    expect(gpuBytes.byKind["kv"]).toBe(perLayer * (6 * windowed + 16 * (engine.info.layers - windowed)));
    const [first, , third] = await prompts(row);
    const got = await Promise.all([run(engine, first!), run(engine, third!)]);
    expect(got.flat().map((ids) => ids.length <= 60 && ids.length > 0)).toEqual([true, true]);
    await engine.dispose();
  });
});
