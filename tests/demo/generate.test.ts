import { describe, expect, it } from "vitest";
import { finalFigures, Meter } from "../../demo/generate.ts";

describe("Meter", () => {
  it("knows nothing before the first token", () => {
    const meter = new Meter(1000);
    meter.add(0, 1500); // a delta may bring no ids
    expect(meter.figures(2000)).toEqual({ firstTokenMs: null, tokensPerSecond: null, tokens: 0 });
  });

  it("rates the tokens after the first by the time since it", () => {
    const meter = new Meter(1000);
    meter.add(1, 1250);
    expect(meter.figures(1250)).toEqual({ firstTokenMs: 250, tokensPerSecond: null, tokens: 1 });
    meter.add(1, 1350);
    meter.add(2, 1550);
    expect(meter.figures(1550)).toEqual({ firstTokenMs: 250, tokensPerSecond: 10, tokens: 4 });
  });

  it("does not rate what came along with the first token", () => {
    const meter = new Meter(0);
    meter.add(4, 100);
    meter.add(4, 500);
    expect(meter.figures(500).tokensPerSecond).toBe(10);
  });
});

describe("finalFigures", () => {
  const result = (completionTokens: number, decodeMs: number) => ({
    usage: { promptTokens: 5, completionTokens },
    timing: { queueMs: 0, firstTokenMs: 40, decodeMs, totalMs: 40 + decodeMs },
  });

  it("is the engine's own account", () => {
    expect(finalFigures(result(21, 1000))).toEqual({ firstTokenMs: 40, tokensPerSecond: 20, tokens: 21 });
  });

  it("has no rate of one token, and no first token of none", () => {
    expect(finalFigures(result(1, 0))).toEqual({ firstTokenMs: 40, tokensPerSecond: null, tokens: 1 });
    expect(finalFigures(result(0, 0))).toEqual({ firstTokenMs: null, tokensPerSecond: null, tokens: 0 });
  });
});
