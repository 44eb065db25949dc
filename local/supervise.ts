/** The supervisor: starts the processes of a fabric in order, keeps them alive, and stops them in the opposite order. */
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import { clearContainers } from "./clear-containers.ts";
import { type DataDir, writePrivate } from "./data-dir.ts";
import { identify } from "./identity.ts";
import { describeExit, type Kept, type KeptDeps, keep } from "./kept.ts";
import type { Launch, ReadyLine } from "./launch.ts";
import { clientFacts, type PlanInput, type ProcessName, planProcesses, redisConf, sharedConfig } from "./plan.ts";
import { redisAnswers } from "./redis-probe.ts";
import { claimRunning, dropRunning, type Facts, type Running, saveRunning } from "./running.ts";

export interface SuperviseDeps {
  dir: DataDir;
  launch: Launch;
  clock: Clock;
  log: Log;
  /** Resolves when the gateway serves and knows a live node. */
  serving(url: string, token: string, signal: AbortSignal): Promise<void>;
  /** Told when a process is about to start, for progress on a terminal. */
  onStep(text: string): void;
}

export interface Supervision {
  facts: Facts;
  stop(): Promise<void>;
}

/** Those in one row start together; the next row needs them. */
const ROWS: readonly (readonly ProcessName[])[] = [
  ["redis", "s3"],
  ["gateway", "runner"],
];
const STOP_ORDER: readonly ProcessName[] = ["runner", "gateway", "s3", "redis"];
const SERVING_WITHIN_MS = 60_000;

export async function supervise(input: PlanInput, deps: SuperviseDeps): Promise<Supervision> {
  const running = await claimRunning(deps.dir);
  const plans = planProcesses(input);
  const kept = plans.map((plan) => keep(plan, keptDeps(plan.name, input, deps, running)));
  const stop = async (): Promise<void> => {
    for (const name of STOP_ORDER) {
      const one = kept.find(({ plan }) => plan.name === name);
      if (one) await one.stop();
    }
    await clear(input, deps.log);
    await dropRunning(deps.dir);
  };
  try {
    writePrivate(deps.dir.redisConf, redisConf(input));
    const ready = await startAll(kept, deps);
    const client = clientFacts(input);
    deps.onStep("waiting for the first node");
    await within(SERVING_WITHIN_MS, (signal) => deps.serving(client.url, client.token, signal));
    const facts: Facts = { ...client, ...runnerFacts(ready.get("runner")) };
    saveRunning(deps.dir, Object.assign(running, { facts }));
    return { facts, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A runner that was killed, or did not get as far as its drain, leaves containers behind. */
async function clear(input: PlanInput, log: Log): Promise<void> {
  try {
    const removed = await clearContainers(input);
    if (removed.length > 0) log.warn({ removed }, "removed containers that the runner had left");
  } catch (err) {
    log.error({ err }, "what the runner left could not be removed");
  }
}

async function startAll(kept: readonly Kept[], deps: SuperviseDeps): Promise<Map<ProcessName, ReadyLine>> {
  const ready = new Map<ProcessName, ReadyLine>();
  for (const row of ROWS) {
    const members = kept.filter(({ plan }) => row.includes(plan.name));
    deps.onStep(`starting ${members.map(({ plan }) => plan.name).join(" and ")}`);
    const outcomes = await Promise.allSettled(members.map(async (one) => ready.set(one.plan.name, await one.start())));
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed) throw failed.reason;
  }
  return ready;
}

function keptDeps(name: ProcessName, input: PlanInput, deps: SuperviseDeps, running: Running): KeptDeps {
  return {
    launch: deps.launch,
    clock: deps.clock,
    logFile: deps.dir.log(name),
    answers: (_plan, signal) => redisAnswers(sharedConfig(input).redisUrl, signal),
    onChange({ pid, exit, restartInMs }) {
      if (pid !== undefined) {
        running.children[name] = identify(pid);
        deps.log.info({ child: name, pid }, "started");
      } else {
        delete running.children[name];
        const how = exit ? describeExit(exit) : "not startable";
        deps.log[restartInMs === undefined ? "info" : "error"]({ child: name, how, restartInMs }, "ended");
      }
      saveRunning(deps.dir, running);
    },
  };
}

function runnerFacts(line: ReadyLine | undefined): { engine: string; notices: string[] } {
  const notices = Array.isArray(line?.notices) ? line.notices.filter((notice) => typeof notice === "string") : [];
  return { engine: typeof line?.engine === "string" ? line.engine : "unknown", notices };
}

const within = (ms: number, work: (signal: AbortSignal) => Promise<void>): Promise<void> =>
  work(AbortSignal.timeout(ms));
