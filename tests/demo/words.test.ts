import { describe, expect, it } from "vitest";
import {
  browserKind,
  bytesInWords,
  countInWords,
  durationInWords,
  errorInWords,
  finishInWords,
  LoadMeter,
  progressInWords,
} from "../../demo/words.ts";
import { SourceError } from "../../src/index.ts";

describe("numbers", () => {
  it.each([
    [0, "0 bytes"],
    [999, "999 bytes"],
    [1000, "1.0 kB"],
    [999_400, "999 kB"],
    [999_960, "1.0 MB"],
    [3_981_312, "4.0 MB"],
    [123_456_789, "123 MB"],
    [14_000_000_000, "14.0 GB"],
    [2_500_000_000_000, "2500 GB"],
  ])("writes %i bytes as %s", (bytes, words) => expect(bytesInWords(bytes)).toBe(words));

  it.each([
    [0, "0"],
    [512, "512"],
    [260_032, "260 thousand"],
    [999_900, "1.0 million"],
    [1_052_800, "1.1 million"],
    [9_960_000, "10 million"],
    [7_240_000_000, "7.2 billion"],
  ])("counts %i as %s", (count, words) => expect(countInWords(count)).toBe(words));

  it("changes from milliseconds to seconds", () => {
    expect(durationInWords(84.4)).toBe("84 ms");
    expect(durationInWords(999.4)).toBe("999 ms");
    expect(durationInWords(999.6)).toBe("1.00 s");
  });
});

describe("progress", () => {
  it("says stage, bytes and time left", () => {
    const progress = { stage: "weights", loaded: 1_200_000, total: 2_400_000, secondsLeft: 2.2 } as const;
    expect(progressInWords(progress)).toBe("Loading weights · 1.2 MB of 2.4 MB · about 3 s left");
    expect(progressInWords({ ...progress, secondsLeft: 600 })).toMatch(/about 10 min left$/);
  });

  it("leaves out what is not known", () => {
    expect(progressInWords({ stage: "weights", loaded: 0, total: 0 })).toBe("Loading weights");
    expect(progressInWords({ stage: "tokenizer", loaded: 0, total: 1 })).toBe("Reading the vocabulary");
  });

  it("is one bar that never falls, and one line, over stages that overlap", () => {
    const meter = new LoadMeter();
    const shown = [
      meter.add({ stage: "config", loaded: 0, total: 1 }),
      meter.add({ stage: "config", loaded: 1, total: 1 }),
      meter.add({ stage: "tokenizer", loaded: 1, total: 1 }),
      meter.add({ stage: "weights", loaded: 1000, total: 2000 }),
      meter.add({ stage: "pipelines", loaded: 5, total: 10 }),
      meter.add({ stage: "weights", loaded: 2000, total: 2000 }),
      meter.add({ stage: "pipelines", loaded: 10, total: 10 }),
      meter.add({ stage: "ready", loaded: 1, total: 1 }),
    ];
    const fractions = shown.map(({ fraction }) => fraction);
    expect(fractions).toEqual([...fractions].sort((a, b) => a - b));
    expect(fractions.at(0)).toBe(0);
    expect(fractions.at(-1)).toBeCloseTo(1, 12);
    expect(shown[4]?.words).toBe("Loading weights · 1.0 kB of 2.0 kB");
    expect(shown[6]?.words).toBe("Preparing the GPU · 10 of 10 programs");
  });
});

describe("errors and endings", () => {
  it("puts a plain sentence before what the library says", () => {
    const { title, detail } = errorInWords(new SourceError("config.json", "not found. Check the address."));
    expect(title).toBe("The model's files could not be read.");
    expect(detail).toBe("config.json: not found. Check the address.");
  });

  it("also shows what is no error of the library's, and no Error at all", () => {
    expect(errorInWords(new TypeError("x is null")).detail).toBe("TypeError: x is null");
    expect(errorInWords("odd").detail).toBe("odd");
  });

  it("tells the three endings apart", () => {
    expect(finishInWords("abort", 1)).toBe("Stopped after 1 token.");
    expect(finishInWords("length", 200)).toBe("Finished: 200 tokens, the most allowed.");
    expect(finishInWords("stop", 43)).toBe("Finished: the text ended after 43 tokens.");
  });
});

describe("browserKind", () => {
  const webkit = "AppleWebKit/605.1.15 (KHTML, like Gecko)";
  it.each([
    ["chromium", `Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${webkit} Chrome/120.0.0.0 Safari/537.36 Edg/120.0`],
    ["chromium-linux", `Mozilla/5.0 (X11; Linux x86_64) ${webkit} Chrome/120.0.0.0 Safari/537.36`],
    ["android", `Mozilla/5.0 (Linux; Android 14; K) ${webkit} Chrome/120.0.0.0 Mobile Safari/537.36`],
    ["safari", `Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) ${webkit} Version/18.1 Safari/605.1.15`],
    ["safari", `Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) ${webkit} CriOS/120.0 Mobile Safari/604.1`],
    ["firefox", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"],
  ])("finds %s", (kind, userAgent) => expect(browserKind(userAgent)).toBe(kind));
});
