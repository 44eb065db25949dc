/** What becomes of users' strings on their way into a Dockerfile. */
import { describe, expect, test } from "vitest";
import type { ImageSpec } from "../../../../core/spec.ts";
import { dockerfile, environmentValue, settingsFiles, specHash, vector } from "../../../../gateway/build/dockerfile.ts";

const spec = (layers: ImageSpec["layers"]): ImageSpec => ({ python: "3.11", layers });

describe("dockerfile", () => {
  test("every command is JSON after its mounts", () => {
    const text = dockerfile(
      spec([
        { kind: "pip", packages: ["numpy>=2"] },
        { kind: "apt", packages: ["git"] },
        { kind: "run", commands: [["echo", "a b"]] },
      ]),
      "fabric/base:3.11-abc",
      {},
    );
    const lines = text.trim().split("\n");
    expect(lines[0]).toBe("FROM fabric/base:3.11-abc");
    const runs = lines.filter((line) => line.startsWith("RUN "));
    expect(runs.map((line) => JSON.parse(line.replace(/^RUN (--mount=\S+ )+/, "")))).toEqual([
      ["python", "-m", "pip", "install", "--no-input", "--", "numpy>=2"],
      ["/bin/sh", "-c", expect.stringContaining('-- "$@"'), "sh", "git"],
      ["echo", "a b"],
    ]);
    expect(lines.every((line) => /^(FROM|ARG|RUN|ENV) /.test(line))).toBe(true);
  });

  test.each(["$HOME", "a\nRUN x", "\\", "<<EOF", "`x`", "ü 漢 🎉", '"', "#", "\u2028"])(
    "%j comes back from its vector and holds no character Docker reads",
    (text) => {
      const encoded = vector(["x", text]);
      expect(JSON.parse(encoded)).toEqual(["x", text]);
      expect(encoded).not.toMatch(/[$<`#\n\u0080-\uffff]/);
    },
  );

  test("variables are quoted, and a line break is refused", () => {
    expect(environmentValue("A", 'a "b" $c \\')).toBe('"a \\"b\\" \\$c \\\\"');
    expect(() => environmentValue("A", "a\nRUN x")).toThrow(expect.objectContaining({ code: "image_spec_invalid" }));
  });

  test("the operator's addresses are in files, not in the Dockerfile", () => {
    const settings = {
      caBundle: "/ca.pem",
      pipIndexUrl: "https://user:secret@pip.example/simple",
      npmRegistry: "https://npm.example",
    };
    expect(dockerfile(spec([]), "b", settings)).not.toMatch(/secret|example|\/ca\.pem/);
    const files = settingsFiles(settings);
    expect(files["pip.conf"]).toContain("index-url = https://user:secret@pip.example/simple\n");
    expect(files.npmrc).toContain("registry=https://npm.example\n");
  });

  test("the hash follows the spec and the base, not the order of variables", () => {
    const one = spec([{ kind: "env", variables: { A: "1", B: "2" } }]);
    const same = spec([{ kind: "env", variables: { B: "2", A: "1" } }]);
    expect(specHash(one, "base")).toBe(specHash(same, "base"));
    expect(specHash(one, "other")).not.toBe(specHash(one, "base"));
    expect(
      specHash(
        spec([
          { kind: "pip", packages: ["a"] },
          { kind: "pip", packages: ["b"] },
        ]),
        "base",
      ),
    ).not.toBe(
      specHash(
        spec([
          { kind: "pip", packages: ["b"] },
          { kind: "pip", packages: ["a"] },
        ]),
        "base",
      ),
    );
  });
});
