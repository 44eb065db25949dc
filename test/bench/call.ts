/** One call: an HTTP echo, a bare BullMQ round trip to a Python process, and fabric's warm no-op call over HTTP. */

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";
import { startFabric, type TestFabric } from "../support/fabric.ts";
import { startRedis } from "../support/redis.ts";
import { processesWhose } from "../support/runner.ts";
import { startBullmqEcho } from "./bullmq-echo.ts";
import { cpuOf } from "./cpu.ts";
import { httpCaller } from "./http-caller.ts";
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
  const costs = new Map<number, string>();
  const bench = async (name: string, act: () => Promise<void>) => {
    await measure(4, 1, act);
    for (const callers of CALLERS) rows.push({ name, callers, ...(await measure(callers, seconds, act)) });
  };

  await withEcho((url) => {
    const post = httpCaller(url);
    return bench("HTTP echo", async () => void (await post()));
  });

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
    const post = httpCaller(`${fabric.url}/f/probe/noop`, fabric.token);
    const noop = async () => {
      const timing = /\nserver-timing: *([^\r]*)/i.exec(await post())?.[1] ?? "";
      for (const part of timing.split(", ")) {
        const [name, duration] = part.split(";dur=");
        split.set(name!, (split.get(name!) ?? 0) + Number(duration));
      }
      calls++;
    };
    await measure(32, 3, noop);
    const groups = await processesOf(fabric);
    for (const callers of CALLERS) {
      split.clear();
      calls = 0;
      const { result, used } = await cpuOf(groups, () => measure(callers, seconds, noop));
      rows.push({ name: "fabric", callers, ...result });
      timings.set(callers, [...split].map(([name, total]) => `${name} ${(total / calls).toFixed(2)}`).join(", "));
      costs.set(callers, used.map(([name, ms]) => `${name} ${((ms * 1000) / calls).toFixed(0)}`).join(", "));
    }
  } finally {
    await fabric.close();
  }

  console.log(`engine ${values.engine}, ${seconds} s each, Redis with AOF everysec, load from this process\n`);
  printTable(rows, "BullMQ to Python");
  for (const [callers, split] of timings) console.log(`\nServer-Timing with ${callers} callers, mean ms: ${split}`);
  for (const [callers, used] of costs) console.log(`\nCPU with ${callers} callers, ms for 1,000 calls: ${used}`);
}

/** Containers of the process engine only: Docker's are told another path of their socket. */
async function processesOf(fabric: TestFabric): Promise<Record<string, number[]>> {
  const [gateway, runner, redis] = await Promise.all((["gateway", "runner", "redis"] as const).map(fabric.pid));
  const isContainer = (environ: string): boolean => environ.includes(`FABRIC_SOCKET=${fabric.dataDir}/`);
  const containers = await processesWhose("environ", isContainer);
  return { load: [process.pid], gateway: [gateway!], runner: [runner!], redis: [redis!], containers };
}

async function withEcho(act: (url: string) => Promise<void>): Promise<void> {
  const server = createServer((incoming, reply) => {
    reply.setHeader("content-length", incoming.headers["content-length"]!);
    incoming.pipe(reply);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  await act(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  server.closeAllConnections();
  server.close();
}
