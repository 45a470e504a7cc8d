import { expect, it } from "vitest";
import { describe } from "../../src/cli/perplexity.ts";

it("prints a figure a line", () => {
  const adapter = { vendor: "", architecture: "", description: "", shaderF16: false, subgroups: false };
  const counts = { tokens: 12345, bytes: 20000, documents: 1, windows: 3, seconds: 1.256 };
  expect(describe({ natsPerToken: 1.5, bitsPerByte: 0.98765432, perplexity: Math.exp(1.5), ...counts, adapter })).toBe(
    [
      "nats per token  1.50000",
      "bits per byte   0.98765",
      "perplexity      4.4817",
      "tokens          12,345",
      "bytes           20,000",
      "documents       1",
      "windows         3",
      "seconds         1.26",
      "",
    ].join("\n"),
  );
});
