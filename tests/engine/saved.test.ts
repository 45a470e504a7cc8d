/** Saved sessions as bytes: entries find their places in pages of any size, and behind windows there are fewer of them. */
import { describe, expect, it } from "vitest";
import { SessionError } from "../../src/base/errors.ts";
import { placeBytes, planesOf, type Plane } from "../../src/engine/page-bytes.ts";
import { firstKept } from "../../src/engine/paging.ts";
import { decodeSession, encodeSession, type CacheLayout, type Place } from "../../src/engine/saved.ts";

const IDENTITY = { model: "m", layout: "l", cache: "int8" };
/** Names of the rotary regimes; sessions are of the second. */
const REGIMES = ["short", "long"];
const LIMITS = { contextTokens: 100, vocabSize: 1000 };
const WINDOWS = [Infinity, 6];
const idsOf = (tokens: number): number[] => Array.from({ length: tokens }, (_, i) => (i * 31) % 1000);

/** Two layers of keys and values in 8 bits, the second with a window. */
function layoutOf(pageSize: number): CacheLayout {
  const pool = { buffer: undefined as unknown as GPUBuffer, offset: 0, size: 0 };
  const layer = { pool, valueOffset: 0, scaleOffset: 0 };
  const layers = [layer, { ...layer, windowed: true }];
  const cache = { kind: "kv", format: "int8", pageSize, heads: 2, headDim: 4, valueDim: 8, layers } as const;
  return { planes: planesOf(cache), pageSize, windows: WINDOWS };
}

/** A byte that tells where it belongs, never zero. */
const byteOf = (plane: number, head: number, token: number, byte: number): number =>
  1 + ((plane * 101 + head * 53 + token * 7 + byte) % 255);

/** What a page of each plane has at a place, zeros past the last token. */
function placeOf({ planes, pageSize }: CacheLayout, place: number, tokens: number, has: (plane: Plane) => boolean) {
  const there = planes.flatMap((plane, i) => (has(plane) ? [{ plane, i }] : []));
  const out = new Uint8Array(placeBytes(there.map(({ plane }) => plane)));
  let at = 0;
  for (const { plane, i } of there) {
    const bytes = plane.width * plane.elementBytes;
    for (let head = 0; head < plane.heads; head++) {
      for (let entry = 0; entry < pageSize; entry++) {
        const token = place * pageSize + entry;
        for (let b = 0; b < bytes; b++) out[at++] = token < tokens ? byteOf(i, head, token, b) : 0;
      }
    }
  }
  return out;
}

async function save(pageSize: number, tokens: number): Promise<Uint8Array<ArrayBuffer>> {
  const layout = layoutOf(pageSize);
  const first = firstKept(tokens, 6, pageSize);
  const places = new Map<number, Place>();
  for (let place = 0; place * pageSize < tokens; place++) {
    const present = [true, place >= first];
    places.set(place, { bytes: placeOf(layout, place, tokens, ({ pool }) => present[pool]!), present });
  }
  return encodeSession({ ...IDENTITY, ropes: "long" }, layout, idsOf(tokens), { seed: 9, drawn: 2 }, places);
}

describe("a session in pages of 4", () => {
  it.each([1, 2, 4, 8, 16])("is restored to pages of %i, as far as its window allows", async (pageSize) => {
    for (const tokens of [3, 16, 17, 30, 31]) {
      const bytes = await save(4, tokens);
      const layout = layoutOf(pageSize);
      const places = Math.floor(tokens / pageSize);
      const kept = firstKept(tokens, 6, 4) * 4;
      // The last whole page of the new size, and what its next row sees of the window.
      const needed = Math.floor(Math.max(0, places * pageSize + 1 - 6) / pageSize);
      const restoring = decodeSession(bytes, IDENTITY, REGIMES, layout, LIMITS);
      if (Math.ceil(kept / pageSize) > needed) {
        await expect(restoring, `${tokens} tokens`).rejects.toThrow(SessionError);
        continue;
      }
      const restored = await restoring;
      expect(restored).toMatchObject({ ids: idsOf(tokens), regime: 1, seed: 9, drawn: 2, places });
      const [all, tail] = restored.firsts as [number, number];
      expect(all).toBe(0);
      expect(tail).toBeGreaterThanOrEqual(Math.ceil(kept / pageSize));
      expect(tail).toBeLessThanOrEqual(needed);
      for (let place = 0; place < places; place++) {
        const expected = placeOf(layout, place, tokens, ({ pool }) => pool === 0 || place >= tail);
        expect(restored.page(place)).toEqual(expected);
      }
    }
  });

  it("is always restored to pages of its own size, and refused by larger ones that have too little of it", async () => {
    for (let tokens = 1; tokens < 60; tokens++) {
      await decodeSession(await save(4, tokens), IDENTITY, REGIMES, layoutOf(4), LIMITS);
    }
    const refused = decodeSession(await save(4, 31), IDENTITY, REGIMES, layoutOf(16), LIMITS);
    await expect(refused).rejects.toThrow(/too little of its windowed layers for pages of 16. Load with pages of 4/);
  });

  it("does not change when its bytes do after it was read", async () => {
    const bytes = await save(4, 20);
    const { page } = await decodeSession(bytes, IDENTITY, REGIMES, layoutOf(4), LIMITS);
    const before = page(3);
    bytes.fill(0);
    expect(page(3)).toEqual(before);
  });

  it("is of the regime that it was saved in, wherever that is among an engine's, and refused without it", async () => {
    const bytes = await save(4, 20);
    const regimeAmong = async (names: string[]): Promise<number> =>
      (await decodeSession(bytes, IDENTITY, names, layoutOf(4), LIMITS)).regime;
    expect(await regimeAmong(["long"])).toBe(0);
    expect(await regimeAmong(["short", "longer", "long"])).toBe(2);
    for (const names of [["short"], [], ["lon", "longer"]]) {
      await expect(regimeAmong(names)).rejects.toThrow(
        /longer requests than this engine takes. Load with a contextTokens/,
      );
    }
  });

  it("is refused with ids that the model does not know, or tensors of another cache", async () => {
    const bytes = await save(4, 20);
    await expect(decodeSession(bytes, IDENTITY, REGIMES, layoutOf(4), { ...LIMITS, vocabSize: 500 })).rejects.toThrow(
      /ids/,
    );
    const { planes, ...rest } = layoutOf(4);
    const fewer = { ...rest, planes: planes.slice(1) };
    await expect(decodeSession(bytes, IDENTITY, REGIMES, fewer, LIMITS)).rejects.toThrow(/do not belong/);
    const wider = { ...rest, planes: planes.map((plane) => ({ ...plane, width: plane.width + 4 })) };
    await expect(decodeSession(bytes, IDENTITY, REGIMES, wider, LIMITS)).rejects.toThrow(/another shape/);
  });
});
