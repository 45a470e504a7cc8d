import { describe, expect, it } from "vitest";
import { backportsSource } from "../../scripts/lib/apt.mjs";

const ask = (files: Record<string, string>) => backportsSource(files, "bookworm", "bookworm-backports");

const deb822 = `Types: deb deb-src
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
`;

describe("backportsSource", () => {
  it("asks the mirror of a deb822 file, with its key", () => {
    expect(ask({ "debian.sources": deb822 })).toEqual({
      kind: "sources",
      text: `Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
`,
    });
  });

  it("carries an embedded key whole", () => {
    const key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----\n";
    const text = `Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n${key}`;
    expect(ask({ "debian.sources": text })).toMatchObject({
      text: expect.stringContaining(" .\n abc\n -----END") as string,
    });
  });

  it("asks the mirror of a classic file, with its options", () => {
    const text =
      "# deb http://old.example bookworm main\ndeb [signed-by=/k.gpg arch=amd64] http://mirror.example/debian bookworm main\n";
    expect(ask({ "sources.list": text })).toEqual({
      kind: "list",
      text: "deb [signed-by=/k.gpg arch=amd64] http://mirror.example/debian bookworm-backports main\n",
    });
  });

  it("adds nothing where the suite is there, in either form", () => {
    const list = "deb http://mirror.example/debian bookworm-backports main";
    expect(ask({ "debian.sources": deb822, "b.list": list })).toBe("present");
    expect(ask({ "b.sources": deb822.replace("bookworm-updates", "bookworm-backports") })).toBe("present");
  });

  it("passes over a source that is switched off", () => {
    expect(ask({ "debian.sources": deb822.replaceAll("Types: deb", "Enabled: no\nTypes: deb") })).toBe("absent");
    expect(
      ask({ "debian.sources": deb822, "b.sources": `Enabled: no\nTypes: deb\nSuites: bookworm-backports\n` }),
    ).toMatchObject({
      kind: "sources",
    });
  });

  it("adds nothing to another release", () => {
    expect(ask({ "debian.sources": deb822.replaceAll("bookworm", "trixie"), "sources.list": "" })).toBe("absent");
    expect(ask({})).toBe("absent");
  });
});
