import { describe, expect, it } from "vitest";
import { ConfigError, UnsupportedModelError } from "../../src/base/errors.ts";
import { ConfigReader } from "../../src/models/config.ts";
import { findFamily, supportedModelTypes } from "../../src/models/index.ts";

const reader = new ConfigReader({
  four: 4,
  zero: 0,
  half: 0.5,
  text: "4",
  nothing: null,
  yes: true,
  list: [1, 2],
  nested: { a: 1 },
  long: "x".repeat(500),
});

/** The field that a ConfigError names, and its message. */
function complaint(read: () => unknown): [string, string] {
  try {
    read();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return [(error as ConfigError).field, (error as ConfigError).message];
  }
  throw new Error("no complaint");
}

describe("ConfigReader", () => {
  it("reads what is there, and falls back where a field is absent or null", () => {
    expect(reader.integer("four")).toBe(4);
    expect(reader.integer("zero", { min: 0 })).toBe(0);
    expect(reader.integer("absent", { fallback: 7 })).toBe(7);
    expect(reader.integer("nothing", { fallback: 7 })).toBe(7);
    expect([reader.positive("half"), reader.positive("absent", 2)]).toEqual([0.5, 2]);
    expect([reader.boolean("yes", false), reader.boolean("nothing", false)]).toEqual([true, false]);
    expect([reader.object("nested"), reader.object("nothing")]).toEqual([{ a: 1 }, undefined]);
    expect([reader.tokenIds("absent", 9), reader.tokenIds("four", 5), reader.tokenIds("list", 3)]).toEqual([
      [],
      [4],
      [1, 2],
    ]);
  });

  it.each<[string, string, () => unknown]>([
    ["absent", "is missing", () => reader.integer("absent")],
    ["nothing", "is missing", () => reader.integer("nothing")],
    ["zero", "0 is not an integer from 1", () => reader.integer("zero")],
    ["half", "0.5 is not an integer", () => reader.integer("half")],
    ["text", '"4" is not an integer', () => reader.integer("text")],
    ["four", "4 is not an integer from 1 to 3", () => reader.integer("four", { max: 3 })],
    ["absent", "600 is not an integer from 1 to 512", () => reader.integer("absent", { fallback: 600, max: 512 })],
    ["absent", "2.5 is not an integer", () => reader.integer("absent", { fallback: 2.5 })],
    ["zero", "0 is not a positive number", () => reader.positive("zero")],
    ["text", '"4" is not a positive number', () => reader.positive("text")],
    ["absent", "is missing", () => reader.positive("absent")],
    ["four", "4 is not true or false", () => reader.boolean("four", true)],
    ["list", "[1,2] is no object", () => reader.object("list")],
    ["text", '"4" is no object', () => reader.object("text")],
    ["text", '"4" is not supported: why not', () => reader.only("text", ["5"], "why not")],
    ["four", "4 is not a token id below vocab_size 4", () => reader.tokenIds("four", 4)],
    ["list", "2 is not a token id", () => reader.tokenIds("list", 2)],
    ["half", "0.5 is not a token id", () => reader.tokenIds("half", 9)],
  ])("names the field %s: %s", (field, message, read) => {
    const [named, said] = complaint(read);
    expect(named).toBe(field);
    expect(said).toContain(`config.json: ${field}: ${message}`);
  });

  it("refuses what nobody has read, unless it is null or says nothing about the model", () => {
    const json = { a: 1, torch_dtype: "f32", attention_dropout: 0.1, eos_token_id: 3, b: null, nested: { c: 1, d: 2 } };
    const c = new ConfigReader(json);
    expect(complaint(() => c.finish())).toEqual(["a", expect.stringContaining("1 is not understood")]);
    c.integer("a");
    expect(complaint(() => c.finish())[0]).toBe("nested");
    const nested = c.nested("nested")!;
    c.finish();
    expect(nested.integer("c")).toBe(1);
    expect(complaint(() => nested.finish())[0]).toBe("nested.d");
    nested.ignore("d");
    nested.finish();
    expect(complaint(() => nested.integer("d", { max: 1 }))[0]).toBe("nested.d");
  });

  it("reads names, numbers and lists", () => {
    expect(reader.oneOf("text", ["3", "4"])).toBe("4");
    expect(reader.oneOf("absent", ["3", "4"], "3")).toBe("3");
    expect([reader.number("half"), reader.number("absent")]).toEqual([0.5, undefined]);
    expect(reader.list("list", 2, "numbers", (x): x is number => typeof x === "number")).toEqual([1, 2]);
    expect([reader.isNull("nothing"), reader.isNull("absent")]).toEqual([true, false]);
    expect(complaint(() => reader.oneOf("text", ["5"]))[1]).toContain('"4" is not supported: only 5');
    expect(complaint(() => reader.number("text"))[0]).toBe("text");
    expect(complaint(() => reader.list("list", 3, "numbers", (_): _ is number => true))[0]).toBe("list");
  });

  it("shows no more of a value than one can read", () => {
    expect(complaint(() => reader.integer("long"))[1].length).toBeLessThan(160);
  });
});

describe("findFamily", () => {
  it.each([null, 3, "text", [], undefined])("refuses %o, which is no object", (config) => {
    expect(complaint(() => findFamily(config))[1]).toContain("not a JSON object");
  });

  it.each([{}, { model_type: 3 }, { model_type: null }])("refuses %o, which names no model_type", (config) => {
    expect(complaint(() => findFamily(config))[0]).toBe("model_type");
  });

  it("names what is supported where a model_type is not", () => {
    const find = (): unknown => findFamily({ model_type: "mamba2" });
    expect(find).toThrow(UnsupportedModelError);
    expect(find).toThrow(/"mamba2".*llama/);
    expect(() => findFamily({ model_type: "__proto__" })).toThrow(UnsupportedModelError);
  });

  it("finds every type that it names", () => {
    for (const type of supportedModelTypes) {
      expect(findFamily({ model_type: type }).family.modelTypes).toContain(type);
    }
  });
});
