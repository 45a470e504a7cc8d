/** PCG4D (Jarzynski & Olano 2020), as shaders/fragments/random.wgsl has it: in 32-bit integers, so exact. */
export function pcg4d(input: readonly [number, number, number, number]): [number, number, number, number] {
  const step = (x: number, y: number, z: number): number => (x + Math.imul(y, z)) | 0;
  let [x, y, z, w] = input.map((n) => (Math.imul(n, 1664525) + 1013904223) | 0) as [number, number, number, number];
  const mix = (): void => {
    x = step(x, y, w);
    y = step(y, z, x);
    z = step(z, x, y);
    w = step(w, y, z);
  };
  mix();
  [x, y, z, w] = [x, y, z, w].map((n) => n ^ (n >>> 16)) as typeof input & [number, number, number, number];
  mix();
  return [x >>> 0, y >>> 0, z >>> 0, w >>> 0];
}

/** What shaders/fill.wgsl writes: `count` vectors of four words. */
export function fillWords(count: number, keep: number, fixed: number, seed: number): Uint32Array {
  const words = new Uint32Array(4 * count);
  for (let i = 0; i < count; i++)
    words.set(
      pcg4d([i, seed, 0, 0]).map((word) => ((word & keep) | fixed) >>> 0),
      4 * i,
    );
  return words;
}
