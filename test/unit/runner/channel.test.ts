/** The runner's end of the socket against a scripted shim: frames, violations, streams with credit, reconnection. */
import { mkdtemp, rm } from "node:fs/promises";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { FabricError } from "../../../core/errors.ts";
import { encodeFrame, type Frame, frameDecoder } from "../../../core/frames.ts";
import { STREAM_WINDOW_BYTES } from "../../../core/protocol.ts";
import { type Channel, createChannel, type ShimMessage } from "../../../runner/channel.ts";
import { parseMessage } from "../../../runner/parse-message.ts";
import { until } from "../../support/redis.ts";

const START = {
  ...{ type: "start" as const, protocol: 1 as const, container: "con_1", bundle: "/b", scratch: "/s", slots: 1 },
  function: { name: "f", entry: { module: "m", qualname: "f" }, is_async: false },
};
const RESULT = { type: "result", id: "inv_1", generation: 1, encoding: "json", run_ms: 1 };
let dir: string;
let channel: Channel;
let messages: ShimMessage[];
let violations: FabricError[];
const shims: Socket[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "ch-"));
  messages = [];
  violations = [];
  channel = createChannel({
    socketPath: join(dir, "s"),
    start: START,
    onMessage: (message) => messages.push(message),
    onViolation: (error) => violations.push(error),
  });
  await channel.listen();
});
afterEach(async () => {
  for (const shim of shims.splice(0)) shim.destroy();
  await channel.close();
  await rm(dir, { recursive: true, force: true });
});

async function connect() {
  const socket = createConnection(join(dir, "s"));
  shims.push(socket);
  const frames: Frame[] = [];
  const decode = frameDecoder();
  let closed = false;
  socket.on("data", (chunk) =>
    frames.push(...decode(chunk).map(({ header, body }) => ({ header, body: Buffer.from(body) }))),
  );
  socket.on("close", () => (closed = true)).on("error", () => undefined);
  const shim = {
    frames,
    isClosed: () => closed,
    send: (header: object, body?: Buffer) => void socket.write(encodeFrame(header, body)),
    next: async (type: string) => {
      const at = () => frames.findIndex(({ header }) => (header as { type: string }).type === type);
      await until(() => at() >= 0, 5_000, `a ${type} frame`);
      return frames.splice(at(), 1)[0]!;
    },
  };
  expect((await shim.next("start")).header).toEqual(START);
  return shim;
}

describe("channel", () => {
  it("passes messages on", async () => {
    const shim = await connect();
    shim.send(RESULT, Buffer.from("1"));
    await until(() => messages.length === 1, 5_000, "the result arrives");
    expect(messages[0]).toMatchObject(RESULT);
  });

  it.each([
    ["an unknown type", { type: "sudo" }],
    ["a result without a generation", { ...RESULT, generation: 0 }],
    ["a result of a strange encoding", { ...RESULT, encoding: "yaml" }],
    ["a stream of our number", { type: "stream.open", stream: 2, name: "x" }],
  ])("ends the connection on %s", async (_name, header) => {
    const shim = await connect();
    shim.send(header);
    await until(() => violations.length === 1 && shim.isClosed(), 5_000, "the violation is seen");
    expect(violations[0]!.code).toBe("protocol_violation");
    expect(messages).toEqual([]);
  });

  it("ends the connection of a shim that sends more than was granted", async () => {
    const shim = await connect();
    shim.send({ type: "stream.open", stream: 1, name: "x" });
    for (let sent = 0; sent <= STREAM_WINDOW_BYTES; sent += 1 << 19)
      shim.send({ type: "stream.data", stream: 1 }, Buffer.alloc(1 << 19));
    await until(() => violations.length === 1, 5_000, "the violation is seen");
  });

  it("receives a stream and grants credit as it is consumed", async () => {
    const shim = await connect();
    const whole = buffer(channel.streams()!.receive(1));
    shim.send({ type: "stream.open", stream: 1, name: "x" });
    let credit = 0;
    for (let sent = 0; sent < 3 * STREAM_WINDOW_BYTES; sent += 1 << 18) {
      while (credit < 1 << 18) credit += ((await shim.next("stream.credit")).header as { bytes: number }).bytes;
      shim.send({ type: "stream.data", stream: 1 }, Buffer.alloc(1 << 18, 7));
      credit -= 1 << 18;
    }
    shim.send({ type: "stream.end", stream: 1 });
    expect((await whole).length).toBe(3 * STREAM_WINDOW_BYTES);
  });

  it("sends a stream only as far as credit reaches", async () => {
    const shim = await connect();
    const streams = channel.streams()!;
    const number = streams.reserve();
    const sent = streams.send(number, "x", Readable.from([Buffer.alloc(1_000, 1)]));
    await shim.next("stream.open");
    shim.send({ type: "stream.credit", stream: number, bytes: 400 });
    expect((await shim.next("stream.data")).body.length).toBe(400);
    shim.send({ type: "stream.credit", stream: number, bytes: 9_999 });
    expect((await shim.next("stream.data")).body.length).toBe(600);
    await shim.next("stream.end");
    await sent;
  });

  it("fails what is open when the shim cancels or goes away", async () => {
    const shim = await connect();
    const streams = channel.streams()!;
    const cancelled = streams.send(streams.reserve(), "x", Readable.from([Buffer.alloc(9)]));
    await shim.next("stream.open");
    shim.send({ type: "stream.cancel", stream: 2, reason: "no room" });
    await expect(cancelled).rejects.toThrow("no room");
    const broken = buffer(streams.receive(1));
    shims[0]!.destroy();
    await expect(broken).rejects.toThrow();
  });

  it("lets the newest connection be the shim's", async () => {
    const first = await connect();
    const second = await connect();
    await until(() => first.isClosed(), 5_000, "the old one is dropped");
    channel.send({ type: "shutdown" });
    await second.next("shutdown");
  });
});

it("judges results as strictly as the schema does", () => {
  const strange = [
    { id: 7 },
    { id: "x".repeat(65) },
    { generation: 1.5 },
    { run_ms: -1 },
    { run_ms: "1" },
    { stream: -1 },
  ];
  for (const more of strange) expect(() => parseMessage({ ...RESULT, ...more })).toThrow();
  expect(parseMessage({ ...RESULT, stream: 3 })).toEqual({ ...RESULT, stream: 3 });
});
