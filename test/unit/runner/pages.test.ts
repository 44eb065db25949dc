/** Pages on their way to containers, and inputs of maps as calls of their own. */
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { FabricError } from "../../../core/errors.ts";
import { pageKey } from "../../../core/map.ts";
import type { ObjectStore } from "../../../core/object-store.ts";
import { createPages } from "../../../runner/pages.ts";
import { errorLine, inputOf, resultLine } from "../../../runner/single-input.ts";

const bodyOf = (first: number, count: number): Buffer =>
  Buffer.from(Array.from({ length: count }, (_, i) => `[${first + i}]`).join("\n"));

function stores(inline: Record<string, Buffer>, bucket: Record<string, Buffer> = {}) {
  const asked: string[] = [];
  let failures = 0;
  const get = async (key: string) => {
    asked.push(key);
    const body = bucket[key];
    return body && { body: Readable.from([body]), length: body.length };
  };
  return {
    asked,
    failNext: (times: number) => (failures = times),
    pages: createPages({
      maps: {
        async page(map, first) {
          asked.push(`${map} ${first}`);
          if (failures-- > 0) throw new FabricError("internal", "broken");
          return inline[`${map} ${first}`];
        },
      },
      objects: { get } as unknown as ObjectStore,
    }),
  };
}

describe("pages", () => {
  it("give any range of their inputs, fetched once", async () => {
    const { pages, asked } = stores({ "inv_a 10": bodyOf(10, 4) });
    const lines = async (first: number, count: number) => (await pages.lines("inv_a", 10, first, count)).toString();
    expect(await Promise.all([lines(10, 1), lines(11, 2), lines(13, 1), lines(10, 4)])).toEqual([
      "[10]",
      "[11]\n[12]",
      "[13]",
      "[10]\n[11]\n[12]\n[13]",
    ]);
    expect(asked).toEqual(["inv_a 10"]);
    await expect(lines(14, 1)).rejects.toMatchObject({ code: "internal" });
  });

  it("come from the bucket when they are not in Redis, or are missed", async () => {
    const { pages } = stores({}, { [pageKey("inv_a", 0)]: bodyOf(0, 2) });
    expect((await pages.lines("inv_a", 0, 1, 1)).toString()).toBe("[1]");
    await expect(pages.lines("inv_a", 2, 2, 1)).rejects.toMatchObject({ code: "internal" });
  });

  it("that could not be fetched are fetched again, and those not used for long are forgotten", async () => {
    const inline = Object.fromEntries(Array.from({ length: 70 }, (_, i) => [`inv_a ${i}`, bodyOf(i, 1)]));
    const { pages, asked, failNext } = stores(inline);
    failNext(1);
    await expect(pages.lines("inv_a", 0, 0, 1)).rejects.toThrow("broken");
    expect((await pages.lines("inv_a", 0, 0, 1)).toString()).toBe("[0]");
    for (let i = 1; i < 70; i++) await pages.lines("inv_a", i, i, 1);
    asked.length = 0;
    await pages.lines("inv_a", 69, 69, 1);
    await pages.lines("inv_a", 0, 0, 1);
    expect(asked).toEqual(["inv_a 0"]);
  });
});

describe("an input as a call of its own", () => {
  it.each([
    ["[1,2]", "json", '{"args":[1,2]}'],
    ['{"kwargs":{"a":1}}', "json", '{"kwargs":{"a":1}}'],
    ['{"pickle":"cGlja2xl"}', "pickle", "pickle"],
  ])("%s", (line, encoding, body) => {
    const input = inputOf(Buffer.from(line));
    expect([input.encoding, input.body.toString()]).toEqual([encoding, body]);
  });

  it("ends as an outcome line", () => {
    expect(resultLine(7, "json", Buffer.from("[1]")).toString()).toBe('{"index":7,"result":[1]}\n');
    expect(resultLine(7, "pickle", Buffer.from("p")).toString()).toBe('{"index":7,"pickle":"cA=="}\n');
    const error = { code: "exception" as const, message: "no" };
    expect(JSON.parse(errorLine(7, error, Buffer.from("p")).toString())).toEqual({
      index: 7,
      error,
      exception: "cA==",
    });
    expect(JSON.parse(errorLine(7, error, Buffer.alloc(0)).toString())).toEqual({ index: 7, error });
  });
});
