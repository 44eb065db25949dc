/** One call: an HTTP echo, a bare BullMQ round trip to a Python process, and fabric's warm no-op call over HTTP. */

import { once } from "node:events";
import { Agent, createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";
import { startFabric } from "../support/fabric.ts";
import { startRedis } from "../support/redis.ts";
import { startBullmqEcho } from "./bullmq-echo.ts";
import { measure, printTable, type Row } from "./load.ts";

const CALLERS = [1, 32];

export async function callBench(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { engine: { type: "string", default: "process" }, seconds: { type: "string", default: "5" } },
  });
  const seconds = Number(values.seconds);
  const rows: Row[] = [];
  const timings = new Map<number, string>();
  const bench = async (name: string, act: () => Promise<void>) => {
    await measure(4, 1, act);
    for (const callers of CALLERS) rows.push({ name, callers, ...(await measure(callers, seconds, act)) });
  };

  await withEcho((url) => bench("HTTP echo", async () => void (await post(url))));

  const redis = await startRedis({ appendonly: true, fsync: "everysec" });
  const bullmq = await startBullmqEcho(redis.url);
  await bench("BullMQ to Python", () => bullmq.roundTrip());
  await bullmq.close();
  await redis.close();

  const fabric = await startFabric({
    engine: values.engine as "docker" | "process",
    env: { FABRIC_LOG_LEVEL: "warn" },
  });
  try {
    await fabric.json("deploy", "test/apps/probe.py");
    const split = new Map<string, number>();
    let calls = 0;
    const noop = async () => {
      const timing = await post(`${fabric.url}/f/probe/noop`, fabric.token);
      for (const part of timing.split(", ")) {
        const [name, duration] = part.split(";dur=");
        split.set(name!, (split.get(name!) ?? 0) + Number(duration));
      }
      calls++;
    };
    await measure(32, 3, noop);
    for (const callers of CALLERS) {
      split.clear();
      calls = 0;
      rows.push({ name: "fabric", callers, ...(await measure(callers, seconds, noop)) });
      timings.set(callers, [...split].map(([name, total]) => `${name} ${(total / calls).toFixed(2)}`).join(", "));
    }
  } finally {
    await fabric.close();
  }

  console.log(`engine ${values.engine}, ${seconds} s each, Redis with AOF everysec, load from this process\n`);
  printTable(rows, "BullMQ to Python");
  for (const [callers, split] of timings) console.log(`\nServer-Timing with ${callers} callers, mean ms: ${split}`);
}

const agent = new Agent({ keepAlive: true, maxSockets: 64 });

/** Answers the Server-Timing header; anything but 200 is a broken bench. */
async function post(url: string, token = ""): Promise<string> {
  const outgoing = request(url, {
    method: "POST",
    agent,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json", "content-length": 2 },
  });
  outgoing.end("{}");
  const [reply] = await once(outgoing, "response");
  reply.resume();
  await once(reply, "end");
  if (reply.statusCode !== 200) throw new Error(`${url} answered ${reply.statusCode}`);
  return reply.headers["server-timing"] ?? "";
}

async function withEcho(act: (url: string) => Promise<void>): Promise<void> {
  const server = createServer((incoming, reply) => incoming.pipe(reply));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  await act(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  server.closeAllConnections();
  server.close();
}
