/** A function that is called once a second, warm and from zero, with and without another one whose queue keeps the node full. */

import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";
import { distribution } from "./load.ts";

/** One that is not answered after so long counts as this. */
const LONGEST_S = 15;
const SENDERS = 32;

export async function fairnessBench(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      engine: { type: "string", default: "process" },
      queued: { type: "string", default: "20000" },
      slots: { type: "string", default: "4" },
      calls: { type: "string", default: "12" },
    },
  });
  const [queued, calls] = [Number(values.queued), Number(values.calls)];
  console.log(
    `engine ${values.engine}, ${values.slots} slots on the node, ${queued} calls of 20 ms queued, ${calls} calls\n`,
  );
  console.log("| beside it | called | p50 ms | p99 ms | not answered in 15 s |\n|---|---|---|---|---|");
  for (const noisy of ["nothing", "sleeps", "computes"]) {
    const fabric = await startFabric({
      engine: values.engine as "docker" | "process",
      app: "fairness",
      env: { FABRIC_NODE_CPU: values.slots, FABRIC_LOG_LEVEL: "warn" },
    });
    try {
      await fabric.json("deploy", "test/apps/fairness.py");
      await called(fabric, "warm");
      if (noisy !== "nothing") await fill(fabric, noisy, queued);
      await row(noisy, "warm", calls, () => called(fabric, "warm"));
      let n = 0;
      await row(noisy, "from zero", calls, () => called(fabric, `Cold.answer?n=${n++}`));
      if (noisy !== "nothing") console.log(`| | | | | (${await depth(fabric)} calls of ${noisy} were left) |`);
    } finally {
      await fabric.close();
    }
  }
}

async function row(noisy: string, what: string, calls: number, act: () => Promise<number>): Promise<void> {
  const durations: number[] = [];
  for (let i = 0; i < calls; i++) {
    const ms = await act();
    durations.push(ms);
    await pause(Math.max(0, 1_000 - ms));
  }
  const { p50Ms, p99Ms } = distribution(durations);
  const late = durations.filter((ms) => ms >= LONGEST_S * 1000).length;
  console.log(`| ${noisy} | ${what} | ${p50Ms.toFixed(0)} | ${p99Ms.toFixed(0)} | ${late} of ${calls} |`);
}

async function called(fabric: TestFabric, fn: string): Promise<number> {
  const began = performance.now();
  const { status, body } = await fabric.call(fn, {}, { prefer: `wait=${LONGEST_S}` });
  if (status === 202) return LONGEST_S * 1000;
  if (status !== 200) throw new Error(`${fn} answered ${status}: ${JSON.stringify(body)}`);
  return performance.now() - began;
}

/** Resolves when all slots but those of `warm` have been busy for a moment. */
async function fill(fabric: TestFabric, fn: string, queued: number): Promise<void> {
  let left = queued;
  const send = async (): Promise<void> => {
    while (left-- > 0) await fabric.spawn(fn);
  };
  await Promise.all(Array.from({ length: SENDERS }, send));
  await until(async () => ((await depth(fabric)) > 0 ? true : undefined), 30_000, `calls of ${fn} wait`);
}

async function depth(fabric: TestFabric): Promise<number> {
  const text = await (await fabric.fetch("/metrics")).text();
  return [...text.matchAll(/^fabric_queue_depth\{.*\} (\d+)/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
}
