/** Requests under way: answered once, bounded, and done again only when they broke with their connection. */
import pino from "pino";
import { expect, it } from "vitest";
import { FabricError } from "../../../core/errors.ts";
import type { Answer } from "../../../runner/answer-outcome.ts";
import { createAsking } from "../../../runner/asking.ts";
import type { ContainerLink } from "../../../runner/container-contract.ts";

function setUp() {
  const sent: any[] = [];
  let connection = {};
  const link = {
    send: (header: object, body?: Buffer) => sent.push({ ...header, body: body?.toString() }),
    streams: () => connection,
  } as unknown as ContainerLink;
  const asking = createAsking(pino({ level: "silent" }));
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  return { asking, link, sent, settled, reconnect: () => (connection = {}) };
}
const nothing = Buffer.alloc(0);

it("answers in any order, streams behind the reply", async () => {
  const { asking, link, sent, settled } = setUp();
  let finish = (_answer: Answer): void => {};
  asking.ask(link, 1, nothing, () => new Promise((resolve) => (finish = resolve)));
  asking.ask(link, 2, Buffer.from("in"), async (body) => ({
    value: body.toString(),
    begin: () => sent.push("streams"),
  }));
  await settled();
  finish({ value: 1, body: Buffer.from("late") });
  await settled();
  expect(sent).toMatchObject([
    { request: 2, ok: true, value: "in" },
    "streams",
    { request: 1, ok: true, body: "late" },
  ]);
});

it("refuses with the code, and hides what is a defect behind internal", async () => {
  const { asking, link, sent, settled } = setUp();
  asking.ask(link, 1, nothing, async () => {
    throw new FabricError("function_not_found", "no", { functions: [] });
  });
  asking.ask(link, 2, nothing, async () => {
    throw new TypeError("x");
  });
  await settled();
  expect(sent).toMatchObject([
    { ok: false, error: { code: "function_not_found", fault: "user", details: { functions: [] } } },
    { ok: false, error: { code: "internal" } },
  ]);
});

it("does not do twice what is sent again, unless it broke with the connection it came by", async () => {
  const { asking, link, sent, settled, reconnect } = setUp();
  const fails: ((error: Error) => void)[] = [];
  const perform = () => new Promise<Answer>((_resolve, reject) => fails.push(reject));
  asking.ask(link, 1, nothing, perform);
  reconnect();
  asking.ask(link, 1, nothing, perform);
  expect(fails).toHaveLength(1);
  fails[0]!(new Error("the connection closed"));
  await settled();
  expect(fails).toHaveLength(2);
  expect(sent).toEqual([]);
  fails[1]!(new FabricError("bad_request", "no"));
  await settled();
  expect(sent).toMatchObject([{ request: 1, ok: false, error: { code: "bad_request" } }]);
});

it("bounds what one container has under way, in requests and in bytes", async () => {
  const { asking, link, sent, settled } = setUp();
  const never = () => new Promise<Answer>(() => {});
  for (let request = 0; request < 10_000; request++) asking.ask(link, request, nothing, never);
  asking.ask(link, 10_000, nothing, never);
  expect(sent).toMatchObject([{ request: 10_000, ok: false, error: { code: "calls_outstanding", retryable: true } }]);
  const other = setUp();
  const body = Buffer.alloc(200 * 1024 * 1024);
  let finish = (_answer: Answer): void => {};
  other.asking.ask(other.link, 1, body, () => new Promise((resolve) => (finish = resolve)));
  other.asking.ask(other.link, 2, body, never);
  expect(other.sent).toMatchObject([{ request: 2, error: { code: "calls_outstanding" } }]);
  finish({ value: null });
  await settled();
  other.asking.ask(other.link, 3, body, async () => ({ value: "room again" }));
  await settled();
  expect(other.sent.at(-1)).toMatchObject({ request: 3, ok: true });
});

it("answers nothing once the attempt has left", async () => {
  const { asking, link, sent, settled } = setUp();
  asking.ask(link, 1, nothing, async () => {
    await new Promise((resolve) => asking.signal.addEventListener("abort", resolve));
    throw asking.signal.reason;
  });
  asking.close();
  await settled();
  expect(sent).toEqual([]);
});
