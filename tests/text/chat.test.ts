import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { TemplateError } from "../../src/base/errors.ts";
import { renderChat, type TemplateMessage } from "../../src/text/chat.ts";
import { COST, RUN_LIMITS } from "../../src/text/meter.ts";
import { fixtureSource, readBytes, readFixtureJson, sharedSource } from "../support/fixtures.ts";
import { hostile } from "./hostile.ts";

interface Conversation {
  messages: TemplateMessage[];
  tools?: unknown[];
  add_generation_prompt?: boolean;
}
type Outcome = { text: string } | { length: number; sha256: string } | { error: string };
interface Goldens {
  now: string;
  conversations: Record<string, Conversation>;
  own: Record<string, Record<string, Outcome>>;
  shared: Record<string, Record<string, Outcome>>;
}

const goldens = await readFixtureJson<Goldens>("tests/fixtures/chat/goldens.json");
const now = new Date(goldens.now);
const shared = sharedSource("templates");

async function source(file: string): Promise<string> {
  return new TextDecoder().decode(await readBytes(file));
}

function render(template: string, { messages, tools, add_generation_prompt }: Conversation): Outcome {
  try {
    return {
      text: renderChat(template, messages, {
        bosToken: "<s>",
        eosToken: "</s>",
        now,
        ...(tools === undefined ? {} : { tools }),
        ...(add_generation_prompt === undefined ? {} : { addGenerationPrompt: add_generation_prompt }),
      }),
    };
  } catch (error) {
    expect(error).toBeInstanceOf(TemplateError);
    return { error: String(error) };
  }
}

/** Whether we and Python agree: the same text byte for byte, or both refuse. */
function agree(ours: Outcome, golden: Outcome): boolean {
  if ("error" in golden || "error" in ours) return "error" in golden && "error" in ours;
  if (!("text" in ours)) return false;
  if ("text" in golden) return ours.text === golden.text;
  return createHash("sha256").update(ours.text).digest("hex").startsWith(golden.sha256);
}

describe("our own templates, as Python renders them", () => {
  for (const [name, outcomes] of Object.entries(goldens.own)) {
    for (const [key, golden] of Object.entries(outcomes)) {
      it(`${name}: ${key}`, async () => {
        const ours = render(await source(fixtureSource(`tests/fixtures/chat/${name}`)), goldens.conversations[key]!);
        if ("text" in golden) expect(ours).toEqual(golden);
        else expect(agree(ours, golden), JSON.stringify(ours)).toBe(true);
      });
    }
  }
});

/**
 * Where we and Python differ, of 330 outcomes. Seed-OSS has a mapping with numbers for keys, which the package refuses.
 * With tools: Apriel writes mappings by `|string`, which in Python is their repr; Functionary 3.1 gets HTML escapes from
 * Jinja where `~` meets JSON, and 3.2 unpacks tuples in a loop, which the package refuses; llama.cpp's DeepSeek-R1 makes
 * JSON of a generator, at which Python fails and we do not.
 */
const KNOWN_DIFFERENCES: Record<string, string[]> = {
  "Apriel-1.6-15b-Thinker-fixed.jinja": ["tools"],
  "ByteDance-Seed-OSS.jinja": ["user", "system", "turns", "closed", "tools", "unanswered"],
  "llama-cpp-deepseek-r1.jinja": ["tools"],
  "meetkai-functionary-medium-v3.1.jinja": ["tools"],
  "meetkai-functionary-medium-v3.2.jinja": ["tools"],
  "unsloth-Apriel-1.5.jinja": ["tools"],
};

describe.skipIf(shared === null)("published templates, as Python renders them (needs the shared data)", () => {
  for (const [name, outcomes] of Object.entries(goldens.shared)) {
    it(
      name,
      async () => {
        const template = await source(sharedSource(`templates/${name}`)!);
        const wrong = Object.entries(outcomes).filter(
          ([key, golden]) => !agree(render(template, goldens.conversations[key]!), golden),
        );
        expect(wrong.map(([key]) => key)).toEqual(KNOWN_DIFFERENCES[name] ?? []);
      },
      30_000,
    );
  }

  const messages = (count: number) =>
    Array.from({ length: count }, (_, i) => ({
      role: i % 2 ? "assistant" : "user",
      content: `Message ${i} with some words in it, and then a little more.\n${i % 7 ? "" : "x".repeat(2000)}`,
    }));

  it("stay within the meter with 2,000 messages, or 300 in the one whose work grows with the square", async () => {
    for (const [name, outcomes] of Object.entries(goldens.shared)) {
      if (!("sha256" in outcomes["turns"]!)) continue;
      const template = await source(sharedSource(`templates/${name}`)!);
      const count = name === "google-gemma-4-31B-it.jinja" ? 300 : 2000;
      const outcome = render(template, { messages: messages(count) });
      if ("error" in outcome) expect(outcome.error, name).not.toContain("too costly");
    }
  }, 120_000);
});

describe("hostile templates", () => {
  const messages = Array.from({ length: 2000 }, (_, i) => ({
    role: i % 2 ? "assistant" : "user",
    content: `Number ${i}`,
  }));
  for (const [why, templates] of hostile) {
    for (const [what, template] of Object.entries(templates)) {
      it(`${what}: ${why.source}`, () => {
        expect(() => renderChat(template, messages)).toThrow(TemplateError);
        expect(() => renderChat(template, messages)).toThrow(why);
      }, 30_000);
    }
  }
});

describe("renderChat", () => {
  const one = [{ role: "user", content: "Hi" }];

  it("tells templates what Python tells them", () => {
    const probe =
      "{{ bos_token is defined }} {{ eos_token is defined }} {{ tools is none }} {{ add_generation_prompt }}";
    expect(renderChat(probe, one)).toBe("False False True True");
    expect(renderChat(probe, one, { bosToken: "b", eosToken: "e", tools: [], addGenerationPrompt: false })).toBe(
      "True True False False",
    );
  });

  it("takes the time from the caller, else from the clock", () => {
    expect(renderChat("{{ strftime_now('%d %b %Y') }}", one, { now: new Date(2024, 0, 5) })).toBe("05 Jan 2024");
    expect(renderChat("{{ strftime_now('%Y') }}", one)).toBe(String(new Date().getFullYear()));
  });

  it("says why a template refuses", () => {
    expect(() => renderChat("{{ raise_exception('Only one system message') }}", one)).toThrow(
      /refuses these messages: Only one system message/,
    );
  });

  it("says what failed, with the cause", () => {
    const failing = () => renderChat("{{ messages | nosuch }}", one);
    expect(failing).toThrow(/template failed: .*nosuch/);
    expect(() => renderChat("{% if %}", one)).toThrow(/cannot be parsed/);
    try {
      failing();
    } catch (error) {
      expect((error as TemplateError).cause).toBeInstanceOf(Error);
    }
  });

  it("leaves the messages as they were", () => {
    const messages = [{ role: "user", content: " Hi " }];
    renderChat("{% for m in messages %}{% set m = m.content.strip() %}{% endfor %}", messages);
    expect(messages).toEqual([{ role: "user", content: " Hi " }]);
  });

  it("evaluates each operand once", () => {
    const counting = "{% set n = namespace(i=0) %}{% macro f() %}{% set n.i = n.i + 1 %}a-b{% endmacro %}";
    const uses = [
      "f()|trim",
      "f().strip()",
      "f()[0]",
      "f()[1:]",
      "f() ~ 'x'",
      "f()|replace('a', 'c')",
      "f().split('-')",
    ];
    for (const use of uses) expect(renderChat(`${counting}{% set x = ${use} %}{{ n.i }}`, one), use).toBe("1");
    expect(renderChat(`${counting}{% set x = "x"|replace("x", f()) %}{{ n.i }}`, one)).toBe("1");
  });
});

describe("the meter is exact, so that a template ends the same way everywhere", () => {
  const turns = (n: number) => `{% for i in range(${n}) %}{% endfor %}`;
  it("allows what is just below, refuses what is above", () => {
    const loops = Math.floor(RUN_LIMITS.steps / ((COST.turn + 1) * 10_000 + 100));
    expect(renderChat(turns(10_000).repeat(loops), [])).toBe("");
    expect(() => renderChat(turns(10_000).repeat(loops + 1), [])).toThrow(/needs more than 1000000 steps/);
    expect(() => renderChat(turns(10_001), [])).toThrow(/range of 10001/);
  });

  it("lets long honest text through", () => {
    const long = "word ".repeat(200_000);
    const template = "{% for m in messages %}{{ m.content | trim }}{{ m.content.split('x')[0] | length }}{% endfor %}";
    expect(renderChat(template, [{ role: "user", content: long }])).toBe(`${long.trim()}1000000`);
  });
});
