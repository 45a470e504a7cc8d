import { describe, expect, it } from "vitest";
import { lintWgsl } from "../../scripts/lib/wgsl-lint.mjs";

const head = "// y = x; one invocation an element\n";

describe("lintWgsl", () => {
  it("finds nothing wrong with an orderly shader", () => {
    const source = `${head}
      /* sin(x), var y: f32; */
      override WIDTH: u32 = 64;
      const N = 4u;
      var<workgroup> tile: array<f32, WIDTH>;
      var<private> seen: u32;
      fn f(sinus: f32) -> f32 {
        var x: f32 = 0.0;
        var y = array<f32, N>();
        let z: f32 = sinus; // cos(z)
        return asin(z) + x + y[0];
      }`;
    expect(lintWgsl("x.wgsl", source)).toEqual([]);
  });

  it.each([
    ["fn f() { var x: f32; }", /x\.wgsl:2: .*no initialiser/],
    ["fn f() { var x: array<vec4f, 4>\n; }", /no initialiser/],
    ["fn f() { let y = sin (x); }", /table made on the host/],
    ["fn f() { let y = cos(x); }", /table made on the host/],
    ["fn f() { let y = pow(x, 2.0); }", /multiply/],
    ["override N: u32; var<private> x: array<f32, N>;", /cannot size/],
    ["override N: u32; fn f() { var x = array<f32, 2 * N>(); }", /cannot size/],
  ])("refuses %s", (code, message) => {
    expect(lintWgsl("x.wgsl", head + code)).toEqual([expect.stringMatching(message)]);
  });

  it("wants a contract at the head", () => {
    expect(lintWgsl("x.wgsl", "fn f() {}")).toEqual([expect.stringMatching(/x\.wgsl:1: .*contract/)]);
  });
});
