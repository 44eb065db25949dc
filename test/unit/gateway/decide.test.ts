/** The gateway's pure decisions: arguments, depth, waiting, ranges, timings, placement, archives, repairs. */
import { describe, expect, it, test } from "vitest";
import type { NodeFacts } from "../../../core/capacity-ledger.ts";
import { misfits } from "../../../core/check-arguments.ts";
import { decodeCall } from "../../../core/decode-call.ts";
import { neverFits } from "../../../core/fits-node.ts";
import { isDeeperThan } from "../../../core/json-depth.ts";
import { serverTiming } from "../../../core/server-timing.ts";
import type { FunctionSpec } from "../../../core/spec.ts";
import type { QueuedEntry } from "../../../core/state-store.ts";
import { checkEntry } from "../../../gateway/check-archive.ts";
import { parseDeployment } from "../../../gateway/check-deployment.ts";
import { waitMs } from "../../../gateway/prefer.ts";
import { byteRange } from "../../../gateway/range-header.ts";
import { previous } from "../../../gateway/rollback.ts";
import { pauseMs, planRepairs, type Repair } from "../../../gateway/sweep.ts";

type Parameters = NonNullable<FunctionSpec["parameters"]>;
const normal = (name: string, required = true) => ({ name, kind: "normal" as const, required });

describe("arguments against parameters", () => {
  const ab: Parameters = [normal("a"), normal("b", false)];
  const cases: [string, Parameters, number, string[], string[]][] = [
    ["all by position", ab, 2, [], []],
    ["all by name", ab, 0, ["b", "a"], []],
    ["default left out", ab, 1, [], []],
    ["missing", ab, 0, ["b"], ["missing argument 'a'"]],
    ["unknown", ab, 1, ["c"], ["unknown argument 'c'"]],
    ["too many", ab, 3, [], ["takes 2 positional arguments, 3 given"]],
    ["twice", ab, 1, ["a"], ["argument 'a' given by position and by name"]],
    ["*args takes more", [...ab, { name: "rest", kind: "args", required: false }], 9, [], []],
    ["**kwargs takes more", [...ab, { name: "more", kind: "kwargs", required: false }], 1, ["z"], []],
    ["keyword-only missing", [{ name: "k", kind: "keyword", required: true }], 0, [], ["missing argument 'k'"]],
    [
      "keyword-only by position",
      [{ name: "k", kind: "keyword", required: false }],
      1,
      [],
      ["takes 0 positional arguments, 1 given"],
    ],
    [
      "positional-only by name",
      [{ name: "p", kind: "positional", required: true }],
      0,
      ["p"],
      ["missing argument 'p'", "unknown argument 'p'"],
    ],
    [
      "a parameter named like Object's",
      ab,
      1,
      ["__proto__", "constructor"],
      ["unknown argument '__proto__'", "unknown argument 'constructor'"],
    ],
  ];
  test.each(cases)("%s", (_name, parameters, positional, named, expected) => {
    expect(misfits(parameters, { positional, named })).toEqual(expected);
  });
});

describe("a call's body", () => {
  const target = { name: "f", spec: { name: "f", parameters: null } as unknown as FunctionSpec, python: "3.11" };
  const decode = (body: string | Buffer, headers = {}) => decodeCall(Buffer.from(body), headers, target);
  const code = (act: () => unknown) => {
    try {
      act();
    } catch (error) {
      return (error as { code: string }).code;
    }
    return "none";
  };

  it("keeps the caller's bytes, so that large numbers survive", () => {
    expect(decode('{"n":12345678901234567890}').input.toString()).toBe(
      '{"args":[],"kwargs":{"n":12345678901234567890}}',
    );
    expect(decode("[1,2]").input.toString()).toBe('{"args":[1,2],"kwargs":{}}');
    expect(decode("").input.toString()).toBe('{"args":[],"kwargs":{}}');
    expect(decode('{"args":[1]}', { form: "call" }).input.toString()).toBe('{"args":[1]}');
  });

  const bad: [string, string | Buffer, object, string][] = [
    ["no JSON", "{", {}, "invalid_json"],
    ["a bare number", "3", {}, "invalid_json"],
    ["null", "null", {}, "invalid_json"],
    ["broken UTF-8", Buffer.from([0x22, 0xff, 0x22]), {}, "invalid_json"],
    ["a byte order mark", "\ufeff{}", {}, "invalid_json"],
    ["NaN", "[NaN]", {}, "invalid_json"],
    ["101 levels", "[".repeat(101) + "]".repeat(101), {}, "body_too_deep"],
    ["a million levels", "[".repeat(1_000_000), {}, "body_too_deep"],
    ["call form with more", '{"args":[],"x":1}', { form: "call" }, "bad_request"],
    ["call form with kwargs as array", '{"kwargs":[]}', { form: "call" }, "bad_request"],
    ["call form of null", "null", { form: "call" }, "bad_request"],
    ["an unknown form", "{}", { form: "zip" }, "bad_request"],
    [
      "a pickle of another Python",
      "x",
      { contentType: "application/vnd.fabric.pickle", python: "3.9" },
      "python_mismatch",
    ],
    ["a pickle without a Python", "x", { contentType: "application/vnd.fabric.pickle" }, "bad_request"],
  ];
  test.each(bad)("%s is refused", (_name, body, headers, expected) => {
    expect(code(() => decode(body, headers))).toBe(expected);
  });

  it("takes pickles of the image's Python, and promises them back only to such callers", () => {
    const pickle = { contentType: "application/vnd.fabric.pickle", python: "3.11", accept: "pickle" };
    expect(decode("x", pickle)).toMatchObject({ encoding: "pickle", acceptPickle: true });
    expect(decode("{}", { python: "3.9", accept: "pickle" }).acceptPickle).toBe(false);
  });
});

it("counts depth outside of strings only", () => {
  expect(isDeeperThan(Buffer.from('{"a":"[[[[[[\\"[[["}'), 1)).toBe(false);
  expect(isDeeperThan(Buffer.from("[[]]"), 1)).toBe(true);
  expect(isDeeperThan(Buffer.from("[[],[],[]]"), 2)).toBe(false);
});

test.each([
  [undefined, 60_000],
  ["respond-async", 0],
  ["wait=5", 5_000],
  ["wait=0", 0],
  ['Wait="2", handling=lenient', 2_000],
  ["wait=9999", 600_000],
  ["wait=soon", 60_000],
  ["wait=-1", 60_000],
  ["wait=5, respond-async", 0],
])("Prefer: %s waits %i ms", (header, expected) => {
  expect(waitMs(header)).toBe(expected);
});

test.each([
  [undefined, "whole"],
  ["bytes=0-0", { start: 0, end: 0 }],
  ["bytes=5-", { start: 5, end: 9 }],
  ["bytes=5-99", { start: 5, end: 9 }],
  ["bytes=-3", { start: 7, end: 9 }],
  ["bytes=-99", { start: 0, end: 9 }],
  ["bytes=10-", "unsatisfiable"],
  ["bytes=-0", "unsatisfiable"],
  ["bytes=4-2", "whole"],
  ["bytes=0-1,3-4", "whole"],
  ["lines=1-2", "whole"],
])("Range %s of 10 bytes", (header, expected) => {
  expect(byteRange(header, 10)).toEqual(expected);
});

it("says where the time went, phase by phase", () => {
  const ended = { createdAt: 0, claimedAt: 10, startedAt: 110, endedAt: 150, finishedAt: 152, bootMs: 90, enterMs: 30 };
  expect(serverTiming(ended)).toBe("queue;dur=10, place;dur=10, boot;dur=60, enter;dur=30, run;dur=40, store;dur=2");
  expect(serverTiming({ createdAt: 5 })).toBe("");
});

describe("placement", () => {
  const gpu = { uuid: "GPU-1", model: "NVIDIA A100-SXM4-80GB", memoryBytes: 1 };
  const node = (facts: Partial<NodeFacts>) =>
    ({ cpuMillis: 4000, memoryBytes: 2 ** 30, gpus: [], ...facts }) as NodeFacts;
  const fn = (facts: object) => ({ name: "f", cpu: 1, memory: 512, gpu: null, ...facts }) as FunctionSpec;
  test.each([
    ["fits", {}, []],
    ["cpu", { cpu: 8 }, ["f asks for 8 cpu, 512 MiB: no node has enough cpu: 8 asked, 4 there"]],
    ["memory by its request", { memory: [512, 4096] }, []],
    [
      "memory",
      { memory: 4096 },
      ["f asks for 1 cpu, 4096 MiB: no node has enough memory: 4096 MiB asked, 1024 MiB there"],
    ],
    ["a GPU by part of its name", { gpu: "a100" }, []],
    [
      "two GPUs",
      { gpu: "A100:2" },
      ["f asks for 1 cpu, 512 MiB and gpu A100:2: no node has enough gpu A100: 2 asked, 1 there"],
    ],
    [
      "another GPU",
      { gpu: "H100" },
      ["f asks for 1 cpu, 512 MiB and gpu H100: no node has enough gpu H100: 1 asked, 0 there"],
    ],
    ["any GPU", { gpu: "any" }, []],
  ])("%s", (_name, wish, expected) => {
    expect(neverFits([fn(wish)], [node({}), node({ gpus: [gpu] })])).toEqual(expected);
  });
  it("waits for the first node before it refuses", () => expect(neverFits([fn({ cpu: 900 })], [])).toEqual([]));
});

describe("entries of an archive", () => {
  const seen = new Map<string, "file" | "directory">([
    ["a.py", "file"],
    ["pkg", "directory"],
  ]);
  const file = (name: string, more = {}) => ({ name, type: "file" as const, mode: 0o644, ...more });
  test.each([
    file("/etc/passwd"),
    file("../x"),
    file("pkg/../../x"),
    file("pkg/./x"),
    file("pkg//x"),
    file("pkg\\..\\x"),
    file("a\nb"),
    file("a\0b"),
    file(""),
    file("."),
    file("x".repeat(2000)),
    file("a.py"),
    file("./a.py"),
    file("a.py/inside"),
    file("su", { mode: 0o4755 }),
    file("sg", { mode: 0o2755 }),
    { name: "pkg/", type: "directory" as const, mode: 0o755 },
    ...(["symlink", "link", "character-device", "block-device", "fifo", "contiguous-file", null] as const).map(
      (type) => ({
        ...file("thing"),
        type: type as "file",
      }),
    ),
  ])("refuses $type $name $mode", (header) => {
    expect(() => checkEntry(header, seen)).toThrow(expect.objectContaining({ code: "archive_invalid" }));
  });
  test.each([
    [file("./pkg/b.py"), "pkg/b.py"],
    [file("..."), "..."],
    [file("pkg/..hidden"), "pkg/..hidden"],
    [file("\u00fcber.py"), "\u00fcber.py"],
    [{ name: "./", type: "directory" as const, mode: 0o755 }, ""],
  ])("takes %o", (header, path) => expect(checkEntry(header, seen)).toBe(path));
});

describe("repairs", () => {
  const entry = (id: string): QueuedEntry => ({ key: "a/f", id, generation: 1 });
  it("enqueues what is in the outbox, expires leases, and looks only at queued entries that are not in the outbox", () => {
    const plan = planRepairs({
      outbox: [entry("inv_1")],
      expired: [{ id: "inv_2", generation: 3 }],
      queued: [
        { entry: entry("inv_1"), held: false },
        { entry: entry("inv_3"), held: false },
        { entry: entry("inv_4"), held: true },
      ],
      idleMaps: ["inv_5"],
    });
    const idOf = (repair: Repair) =>
      "map" in repair ? repair.map : "entry" in repair ? repair.entry.id : repair.attempt.id;
    expect(plan.map((repair) => [repair.step, idOf(repair)])).toEqual([
      ["enqueue", "inv_1"],
      ["expire", "inv_2"],
      ["readd", "inv_3"],
      ["seen", "inv_4"],
      ["seal", "inv_5"],
    ]);
  });
  it("backs off, and not for ever", () => {
    expect([0, 1, 2, 3, 4, 50].map((failures) => pauseMs(failures, 15_000))).toEqual([
      1_000, 2_000, 4_000, 8_000, 15_000, 15_000,
    ]);
  });
});

it("rolls back to the number below", () => {
  expect(previous(["1", "2", "9", "10"], "10")).toBe("9");
  expect(previous(["3"], "3")).toBeUndefined();
});

describe("a deployment's classes", () => {
  const method = (name: string, more = {}) => ({ name, ...more });
  const batched = { batched: { max_batch_size: 2, wait_ms: 1 } };
  const deploy = (cls: object, ...others: object[]) =>
    parseDeployment("a", {
      app: "a",
      source: "0".repeat(64),
      images: { i: { python: "3.11" } },
      functions: [cls, ...others].map((one) => ({ image: "i", entry: { module: "m", qualname: "M" }, ...one })),
    });
  const cls = (methods: object[], more = {}) => ({ name: "M", class: { parameters: [], methods }, ...more });
  test.each([
    [cls([method("f"), method("f")]), [], "function_duplicate"],
    [cls([method("f")]), [{ name: "M.f" }], "function_duplicate"],
    [cls([method("f", batched), method("g")]), [], "bad_request"],
    [cls([method("f")], { schedule: { cron: "* * * * *" } }), [], "bad_request"],
    [cls([]), [], "bad_request"],
    [cls([method("f")], { name: "A.B.C.D" }), [], "invalid_name"],
    [
      cls([method("f")], { class: { parameters: [{ name: "n", type: "int", default: "1" }], methods: [method("f")] } }),
      [],
      "bad_request",
    ],
  ])("%j with %j is refused: %s", (one, others, code) => {
    expect(() => deploy(one, ...others)).toThrow(expect.objectContaining({ code }));
  });
  test.each([
    [{ name: "nightly", schedule: { cron: "* *" } }, "function 'nightly': schedule"],
    [{ name: "f", cpu: 0 }, "function 'f': cpu"],
    [{ name: "f-\n" }, "function 'f-\n': name"],
    [{ name: 7 }, "functions.1.name"],
    [7, "functions.1"],
  ])("tells of %j by its name", (bad, words) => {
    const good = { name: "good", image: "i", entry: { module: "m", qualname: "M" } };
    const functions = [good, typeof bad === "object" ? { ...good, ...bad } : bad];
    const body = { app: "a", source: "0".repeat(64), images: { i: { python: "3.11" } }, functions };
    expect(() => parseDeployment("a", body)).toThrow(words);
  });
  it("tells of an image by a function that uses it", () => {
    const functions = [{ name: "f", image: "i", entry: { module: "m", qualname: "M" } }];
    const body = { app: "a", source: "0".repeat(64), images: { i: { python: "two" } }, functions };
    expect(() => parseDeployment("a", body)).toThrow("image of function 'f': python: a minor version");
  });
  it("may have a method named like another class' method", () => {
    expect(deploy(cls([method("f")]), { ...cls([method("f", batched)]), name: "N" }).functions).toHaveLength(2);
  });
});
