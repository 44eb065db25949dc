/** A map's inputs from a stream: lines and pages, however the bytes come. */
import { describe, expect, it } from "vitest";
import { systemClock } from "../../../core/clock.ts";
import { FabricError } from "../../../core/errors.ts";
import { MAX_LINE_BYTES, PAGE_BYTES, PAGE_INPUTS } from "../../../core/map.ts";
import { type InputForm, type InputPage, readInputs } from "../../../core/read-inputs.ts";
import { functionSpecSchema } from "../../../core/spec.ts";

const spec = functionSpecSchema.parse({
  ...{ name: "f", image: "i", entry: { module: "app", qualname: "f" } },
  parameters: [
    { name: "a", kind: "normal", required: true },
    { name: "b", kind: "normal", required: false },
  ],
});
const target = { name: "app/f", spec };
const PLAIN: InputForm = { isCallForm: false, acceptsPickles: false };
const CALL: InputForm = { isCallForm: true, acceptsPickles: false };

async function* chunks(...parts: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield typeof part === "string" ? Buffer.from(part) : part;
}
const read = (source: AsyncIterable<Uint8Array>, form = PLAIN, first = 0) =>
  readInputs(source, target, form, { clock: systemClock, first });
async function pagesOf(source: AsyncIterable<Uint8Array>, form = PLAIN, first = 0): Promise<InputPage[]> {
  const pages: InputPage[] = [];
  for await (const page of read(source, form, first)) pages.push(page);
  return pages;
}
const linesOf = (pages: InputPage[]): string[] => pages.flatMap(({ body }) => body.toString().split("\n"));
const refused = async (text: string, form = PLAIN, first = 0): Promise<FabricError> => {
  const thrown = await pagesOf(chunks(text), form, first).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(thrown).toBeInstanceOf(FabricError);
  return thrown as FabricError;
};

describe("lines", () => {
  it("may be cut anywhere, between the bytes of a character too, and need no newline behind the last", async () => {
    const text = Buffer.from('[1]\n{"a":"z\u00fcrich \u{1f600}"}\n[3]');
    for (let size = 1; size <= text.length; size++) {
      const parts = Array.from({ length: Math.ceil(text.length / size) }, (_, i) =>
        text.subarray(i * size, (i + 1) * size),
      );
      expect(linesOf(await pagesOf(chunks(...parts)))).toEqual([
        "[1]",
        '{"kwargs":{"a":"z\u00fcrich \u{1f600}"}}',
        "[3]",
      ]);
    }
  });

  it("that are blank are passed over, and white space around others goes", async () => {
    const pages = await pagesOf(chunks("\n \r\n[1]\r\n\t\n  [2] \r\n", "", "\n"));
    expect(pages.map(({ count }) => count)).toEqual([2]);
    expect(linesOf(pages)).toEqual(["[1]", "[2]"]);
  });

  it("of nothing are no page", async () => {
    expect(await pagesOf(chunks())).toEqual([]);
    expect(await pagesOf(chunks("\n \n"))).toEqual([]);
  });

  it("keep numbers that JavaScript cannot hold", async () => {
    expect(linesOf(await pagesOf(chunks("[12345678901234567890123]\n")))).toEqual(["[12345678901234567890123]"]);
  });
});

describe("what is wrong with a line", () => {
  it.each([
    ["[1", "invalid_json"],
    ["7", "invalid_json"],
    ["null", "invalid_json"],
    ["[1,2,3]", "invalid_arguments"],
    ['{"c":1}', "invalid_arguments"],
    ["{}", "invalid_arguments"],
    [`${"[".repeat(5_000)}`, "body_too_deep"],
  ])("%s: %s", async (line, code) => {
    const error = await refused(`[0]\n\n[1]\n${line}\n[3]\n`, PLAIN, 40);
    expect(error).toMatchObject({ code, details: { index: 42 } });
    expect(error.message).toMatch(/^input 42: /);
  });

  it("is told of bytes that are not UTF-8", async () => {
    const bad = Buffer.concat([Buffer.from('["'), Buffer.from([0xff]), Buffer.from('"]\n')]);
    await expect(pagesOf(chunks("[0]\n", bad))).rejects.toMatchObject({ code: "invalid_json", details: { index: 1 } });
  });

  it("is its length, found before it ends", async () => {
    let sent = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("[0]\n");
      for (; ; sent += 65_536) yield Buffer.alloc(65_536, "x");
    }
    await expect(pagesOf(endless())).rejects.toMatchObject({ code: "body_too_large", details: { index: 1 } });
    expect(sent).toBeLessThan(MAX_LINE_BYTES + 3 * 65_536);
    const whole = `["${"x".repeat(MAX_LINE_BYTES)}"]\n`;
    expect(await refused(`[0]\n${whole}`)).toMatchObject({ code: "body_too_large", details: { index: 1 } });
    const longest = `["${"x".repeat(MAX_LINE_BYTES - 4)}"]`;
    expect(linesOf(await pagesOf(chunks(`[0]\n${longest}\n[2]`)))).toEqual(["[0]", longest, "[2]"]);
  });

  it("lets pages before it pass", async () => {
    const good = "[1]\n".repeat(PAGE_INPUTS + 1);
    const pages: InputPage[] = [];
    const reading = async () => {
      for await (const page of read(chunks(`${good}bad\n`))) pages.push(page);
    };
    await expect(reading()).rejects.toMatchObject({ details: { index: PAGE_INPUTS + 1 } });
    expect(pages.map(({ count }) => count)).toEqual([PAGE_INPUTS]);
  });
});

describe("pages", () => {
  it("hold so many inputs and so many bytes at most; what is longer than a page is one", async () => {
    const many = await pagesOf(chunks("[1]\n".repeat(2 * PAGE_INPUTS + 5)));
    expect(many.map(({ count }) => count)).toEqual([PAGE_INPUTS, PAGE_INPUTS, 5]);
    const line = `["${"x".repeat(PAGE_BYTES / 4)}"]\n`;
    const large = `["${"y".repeat(PAGE_BYTES + 9)}"]\n`;
    const pages = await pagesOf(chunks(line.repeat(4) + large + line));
    expect(pages.map(({ count }) => count)).toEqual([3, 1, 1, 1]);
    for (const { count, body } of pages) expect(count === 1 || body.length <= PAGE_BYTES).toBe(true);
  });

  it("go on their way when the sender pauses", async () => {
    let goOn = (): void => {};
    async function* pausing(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("[1]\n[2]\n[3");
      await new Promise<void>((resolve) => (goOn = resolve));
      yield Buffer.from("]\n");
    }
    const pages = read(pausing());
    expect(await pages.next()).toMatchObject({ value: { count: 2, body: Buffer.from("[1]\n[2]") } });
    const rest = pages.next();
    goOn();
    expect(await rest).toMatchObject({ value: { count: 1, body: Buffer.from("[3]") } });
    expect(await pages.next()).toMatchObject({ done: true });
  });

  it("end with the source's own error", async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("[1]\n");
      throw new Error("gone");
    }
    await expect(pagesOf(broken())).rejects.toThrow("gone");
  });

  it("that nobody wants any more close the source", async () => {
    let isClosed = false;
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield Buffer.from("[1]\n".repeat(PAGE_INPUTS));
      } finally {
        isClosed = true;
      }
    }
    for await (const page of read(source())) if (page.count > 0) break;
    expect(isClosed).toBe(true);
  });
});

describe("the call form", () => {
  it("has named and positional arguments, checked", async () => {
    const lines = ['{"args":[1],"kwargs":{"b":2}}', '{"kwargs":{"a":1}}', "[1]"];
    expect(linesOf(await pagesOf(chunks(lines.join("\n")), CALL))).toEqual(lines);
    expect(await refused('{"args":[1,2,3]}', CALL)).toMatchObject({ code: "invalid_arguments" });
    expect(await refused('{"args":1}', CALL)).toMatchObject({ code: "bad_request" });
    expect(await refused('{"a":1}', CALL)).toMatchObject({ code: "bad_request" });
  });

  it("takes pickles unopened, from the function's own Python only", async () => {
    const line = '{"pickle":"gASVAAAA"}';
    expect(linesOf(await pagesOf(chunks(line), { ...CALL, acceptsPickles: true }))).toEqual([line]);
    expect(await refused(line, CALL)).toMatchObject({ code: "python_mismatch", details: { index: 0 } });
    const accepting = { ...CALL, acceptsPickles: true };
    for (const bad of ['{"pickle":"a b"}', '{"pickle":""}', '{"pickle":7}', '{"pickle":"AA==","args":[]}'])
      expect(await refused(bad, accepting)).toMatchObject({ code: "bad_request" });
  });
});
