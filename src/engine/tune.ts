import type { DeviceInfo } from "../gpu/device.ts";
import { median } from "../gpu/timing.ts";
import { holdersOf, type AttentionTile, type MatMulTile, type MatVecTile, type Tuning } from "../kernels/tuning.ts";

/**
 * The first-run tuner's pure part: what there is to choose from, what a choice is kept under, and how it is made. The
 * measuring is in trial.ts.
 *
 * A group is one decision, measured by one drawing. Its first candidate is the table's own choice; the others are few, differ
 * from it in one thing each, and fit WebGPU's default limits.
 */
export type Group = "matVec" | "matMul" | "split" | "packedDot";

export const GROUPS: readonly Group[] = ["matVec", "matMul", "split", "packedDot"];

export interface Candidate {
  readonly name: string;
  readonly tuning: Partial<Tuning>;
}

/** What was chosen, by group; a group that was never finished is absent. Kept as JSON. */
export type Choices = Partial<Record<Group, string>>;

/** Drivers that compute on the CPU, by what they call themselves. */
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|softpipe|\bsoftware\b|basic render|\bwarp\b|\bcpu\b/i;

/** Whether a device is no GPU: its times say nothing of any GPU, so nothing is chosen by them. */
export function isSoftware({ architecture, description }: Pick<DeviceInfo, "architecture" | "description">): boolean {
  return SOFTWARE.test(`${architecture} ${description}`);
}

/** The candidates of a group on a device whose table row is `base`, the base first; one alone is no choice. */
export function candidatesOf(group: Group, info: DeviceInfo, base: Tuning): Candidate[] {
  const { matVec, matMul, attention } = base;
  switch (group) {
    case "matVec":
      return distinct([
        matVecCandidate(matVec),
        matVecCandidate({ ...matVec, rowsPerLane: matVec.rowsPerLane === 2 ? 4 : 2 }),
        matVecCandidate({ ...matVec, lanesPerRow: matVec.lanesPerRow === 16 ? 32 : 16 }),
        matVecCandidate({ ...matVec, workgroup: 64, lanesPerRow: Math.min(64, matVec.lanesPerRow) }),
        matVecCandidate({ ...matVec, workgroup: 256 }),
      ]);
    case "matMul":
      return distinct([
        matMulCandidate(matMul),
        matMulCandidate({ ...matMul, wide: !matMul.wide }),
        matMulCandidate({ m: 64, n: 64, k: 16, laneM: 8, laneN: 4 }),
        matMulCandidate({ m: 128, n: 64, k: 16, laneM: 8, laneN: 4 }),
        // Weights by registers and x by shuffles, or the small tile.
        matMulCandidate(info.subgroups ? { ...matMul, holders: holdersOf(info) } : SMALL_TILE),
      ]);
    case "split":
      return distinct([attention.split, 128, 512, 1024].map((split) => splitCandidate({ ...attention, split })));
    case "packedDot":
      return info.packedDot
        ? [base.packedDot, !base.packedDot].map((packedDot) => ({
            name: `packedDot ${packedDot}`,
            tuning: { packedDot },
          }))
        : [];
  }
}

const SMALL_TILE: MatMulTile = { m: 32, n: 32, k: 16, laneM: 4, laneN: 4 };

const matVecCandidate = (matVec: MatVecTile): Candidate => ({
  name: `matVec ${matVec.workgroup}/${matVec.lanesPerRow}/${matVec.rowsPerLane}`,
  tuning: { matVec },
});

const matMulCandidate = (matMul: MatMulTile): Candidate => ({
  name: matMul.holders
    ? `matMul shuffle ${matMul.holders}`
    : matMul.wide
      ? "matMul wide"
      : `matMul ${matMul.m}x${matMul.n}x${matMul.k}/${matMul.laneM}x${matMul.laneN}`,
  tuning: { matMul },
});

const splitCandidate = (attention: AttentionTile): Candidate => ({
  name: `split ${attention.split}`,
  tuning: { attention },
});

function distinct(candidates: readonly Candidate[]): Candidate[] {
  return [...new Map(candidates.map((c) => [c.name, c])).values()];
}

/** The base with the choices in; a choice that is not among today's candidates is as good as none. */
export function withChoices(base: Tuning, info: DeviceInfo, choices: Choices): Tuning {
  let tuning = base;
  for (const group of GROUPS) {
    const chosen = candidatesOf(group, info, base).find((c) => c.name === choices[group]);
    if (!chosen) continue;
    // Each group has its own part of a tile, so that one choice does not undo another's.
    tuning = { ...tuning, ...chosen.tuning };
  }
  return tuning;
}

/** What another candidate has to be quicker by: below it, differences are noise, and the table has its reasons. */
const MARGIN = 0.95;

/** The quickest by the medians, if it is quicker than the base by more than the margin. `times[0]` are the base's. */
export function choose(candidates: readonly Candidate[], times: readonly (readonly number[])[]): Candidate {
  const medians = times.map(median);
  const [base] = candidates;
  let best = 0;
  medians.forEach((ms, i) => {
    if (ms > 0 && ms < medians[best]!) best = i;
  });
  return medians[best]! < MARGIN * medians[0]! ? candidates[best]! : base!;
}

/** What choices are kept under: whatever may change which variant is quickest. */
export function tuningKey(info: DeviceInfo, agent: string, version: string, layout: string): string {
  const { vendor, architecture, description, shaderF16, subgroups, packedDot } = info;
  const features = [shaderF16 && "f16", subgroups && "subgroups", packedDot && "packed"].filter(Boolean).join("+");
  return ["tessera-tuning-1", vendor, architecture, description, features, agent, version, layout].join("|");
}

/** Choices as they were kept; none where what was kept is not what we write. */
export function parseChoices(text: string | null): Choices {
  if (text === null) return {};
  try {
    const kept = JSON.parse(text) as Record<string, unknown> | null;
    if (typeof kept !== "object" || kept === null) return {};
    return Object.fromEntries(
      GROUPS.flatMap((group) => (typeof kept[group] === "string" ? [[group, kept[group]]] : [])),
    );
  } catch {
    return {};
  }
}

/** A place for small texts: localStorage or IndexedDB in a page, a file in Node. May fail; nobody is told. */
export interface TuningStorage {
  read(key: string): Promise<string | null> | string | null;
  write(key: string, value: string): Promise<void> | void;
}
