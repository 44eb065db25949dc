/** The golden messages in test/golden/protocol, which the shims' tests use too, fit the schemas: one for every type. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { fromShimSchema, toShimSchema } from "../../../core/protocol.ts";

/** `<type>.json`, or `<type>-<which of its forms>.json`. */
const typeOf = (file: string): string => file.replace(/(-.*)?\.json$/, "");

const root = new URL("../../golden/protocol/", import.meta.url);

describe.each([
  ["to-shim", toShimSchema],
  ["from-shim", fromShimSchema],
] as const)("golden messages %s", (folder, schema) => {
  const files = readdirSync(new URL(`${folder}/`, root)).sort();

  it.each(files)("%s fits the schema and loses nothing to it", (file) => {
    const golden = JSON.parse(readFileSync(new URL(`${folder}/${file}`, root), "utf8"));
    expect(schema.parse(golden.header)).toEqual(golden.header);
    expect(typeOf(file)).toBe(golden.header.type);
    expect(typeof (golden.body ?? "")).toBe("string");
  });

  it("has one for every message type", () => {
    const types = schema.options.map((option) => [...option.shape.type.values][0]);
    expect([...new Set(files.map(typeOf))].sort()).toEqual(types.sort());
  });
});
