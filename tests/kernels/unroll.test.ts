import { describe, expect, it } from "vitest";
import { unroll } from "../../src/kernels/unroll.ts";

describe("unroll", () => {
  it("repeats the lines of a part with its numbers", () => {
    expect(unroll("a\n// repeat m TWO\nx$m = $mu;\n// end\nb", { TWO: 2 })).toBe("a\nx0 = 0u;\nx1 = 1u;\nb");
  });

  it("repeats parts inside parts", () => {
    const wgsl = "  // repeat m TWO\n  // repeat r THREE\n  s$m_$r\n  // end\n  t$m\n  // end";
    expect(unroll(wgsl, { TWO: 2, THREE: 3 })).toBe("  s0_0\n  s0_1\n  s0_2\n  t0\n  s1_0\n  s1_1\n  s1_2\n  t1");
  });

  it("drops a part that is repeated no times", () => {
    expect(unroll("// repeat m NONE\nx$m\n// end\ny", { NONE: 0 })).toBe("y");
  });

  it.each([
    ["// repeat m MANY\nx\n// end", "no such count"],
    ["// repeat m TWO\nx", "without its end"],
    ["x\n// end", "without its repeat"],
  ])("refuses %j", (wgsl, message) => {
    expect(() => unroll(wgsl, { TWO: 2 })).toThrow(message);
  });
});
