import { describe, expect, it } from "vitest";
import { parseMessages } from "../../src/cli/messages.ts";
import { ArgumentError } from "../../src/index.ts";

describe("a file of messages", () => {
  const messages = [
    { role: "system", content: "" },
    { role: "user", content: "hello", name: "ann" },
  ];

  it("is a list, or an object that holds one", () => {
    expect(parseMessages(JSON.stringify(messages), "f")).toEqual(messages);
    expect(parseMessages(JSON.stringify({ id: 1, messages }), "f")).toEqual(messages);
  });

  it.each([
    ["", /it is not JSON: /],
    ["{", /it is not JSON: /],
    ['"hello"', /no list of messages/],
    ["null", /no list of messages/],
    ['{"messages": {}}', /no list of messages/],
    ["[]", /the list of messages is empty/],
    ['["hello"]', /message 0 is no object/],
    ['[{"role": "user", "content": "a"}, null]', /message 1 is no object/],
    ['[{"content": "a"}]', /message 0 has no role/],
    ['[{"role": "user"}]', /message 0 has no content/],
    ['[{"role": "user", "content": [{"type": "text"}]}]', /message 0 has no content, which is a string/],
  ])("is not %s", (json, message) => {
    expect(() => parseMessages(json, "chat.json")).toThrow(ArgumentError);
    expect(() => parseMessages(json, "chat.json")).toThrow(message);
    expect(() => parseMessages(json, "chat.json")).toThrow(/^--messages chat\.json: .*It holds \[\{"role"/s);
  });
});
