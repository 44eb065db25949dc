/** Maps over HTTP: lines in, lines out, both while the other goes on; slices are served as a runner would. */
import { once } from "node:events";
import { type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { FabricError, fail } from "../../core/errors.ts";
import { newId } from "../../core/ids.ts";
import { encodeBlock } from "../../core/map.ts";
import { streamResults } from "../../gateway/stream-results.ts";
import { sweepOnce } from "../../gateway/sweep.ts";
import { createClient } from "../../sdk/typescript/client.ts";
import type { MapOptions, MapOutcome } from "../../sdk/typescript/map.ts";
import { ADMIN, functionSpec, lines, startGateway, type TestGateway } from "../support/gateway.ts";
import { until } from "../support/redis.ts";

let gateway: TestGateway;
let listening: { port: number; close(): Promise<void> };
let stopServing: () => Promise<void> = async () => {};
const parameters = [{ name: "x", kind: "normal", required: true }];

beforeAll(async () => {
  gateway = await startGateway();
  listening = await gateway.listen();
  await gateway.deploy("app", [
    functionSpec("f", { parameters }),
    functionSpec("idle", { parameters }),
    functionSpec("gen", { is_generator: true }),
  ]);
  stopServing = await serveSlices("app/f", (line) => {
    if (line.includes("bad")) return { error: new FabricError("exception", "no").toBody() };
    return { result: line };
  });
});
afterAll(async () => {
  await stopServing();
  await listening?.close();
  await gateway?.close();
});

type Line = { result: unknown } | { error: unknown };

/** Claims every slice, at most `take` inputs at once, and ends its inputs as `answer` says. */
async function serveSlices(key: `${string}/${string}`, answer: (line: string) => Line, take = 3) {
  const { state, queue } = gateway.deps;
  const reader = await queue.open(key, "run_test");
  const owner = { runner: "run_test", node: "nod_test", leaseMs: 15_000, take };
  let isStopped = false;
  let busy: Promise<void> = Promise.resolve();
  const drain = async (): Promise<void> => {
    for (let entry = await reader.next(); entry && !isStopped; entry = await reader.next()) {
      const claim = await state.invocations.claim(entry, owner);
      await reader.acknowledge(entry);
      if (!claim?.record.slice) continue;
      if (claim.rest) await queue.add(key, claim.rest);
      const { map, page, first, count } = claim.record.slice;
      const inputs = (await state.maps.page(map, page))!
        .toString()
        .split("\n")
        .slice(first - page, first - page + count);
      const told = inputs.map((line, i) => ({ index: first + i, ...answer(line) }));
      const failed = told.filter((line) => "error" in line).length;
      const text = told.map((line) => `${JSON.stringify(line)}\n`).join("");
      await state.maps.finish(entry, {
        ...{ block: encodeBlock({ first, count }, Buffer.from(text)), again: [] },
        ...{ succeeded: count - failed, failed },
      });
    }
  };
  const next = () => {
    busy = busy.then(drain);
  };
  const stop = await state.hints.onWork((hinted) => hinted === key && next());
  next();
  return async () => {
    isStopped = true;
    stop();
    await busy;
    await reader.close();
  };
}

const MAP = "/v1/apps/app/functions/f/map";
const IDLE = "/v1/apps/app/functions/idle/map";
interface Sent {
  status: number;
  body: any;
}
async function post(path: string, body: string, headers: Record<string, string> = {}): Promise<Sent> {
  const reply = await gateway.request(path, { method: "POST", body, headers });
  return { status: reply.status, body: await reply.json() };
}
const open = async (path: string, body = "", headers: Record<string, string> = {}): Promise<string> => {
  const { status, body: told } = await post(`${path}?more=true`, body, { prefer: "respond-async", ...headers });
  expect(status).toBe(202);
  return told.id;
};
const record = (id: string) => gateway.deps.state.invocations.get(id);
const state = async (id: string) => (await record(id))?.state;
async function results(id: string, query = ""): Promise<any[]> {
  return lines(await (await gateway.request(`/v1/invocations/${id}/results${query}`)).text());
}
const mapsMade = async () => (await gateway.deps.state.invocations.list({ app: "app", limit: 1000 })).length;

/** Bytes both ways, by hand. */
function connect(
  path: string,
  headers: Record<string, string> = {},
): { sending: ClientRequest; reply: Promise<IncomingMessage> } {
  const sending = httpRequest({
    ...{ port: listening.port, method: "POST", path },
    headers: { authorization: `Bearer ${ADMIN}`, "content-type": "application/x-ndjson", ...headers },
  });
  const reply = once(sending, "response").then(([response]) => response as IncomingMessage);
  reply.catch(() => undefined); // of a connection that a test drops nobody awaits the reply
  return { sending, reply };
}
async function* told(reply: Promise<IncomingMessage>): AsyncGenerator<any> {
  let rest = "";
  for await (const chunk of await reply) {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop()!;
    for (const line of parts) if (line !== "") yield JSON.parse(line);
  }
}

describe("a map", () => {
  test("answers each line as it ends, and then the end", async () => {
    const reply = await gateway.request(MAP, { method: "POST", body: '[1]\n{"x":2}\n["bad"]\n[4]' });
    expect(reply.status).toBe(200);
    const all = lines(await reply.text());
    const end = all.pop();
    expect(end).toMatchObject({ ended: true, state: "failed", inputs: 4, failed: 1, error: { code: "inputs_failed" } });
    all.sort((a, b) => a.index - b.index);
    expect(all).toMatchObject([
      { index: 0, result: "[1]" },
      { index: 1, result: '{"kwargs":{"x":2}}' },
      { index: 2, error: { code: "exception" } },
      { index: 3, result: "[4]" },
    ]);
    const id = reply.headers.get("fabric-invocation")!;
    const shown = (await (await gateway.request(`/v1/invocations/${id}`)).json()) as any;
    expect(shown).toMatchObject({ state: "failed", inputs: { total: 4, failed: 1 } });
  });

  test("gives results while inputs are still being sent", async () => {
    const { sending, reply } = connect(MAP);
    sending.write("[0]\n");
    const answers = told(reply);
    for (let index = 0; index < 5; index++) {
      expect((await answers.next()).value).toEqual({ index, result: `[${index}]` });
      sending.write(`[${index + 1}]\n`);
    }
    sending.end();
    expect((await answers.next()).value).toMatchObject({ index: 5 });
    expect((await answers.next()).value).toMatchObject({ ended: true, state: "succeeded", inputs: 6 });
    expect((await answers.next()).done).toBe(true);
  });

  test("of no lines succeeds", async () => {
    expect(lines(await (await gateway.request(MAP, { method: "POST", body: "\n" })).text())).toEqual([
      { ended: true, state: "succeeded", inputs: 0, failed: 0 },
    ]);
  });

  test("is only accepted with Prefer: respond-async", async () => {
    const reply = await gateway.request(MAP, {
      method: "POST",
      body: "[1]\n[2]",
      headers: { prefer: "respond-async" },
    });
    const { id, inputs } = (await reply.json()) as any;
    expect([reply.status, inputs, reply.headers.get("location")]).toEqual([202, 2, `/v1/invocations/${id}`]);
    expect((await results(id)).at(-1)).toMatchObject({ ended: true, inputs: 2 });
    expect((await post(MAP, "[1]", { prefer: "respond-async", "fabric-delay": "5" })).status).toBe(400);
  });

  test("of a generator, of an unknown function and of an unknown form is refused and leaves nothing behind", async () => {
    const before = await mapsMade();
    expect((await post("/v1/apps/app/functions/gen/map", "[]")).body.error.code).toBe("invalid_arguments");
    expect((await post("/v1/apps/app/functions/none/map", "[]")).status).toBe(404);
    expect((await post(MAP, "[1]", { "fabric-body": "pickle" })).status).toBe(400);
    expect(await mapsMade()).toBe(before);
  });
});

describe("what is wrong with a line", () => {
  test("among the first ones leaves nothing behind, and is told with a status", async () => {
    const before = await mapsMade();
    for (const body of ["[1,2]\n", "[1]\nnonsense\n", `["${"x".repeat(800_000)}"]`]) {
      const { status, body: told } = await post(MAP, body);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(500);
      expect(told.error.details.index).toBe(body.startsWith("[1]\n") ? 1 : 0);
    }
    expect(await mapsMade()).toBe(before);
  });

  test("later on cancels the map, and the reply says which", async () => {
    const { sending, reply } = connect(MAP);
    sending.write("[0]\n");
    const answers = told(reply);
    expect((await answers.next()).value).toMatchObject({ index: 0 });
    sending.write("[1]\n{broken\n");
    let last: any;
    for await (const line of answers) if (!("index" in line)) last = line;
    expect(last).toMatchObject({ error: { code: "invalid_json", details: { index: 2 } } });
    const id = (await reply).headers["fabric-invocation"] as string;
    await until(async () => (await state(id)) === "cancelled", 5_000, "it is cancelled");
    sending.destroy();
  });

  test("later on is told with a status where only the accepting is waited for", async () => {
    const before = await mapsMade();
    const { status, body } = await post(MAP, `${"[1]\n".repeat(1001)}[1,2]`, { prefer: "respond-async" });
    expect([status, body.error.details.index]).toEqual([422, 1001]);
    expect(await mapsMade()).toBe(before + 1);
    const [made] = await gateway.deps.state.invocations.list({ app: "app", limit: 1 });
    expect(made!.state === "cancelled" || made!.cancelRequested).toBe(true);
  });

  test("is a pickle of another Python; of the same it is taken", async () => {
    const pickle = '{"pickle":"gASVAAAA"}';
    const form = { prefer: "respond-async", "fabric-body": "call", "fabric-accept": "pickle, redirect" };
    expect((await post(IDLE, pickle, { ...form, "fabric-python": "3.12" })).body.error.code).toBe("python_mismatch");
    const { status, body } = await post(IDLE, pickle, { ...form, "fabric-python": "3.11" });
    expect(status).toBe(202);
    expect(await record(body.id)).toMatchObject({ acceptPickle: true });
  });
});

describe("appending", () => {
  const inputs = (id: string, first: number, body: string, more = true) =>
    post(`/v1/invocations/${id}/inputs?first=${first}&more=${more}`, body);

  test("goes on where the last request ended, and the same inputs again change nothing", async () => {
    const id = await open(MAP, "[0]\n[1]");
    for (let again = 0; again < 2; again++)
      expect(await inputs(id, 2, "[2]\n[3]")).toMatchObject({ body: { inputs: 4 } });
    expect(await inputs(id, 4, "[4]", false)).toMatchObject({ status: 200, body: { id, inputs: 5 } });
    const all = await results(id);
    expect(
      all
        .slice(0, -1)
        .map(({ index }) => index)
        .sort(),
    ).toEqual([0, 1, 2, 3, 4]);
    expect(await inputs(id, 2, "[2]\n[3]")).toMatchObject({ status: 200 });
    expect(await results(id)).toEqual(all);
  });

  test("again in other pages than the first time adds what is new", async () => {
    const id = await open(IDLE, "[0]");
    await inputs(id, 1, "[1]\n[2]");
    expect(await inputs(id, 0, "[0]\n[1]\n[2]\n[3]\n[4]")).toMatchObject({ status: 200, body: { inputs: 5 } });
    expect(await record(id)).toMatchObject({ map: { total: 5 } });
    expect((await gateway.deps.state.maps.page(id, 3))!.toString()).toBe("[3]\n[4]");
  });

  test("is refused with a gap, behind the last input, after the end, and to what is no map", async () => {
    const id = await open(IDLE, "[0]");
    expect(await inputs(id, 5, "[5]")).toMatchObject({
      status: 409,
      body: { error: { code: "map_gap", details: { next: 1 } } },
    });
    await inputs(id, 1, "", false);
    expect((await inputs(id, 1, "[1]")).body.error.code).toBe("map_sealed");
    await gateway.request(`/v1/invocations/${id}/cancel`, { method: "POST" });
    expect((await inputs(id, 1, "[1]")).body.error.code).toBe("invocation_ended");
    expect((await inputs(newId("inv"), 0, "[1]")).status).toBe(404);
    expect((await inputs("nonsense", 0, "[1]")).status).toBe(404);
    const single = await post("/v1/apps/app/functions/idle/invocations", '{"x":1}', { prefer: "respond-async" });
    expect(await inputs(single.body.id, 0, "[1]")).toMatchObject({
      status: 400,
      body: { error: { code: "bad_request" } },
    });
    expect((await results(single.body.id))[0].error.code).toBe("bad_request");
    expect((await inputs(id, -1, "[1]")).status).toBe(400);
  });

  test("a bad line stores none of its page and names it; the map goes on", async () => {
    const id = await open(IDLE, "[0]");
    expect(await inputs(id, 1, "[1]\n7\n")).toMatchObject({ status: 400, body: { error: { details: { index: 2 } } } });
    expect(await record(id)).toMatchObject({ state: "queued", map: { total: 1 } });
    expect((await inputs(id, 1, "[1]\n[2]")).status).toBe(200);
  });
});

describe("a connection that drops in mid-upload", () => {
  async function dropped(headers: Record<string, string>): Promise<string> {
    const before = await mapsMade();
    const { sending } = connect(IDLE, headers);
    sending.on("error", () => undefined); // we drop it ourselves
    sending.write("[0]\n[1]\n[2");
    await until(async () => (await mapsMade()) > before, 5_000, "the map is made");
    const [made] = await gateway.deps.state.invocations.list({ app: "app", limit: 1 });
    await until(async () => (await record(made!.id))!.map!.total === 2, 5_000, "its first inputs are there");
    sending.destroy();
    return made!.id;
  }

  test("cancels the map: half of the inputs are not what was asked for", async () => {
    const id = await dropped({});
    await until(async () => (await state(id)) === "cancelled", 5_000, "it is cancelled");
  });

  test("leaves the map to who may send it again under the same key", async () => {
    const key = { "idempotency-key": "drops", prefer: "respond-async" };
    const id = await dropped(key);
    const again = await post(IDLE, "[0]\n[1]\n[2]\n[3]", key);
    expect(again).toMatchObject({ status: 202, body: { id, inputs: 4 } });
    expect(await record(id)).toMatchObject({ state: "queued", map: { total: 4, sealed: true } });
    expect((await post(IDLE, "[0]\n[1]\n[2]\n[3]", key)).body).toEqual({ id, inputs: 4 });
  });
});

describe("results", () => {
  let id: string;
  beforeEach(async () => {
    id = await open(MAP, Array.from({ length: 10 }, (_, i) => `[${i}]`).join("\n"));
    await until(async () => (await record(id))!.map!.done === 10, 5_000, "its inputs end");
  });

  test("go on from any cursor, and end when nobody is to wait", async () => {
    const all = await results(id, "?cursors=true&follow=false");
    const cursors = all.filter((line) => "cursor" in line).map(({ cursor }) => cursor);
    expect(cursors).toEqual([1, 2, 3, 4]);
    expect(all.filter((line) => "index" in line)).toHaveLength(10);
    for (const cursor of cursors) {
      const rest = await results(id, `?cursors=true&follow=false&after=${cursor}`);
      expect(rest).toEqual(all.slice(all.findIndex((line) => line.cursor === cursor) + 1));
    }
    expect(await results(id, "?after=99&follow=false")).toEqual([]);
    expect((await gateway.request(`/v1/invocations/${id}/results?after=-1`)).status).toBe(400);
  });

  test("outlast an outage at any of their looks at the store", async () => {
    const { state } = gateway.deps;
    await state.maps.seal(id);
    let outages = 0;
    const broken =
      <A extends unknown[], T>(act: (...args: A) => Promise<T>) =>
      async (...args: A): Promise<T> => {
        if (outages++ % 2 === 0) fail("redis_unavailable", "away");
        return act(...args);
      };
    const maps = { ...state.maps, onBlock: broken(state.maps.onBlock), blocks: broken(state.maps.blocks) };
    const invocations = { ...state.invocations, get: broken(state.invocations.get) };
    const deps = { ...gateway.deps, state: { ...state, maps, invocations } };
    const told = lines(await streamResults(deps, id, { after: 0, cursors: false, follow: true }).text());
    expect(told.filter((line) => "index" in line)).toHaveLength(10);
    expect(told.at(-1)).toMatchObject({ ended: true, state: "succeeded" });
    expect(outages).toBeGreaterThan(6);
  });

  test("of a map that is cancelled in the middle tell of every input", async () => {
    const idle = await open(IDLE, "[0]\n[1]\n[2]");
    const reading = results(idle);
    expect((await post(`/v1/invocations/${idle}/cancel`, "")).body.state).toBe("cancelled");
    expect(await reading).toMatchObject([
      ...[0, 1, 2].map((index) => ({ index, error: { code: "cancelled" } })),
      { ended: true, state: "cancelled", inputs: 3, failed: 3 },
    ]);
  });
});

describe("one input", () => {
  const input = async (id: string, index: number | string): Promise<Sent> => {
    const reply = await gateway.request(`/v1/invocations/${id}/inputs/${index}`);
    return { status: reply.status, body: await reply.json() };
  };

  test("waits, runs, runs again, and ends, each alone", async () => {
    const id = await open(IDLE, Array.from({ length: 6 }, (_, i) => `[${i}]`).join("\n"));
    const { state: store } = gateway.deps;
    expect(await input(id, 5)).toMatchObject({ status: 200, body: { id, index: 5, state: "queued", attempts: 0 } });
    const first = (await store.maps.sliceOf(id, 0))!;
    const owner = { runner: "run_x", node: "nod_x", leaseMs: 60_000, take: 4 };
    await store.invocations.claim({ id: first, generation: 1 }, owner);
    expect((await input(id, 3)).body).toMatchObject({ state: "running", attempts: 1, node: "nod_x" });
    expect((await input(id, 4)).body).toMatchObject({ state: "queued", attempts: 0 });
    const told = [
      { index: 0, result: { x: 1 } },
      { index: 2, error: new FabricError("exception", "no").toBody() },
    ];
    const text = [...told, { index: 3, pickle: "cA==" }].map((line) => `${JSON.stringify(line)}\n`).join("");
    const again = [{ first: 1, count: 1, charge: "user", solo: false, delayMs: 60_000, why: "retry 1 of 1" }] as const;
    await store.maps.finish(
      { id: first, generation: 1 },
      { block: encodeBlock({ first: 0, count: 4 }, Buffer.from(text)), succeeded: 2, failed: 1, again: [...again] },
    );
    expect((await input(id, 0)).body).toEqual({ id, index: 0, state: "succeeded", outcome: told[0] });
    expect((await input(id, 1)).body).toMatchObject({ state: "queued", attempts: 1, reason: "retry 1 of 1" });
    expect((await input(id, 2)).body).toMatchObject({ state: "failed", outcome: { error: { code: "exception" } } });
    expect((await input(id, 3)).body).toMatchObject({ state: "succeeded", outcome: { pickle: "cA==" } });
    await gateway.request(`/v1/invocations/${id}/cancel`, { method: "POST" });
    expect((await input(id, 1)).body).toMatchObject({ state: "failed", outcome: { error: { code: "cancelled" } } });
    expect((await input(id, 6)).body.error.code).toBe("input_not_found");
    expect((await input(id, "x")).status).toBe(400);
    expect((await input(newId("inv"), 0)).status).toBe(404);
  });
});

describe("redriving a map", () => {
  const redrive = async (id: string): Promise<Sent> => {
    const reply = await gateway.request(`/v1/invocations/${id}/redrive`, { method: "POST" });
    return { status: reply.status, body: await reply.json() };
  };
  async function failedMap(): Promise<string> {
    const body = '[0]\n["bad 1"]\n{"x":"bad 2"}\n[3]\n[4]\n["bad 5"]';
    const { id } = (await post(MAP, body, { prefer: "respond-async" })).body;
    await until(async () => (await state(id)) === "failed", 5_000, "it fails");
    return id;
  }

  test("makes a new map of the inputs that failed, on the current version, once", async () => {
    const id = await failedMap();
    const made = await redrive(id);
    expect(made).toMatchObject({ status: 202, body: { redrivenFrom: id, created: true } });
    const after = await record(made.body.id);
    expect(after).toMatchObject({ redrivenFrom: id, map: { total: 3, sealed: true } });
    expect(await record(id)).toMatchObject({ redrivenAs: made.body.id });
    const all = (await results(made.body.id)).filter((line) => "index" in line);
    expect(all.map(({ index }) => index).sort()).toEqual([0, 1, 2]);
    expect(await redrive(id)).toMatchObject({ body: { id: made.body.id, created: false } });
    await until(async () => (await state(made.body.id)) === "failed", 5_000, "they fail again");
    expect((await redrive(made.body.id)).body).toMatchObject({ created: true });
  });

  test("fills a successor that was left half made", async () => {
    const id = await failedMap();
    const { state: store } = gateway.deps;
    const { app, fn, version, timeoutMs, retries } = (await record(id))!;
    const half = await store.maps.open({
      ...{ id: newId("inv"), app, fn, version, timeoutMs, retries, acceptPickle: false, redrivenFrom: id },
    });
    await store.maps.append(half.id, { first: 0, count: 1, body: Buffer.from('["bad 1"]') });
    expect((await redrive(id)).body).toMatchObject({ id: half.id, created: false });
    expect(await record(half.id)).toMatchObject({ map: { total: 3, sealed: true } });
  });

  test("of what has not failed is refused; what was cancelled runs whole", async () => {
    const id = await open(IDLE, "[0]\n[1]");
    expect((await redrive(id)).body.error.code).toBe("invocation_not_failed");
    await gateway.request(`/v1/invocations/${id}/cancel`, { method: "POST" });
    expect(await record((await redrive(id)).body.id)).toMatchObject({ map: { total: 2, sealed: true } });
  });
});

test("a map that nobody appends to any more ends by itself", async () => {
  const { state: store } = gateway.deps;
  const sweep = (mapIdleMs: number) =>
    sweepOnce({
      ...gateway.deps,
      limits: { outboxAgeMs: 60_000, leaseMs: 60_000, queuedAgeMs: 60_000, mapIdleMs, max: 100 },
    });
  const id = await open(MAP, "[0]\n[1]");
  await until(async () => (await record(id))!.map!.done === 2, 5_000, "its inputs end");
  await sweep(60_000);
  expect(await state(id)).toBe("running");
  expect(await store.maps.sealIdle(id, 60_000)).toBe(false);
  await until(async () => (await sweep(1)) > 0 && (await state(id)) === "succeeded", 5_000, "it is sealed");
  const { idleMaps } = await store.recovery.find({
    outboxAgeMs: 1,
    leaseMs: 1,
    queuedAgeMs: 1,
    mapIdleMs: -1,
    max: 100,
  });
  expect(idleMaps).not.toContain(id);
});

describe("the TypeScript client", () => {
  const client = () => createClient({ url: `http://127.0.0.1:${listening.port}`, token: ADMIN });
  const numbers = (count: number) => Array.from({ length: count }, (_, i) => [i]);
  const collect = async (inputs: Iterable<unknown> | AsyncIterable<unknown>, options: MapOptions = {}) => {
    const all: MapOutcome[] = [];
    for await (const outcome of client().map("app", "f", inputs, options)) all.push(outcome);
    return all;
  };

  test("gives outcomes in the order of the inputs, or as they come, while inputs are still made", async () => {
    const all = await collect(numbers(1_100));
    expect(all.map(({ index }) => index)).toEqual(numbers(1_100).map(([i]) => i));
    expect(all[7]).toEqual({ index: 7, result: "[7]" });
    expect((await collect([["bad"], { x: 1 }], { unordered: true })).sort((a, b) => a.index - b.index)).toMatchObject([
      { index: 0, error: { code: "exception" } },
      { index: 1, result: '{"kwargs":{"x":1}}' },
    ]);
    let answered = (): void => {};
    async function* lockstep(): AsyncGenerator<unknown> {
      for (let i = 0; i < 3; i++) {
        yield [i];
        await new Promise<void>((resolve) => (answered = resolve));
      }
    }
    const got: number[] = [];
    for await (const { index } of client().map("app", "f", lockstep())) {
      got.push(index);
      answered();
    }
    expect(got).toEqual([0, 1, 2]);
  });

  test("cancels what is left early, or whose inputs fail, and raises the inputs' own error", async () => {
    let came = (): void => {};
    const first = new Promise<void>((resolve) => (came = resolve));
    async function* broken(): AsyncGenerator<unknown> {
      yield [0];
      await first;
      throw new Error("mine");
    }
    const reading = async () => {
      for await (const { index } of client().map("app", "f", broken())) if (index === 0) came();
    };
    await expect(reading()).rejects.toThrow("mine");
    const latest = async () => (await gateway.deps.state.invocations.list({ app: "app", limit: 1 }))[0]!;
    expect((await latest()).state).toBe("cancelled");
    async function* endless(): AsyncGenerator<unknown> {
      for (let i = 0; ; i++) yield [i];
    }
    for await (const { index } of client().map("app", "f", endless())) if (index === 0) break;
    await until(async () => (await latest()).state === "cancelled", 5_000, "it is cancelled");
    await expect(collect([[1, 2]])).rejects.toMatchObject({ code: "invalid_arguments" });
  });
});
