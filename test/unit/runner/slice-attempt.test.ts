/** One attempt of a slice, step by step: what its container says and does not say, and what becomes of its inputs. */
import { pino } from "pino";
import { beforeEach, describe, expect, it } from "vitest";
import { manualClock } from "../../../core/clock.ts";
import { FabricError } from "../../../core/errors.ts";
import type { InvocationRecord } from "../../../core/invocation.ts";
import { decodeBlock } from "../../../core/map.ts";
import type { Again } from "../../../core/map-store.ts";
import type { ToShim } from "../../../core/protocol.ts";
import type { ContainerLink } from "../../../runner/container-contract.ts";
import { createSliceAttempt, type SliceDeps } from "../../../runner/slice-attempt.ts";

const ME = { id: "inv_a.1", generation: 1 };
const ok = (index: number): string => `{"index":${index},"result":${index}}\n`;
const bad = (index: number): string =>
  `${JSON.stringify({ index, error: { code: "exception", message: "no", type: "ValueError" } })}\n`;
/** Promises that are kept already have been acted on. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

interface Finished {
  outcomes: { index: number; code?: string }[];
  head?: { first: number; count: number; key?: string };
  succeeded: number;
  failed: number;
  again: Again[];
}

function setUp(more: Partial<InvocationRecord> & { batches?: boolean } = {}) {
  const clock = manualClock();
  const sent: { header: ToShim; body?: Buffer }[] = [];
  const events: string[] = [];
  const finished: Finished[] = [];
  const splits: number[] = [];
  const requeued: string[] = [];
  const objects = new Map<string, Buffer>();
  const fails = { finish: 0, put: 0 };
  let giveLines = (): void => {};
  const away = (): never => {
    throw new FabricError("redis_unavailable", "away");
  };
  const record = {
    ...{
      ...ME,
      app: "a",
      fn: "f",
      timeoutMs: 1_000,
      retries: 0,
      userFaults: 0,
      platformFaults: 0,
      acceptPickle: false,
    },
    slice: { map: "inv_a", first: 10, count: 5, page: 10, solo: false },
    ...more,
  } as InvocationRecord;
  const deps = {
    ...{ clock, log: pino({ level: "silent" }), cancelGraceMs: 500 },
    invocations: {
      requeue: async (_me: unknown, charge: string, why: string) => void requeued.push(`${charge}: ${why}`),
    },
    objects: {
      async put(key: string, bytes: Buffer) {
        if (fails.put-- > 0) away();
        objects.set(key, bytes);
      },
    },
    maps: {
      async split(_me: unknown, keep: number) {
        splits.push(keep);
        return { key: "a/f", id: "inv_a.2", generation: 1 };
      },
      async finish(_me: unknown, ended: { block?: Buffer; succeeded: number; failed: number; again: Again[] }) {
        if (fails.finish-- > 0) away();
        const { head, lines } = ended.block ? decodeBlock(ended.block) : {};
        const text = (lines ?? (head?.key && objects.get(head.key)) ?? "").toString();
        const outcomes = text
          .split("\n")
          .filter(Boolean)
          .map((line) => JSON.parse(line));
        const { succeeded, failed, again } = ended;
        const told = outcomes.map(({ index, error }) => ({ index, ...(error ? { code: error.code } : {}) }));
        finished.push({ outcomes: told, head, succeeded, failed, again });
        return { entries: [] };
      },
    },
    pages: {
      async lines(_map: string, page: number, first: number, count: number) {
        await new Promise<void>((resolve) => (giveLines = resolve));
        return Buffer.from(Array.from({ length: count }, (_, i) => `[${page + first - 10 + i}]`).join("\n"));
      },
    },
    offer: async ({ id }: { id: string }) => void events.push(`offered ${id}`),
  } as unknown as SliceDeps;
  const attempt = createSliceAttempt(
    deps,
    { key: "a/f", record, acknowledge: async () => void events.push("acknowledged") },
    {
      onInputs: (count, ms) => events.push(`${count} inputs in ${ms} ms`),
      onReleased: () => events.push("released"),
      onEnded: () => events.push("ended"),
    },
  );
  const link: ContainerLink = {
    ...{ id: "con_1", streams: () => undefined, bootMs: () => 0, enterMs: () => 0 },
    send: (header, body) => sent.push({ header, body }) > 0,
    batches: () => more.batches === true,
    kill: (why) => events.push(`killed: ${why}`),
  };
  const results = (first: number, text: string, last = false) =>
    attempt.onResults!({ type: "results", ...ME, first, last, run_ms: 1 }, Buffer.from(text));
  return {
    ...{ attempt, clock, sent, events, finished, splits, requeued, objects, fails, link, results },
    types: () => sent.map(({ header }) => header.type),
    trimmed: (next: number) => attempt.onTrimmed!({ type: "trimmed", ...ME, next }),
    async begin() {
      attempt.begin(link);
      giveLines();
      await settled();
    },
    fetchLines: async () => {
      giveLines();
      await settled();
    },
    async end(): Promise<Finished> {
      await settled();
      expect(finished).toHaveLength(1);
      return finished[0]!;
    },
  };
}
let t: ReturnType<typeof setUp>;
beforeEach(() => {
  t = setUp();
});

describe("a slice that runs through", () => {
  it("gets its inputs in one frame and ends with a block, acknowledged last", async () => {
    await t.begin();
    expect(t.sent[0]).toMatchObject({ header: { type: "inputs", first: 10, timeout_ms: 1_000 } });
    expect(t.sent[0]!.body!.toString()).toBe("[10]\n[11]\n[12]\n[13]\n[14]");
    t.results(10, ok(10) + ok(11));
    t.results(12, bad(12) + ok(13) + ok(14), true);
    const { outcomes, head, succeeded, failed, again } = await t.end();
    expect(outcomes).toEqual(
      [10, 11, 12, 13, 14].map((index) => (index === 12 ? { index, code: "exception" } : { index })),
    );
    expect({ head, succeeded, failed, again }).toMatchObject({
      head: { first: 10, count: 5 },
      succeeded: 4,
      failed: 1,
      again: [],
    });
    expect(t.events).toEqual(["2 inputs in 1 ms", "3 inputs in 1 ms", "released", "acknowledged", "ended"]);
    expect(t.types()).toEqual(["inputs", "ack"]);
  });

  it("keeps outcomes that are large in the bucket, whenever that is there", async () => {
    await t.begin();
    t.fails.put = 1;
    t.results(10, `{"index":10,"result":"${"x".repeat(20_000)}"}\n`);
    t.results(11, [11, 12, 13, 14].map(ok).join(""), true);
    await expect.poll(() => t.finished.length, { timeout: 3_000 }).toBe(1);
    expect(t.finished[0]!.head!.key).toBe("invocations/inv_a/blocks/1-1");
    expect(t.finished[0]!.outcomes).toHaveLength(5);
  });

  it("waits for a store that is away when it ends", async () => {
    await t.begin();
    t.fails.finish = 2;
    t.results(10, [10, 11, 12, 13, 14].map(ok).join(""), true);
    await expect.poll(() => t.finished.length, { timeout: 5_000 }).toBe(1);
    await settled();
    expect(t.events.slice(-2)).toEqual(["acknowledged", "ended"]);
  });

  it("goes on after a restart of the runner with what is told again", async () => {
    t.attempt.adopt(t.link);
    t.results(10, ok(10));
    t.results(10, ok(10) + ok(11));
    t.results(12, ok(12) + ok(13) + ok(14), true);
    expect((await t.end()).outcomes.map(({ index }) => index)).toEqual([10, 11, 12, 13, 14]);
  });

  it("queues what its container did not start", async () => {
    await t.begin();
    t.results(10, ok(10), true);
    expect(await t.end()).toMatchObject({
      head: { count: 1 },
      again: [{ first: 11, count: 4, charge: "none", solo: false }],
    });
  });
});

describe("a slow slice", () => {
  it("is trimmed once, and gives back what was not started", async () => {
    await t.begin();
    t.clock.advance(250);
    t.clock.advance(250);
    expect(t.types()).toEqual(["inputs", "trim"]);
    t.trimmed(12);
    await settled();
    expect([t.splits, t.events]).toEqual([[2], ["offered inv_a.2"]]);
    t.results(10, ok(10) + ok(11), true);
    expect(await t.end()).toMatchObject({ head: { first: 10, count: 2 }, again: [] });
  });

  it("cannot tell outcomes of inputs that it gave back, nor give back what has ended", async () => {
    await t.begin();
    t.clock.advance(250);
    t.results(10, ok(10) + ok(11));
    expect(() => t.trimmed(11)).toThrow("gives back inputs that have ended");
    t.trimmed(12);
    expect(() => t.results(12, ok(12))).toThrow("which it was not given");
    t.attempt.onContainerEnd({ fault: new FabricError("container_killed", "it broke the protocol").toBody() });
    expect(await t.end()).toMatchObject({ succeeded: 2, failed: 0, again: [] });
  });

  it("is trimmed, too, when its outcomes are many bytes", async () => {
    await t.begin();
    const large = (index: number): string => `{"index":${index},"result":"${"x".repeat(700_000)}"}\n`;
    for (let index = 10; index < 13; index++) t.results(index, large(index));
    expect(t.types()).toEqual(["inputs"]);
    const many = setUp({ slice: { map: "inv_a", first: 10, count: 20, page: 10, solo: false } });
    await many.begin();
    for (let index = 10; index < 17; index++) many.results(index, large(index));
    expect(many.types()).toEqual(["inputs", "trim"]);
  });
});

describe("time", () => {
  it("is each input's own: one that is late ends alone", async () => {
    await t.begin();
    t.clock.advance(900);
    t.results(10, ok(10));
    t.clock.advance(900);
    t.results(11, ok(11));
    expect(t.types()).not.toContain("cancel");
    t.clock.advance(1_000);
    expect(t.sent.at(-1)!.header).toMatchObject({ type: "cancel", reason: "timed_out", index: 12 });
    t.results(12, `${JSON.stringify({ index: 12, error: { code: "timed_out", message: "late" } })}\n`);
    t.results(13, ok(13) + ok(14), true);
    expect((await t.end()).outcomes[2]).toEqual({ index: 12, code: "timed_out" });
  });

  it("that an input ignores ends its container; the others run again without charge", async () => {
    await t.begin();
    t.results(10, ok(10));
    t.clock.advance(1_000);
    t.clock.advance(500);
    expect(t.events.at(-1)).toBe("killed: inv_a.1 did not end after it was timed out");
    t.attempt.onContainerEnd({ again: "its container was killed" });
    expect(await t.end()).toMatchObject({
      outcomes: [{ index: 10 }, { index: 11, code: "timed_out" }],
      again: [{ first: 12, count: 3, charge: "none", solo: false }],
    });
  });
});

describe("a container that dies", () => {
  const crashed = new FabricError("container_crashed", "SIGSEGV").toBody();

  it("after its last outcome has nothing run again", async () => {
    await t.begin();
    t.results(10, [10, 11, 12, 13, 14].map(ok).join(""));
    t.clock.advance(1_000);
    t.attempt.onContainerEnd({ fault: crashed });
    expect(await t.end()).toMatchObject({ succeeded: 5, failed: 0, again: [] });
  });

  it("with several inputs left has each run alone, without charge", async () => {
    await t.begin();
    t.results(10, ok(10) + ok(11));
    t.attempt.onContainerEnd({ fault: crashed });
    expect(await t.end()).toMatchObject({
      ...{ succeeded: 2, failed: 0 },
      again: [{ first: 12, count: 3, charge: "none", solo: true }],
    });
  });

  it("with one input left has that one's fault", async () => {
    await t.begin();
    t.results(10, [10, 11, 12, 13].map(ok).join(""));
    t.attempt.onContainerEnd({ fault: crashed });
    expect(await t.end()).toMatchObject({ succeeded: 4, failed: 1, again: [] });
    const alone = setUp({ retries: 1, slice: { map: "inv_a", first: 10, count: 1, page: 10, solo: true } });
    await alone.begin();
    alone.attempt.onContainerEnd({ fault: crashed });
    expect(await alone.end()).toMatchObject({ failed: 0, again: [{ first: 10, count: 1, charge: "user" }] });
  });

  it("from outside is nobody's fault, but counted", async () => {
    await t.begin();
    t.results(10, ok(10));
    t.attempt.onContainerEnd({ fault: new FabricError("container_killed", "killed from outside").toBody() });
    const { again } = await t.end();
    expect(again).toMatchObject([{ first: 11, count: 4, charge: "platform", solo: false }]);
  });

  it("because of another attempt has all run again", async () => {
    await t.begin();
    t.attempt.onContainerEnd({ again: "its neighbour ended it" });
    expect(await t.end()).toMatchObject({
      head: undefined,
      again: [{ first: 10, count: 5, charge: "none", solo: false }],
    });
  });

  it("with inputs that run at most once has failed them", async () => {
    const once = setUp({ atMostOnce: true });
    await once.begin();
    once.results(10, ok(10));
    once.attempt.onContainerEnd({ again: "its neighbour ended it" });
    expect(await once.end()).toMatchObject({ succeeded: 1, failed: 4, again: [] });
  });
});

describe("leaving early", () => {
  it("on a cancel tells the container, and what has ended counts", async () => {
    await t.begin();
    t.results(10, ok(10));
    t.attempt.cancel("cancelled");
    expect(t.sent.at(-1)!.header).toMatchObject({ type: "cancel", reason: "cancelled" });
    t.results(11, `${JSON.stringify({ index: 11, error: { code: "cancelled", message: "" } })}\n`, true);
    expect(await t.end()).toMatchObject({
      outcomes: [{ index: 10 }, { index: 11, code: "cancelled" }],
      again: [{ first: 12, count: 3 }],
    });
  });

  it("on a cancel before its inputs are there sends none of them", async () => {
    t.attempt.begin(t.link);
    t.attempt.cancel("cancelled");
    await t.fetchLines();
    expect(t.types()).not.toContain("inputs");
    expect(await t.end()).toMatchObject({ head: undefined, again: [{ first: 10, count: 5 }] });
  });

  it("without its lease stores nothing and ends its container first", async () => {
    await t.begin();
    t.results(10, ok(10));
    t.attempt.lose();
    await settled();
    expect(t.finished).toEqual([]);
    expect(t.events.slice(1, 3)).toEqual(["killed: the lease of inv_a.1 was lost", "released"]);
    t.results(11, ok(11), true);
    await settled();
    expect(t.finished).toEqual([]);
  });

  it("before a container has it, it is queued again as it is", async () => {
    t.attempt.giveBack("no room");
    await settled();
    expect([t.requeued, t.finished]).toEqual([["none: no room"], []]);
    const failing = setUp();
    failing.attempt.fault(new FabricError("image_build_failed", "no").toBody());
    await settled();
    expect(failing.requeued.length + failing.finished.length).toBe(1);
  });
});

describe("a batched function", () => {
  beforeEach(async () => {
    t = setUp({ batches: true });
    await t.begin();
  });

  it("takes one input as a call, and gives the others back", async () => {
    expect(t.sent[0]).toMatchObject({
      header: { type: "input", encoding: "json" },
      body: Buffer.from('{"args":[10]}'),
    });
    expect(t.splits).toEqual([1]);
    t.attempt.onResult({ type: "result", ...ME, encoding: "json", run_ms: 1 }, Buffer.from("7"));
    expect(await t.end()).toMatchObject({ outcomes: [{ index: 10 }], succeeded: 1 });
  });

  it("cannot answer for other inputs", async () => {
    const smuggled = Buffer.from('7}\n{"index":11,"result":8');
    expect(() => t.attempt.onResult({ type: "result", ...ME, encoding: "json", run_ms: 1 }, smuggled)).toThrow(
      "not given",
    );
  });

  it("fails its input with its error", async () => {
    const error = { code: "exception" as const, message: "no" };
    t.attempt.onError({ type: "error", ...ME, error, run_ms: 1 }, Buffer.from("pickle"));
    expect(await t.end()).toMatchObject({ outcomes: [{ index: 10, code: "exception" }], failed: 1 });
  });
});
