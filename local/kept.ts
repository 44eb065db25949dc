/** A process that is kept alive: ready before it counts as started, started again when it dies, ended when told. */
import type { Clock } from "../core/clock.ts";
import { LocalFailure } from "./failure.ts";
import { type Exit, type Launch, type Launched, lastLines, type ReadyLine } from "./launch.ts";
import type { ProcessPlan } from "./plan.ts";
import { countDeath, restartDelay } from "./restart-delay.ts";

export interface KeptDeps {
  launch: Launch;
  logFile: string;
  clock: Clock;
  /** Resolves when a process without a ready line answers; checked over and over by whoever is given. */
  answers(plan: ProcessPlan, signal: AbortSignal): Promise<void>;
  /** Called on every start (with its pid) and every end. */
  onChange(change: { pid?: number; exit?: Exit; restartInMs?: number }): void;
}

export interface Kept {
  readonly plan: ProcessPlan;
  /** Rejects, leaving nothing behind, when the process ends or stays silent before it is ready. */
  start(): Promise<ReadyLine>;
  stop(): Promise<void>;
}

export function keep(plan: ProcessPlan, deps: KeptDeps): Kept {
  let current: Launched | undefined;
  let stopping = false;
  let deaths = 0;
  let forgetRestart = (): void => {};

  const launchOnce = async (): Promise<Launched> => {
    const launched = await deps.launch(plan, deps.logFile);
    current = launched;
    deps.onChange({ pid: launched.pid });
    return launched;
  };

  const watch = (launched: Launched): void => {
    const startedAt = deps.clock.monotonic();
    void launched.exited.then((exit) => {
      current = undefined;
      if (stopping) return deps.onChange({ exit });
      deaths = countDeath(deaths, deps.clock.monotonic() - startedAt);
      scheduleRestart(exit);
    });
  };

  const scheduleRestart = (exit: Exit | undefined): void => {
    const restartInMs = restartDelay(deaths);
    deps.onChange({ exit, restartInMs });
    forgetRestart = deps.clock.after(restartInMs, () => {
      launchOnce().then(watch, () => {
        // the program itself is gone, e.g. in the middle of its own upgrade: that is one more death
        deaths += 1;
        if (!stopping) scheduleRestart(undefined);
      });
    });
  };

  return {
    plan,
    async start() {
      const launched = await launchOnce();
      const ready = await firstReady(plan, launched, deps);
      watch(launched);
      return ready;
    },
    async stop() {
      stopping = true;
      forgetRestart();
      if (current) await end(current, plan, deps.clock);
    },
  };
}

async function firstReady(plan: ProcessPlan, launched: Launched, deps: KeptDeps): Promise<ReadyLine> {
  const over = new AbortController();
  const silence = new Promise<never>((_, reject) => {
    const forget = deps.clock.after(plan.readyWithinMs, () =>
      reject(failure(plan, `was not ready within ${plan.readyWithinMs / 1000} s`, deps)),
    );
    over.signal.addEventListener("abort", forget);
  });
  const early = launched.exited.then((exit) => {
    throw failure(plan, `ended while starting (${describeExit(exit)})`, deps);
  });
  const ready =
    plan.readiness === "line"
      ? launched.readyLine
      : deps.answers(plan, over.signal).then((): ReadyLine => ({ ready: true }));
  try {
    return await Promise.race([ready, early, silence]);
  } catch (error) {
    await end(launched, plan, deps.clock);
    throw error;
  } finally {
    over.abort();
  }
}

function failure(plan: ProcessPlan, what: string, deps: KeptDeps): LocalFailure {
  const tail = lastLines(deps.logFile);
  return new LocalFailure(`${plan.name} ${what}`, tail ? `The end of ${deps.logFile}:\n${tail}` : undefined);
}

export const describeExit = (exit: Exit): string => (exit.signal ? `signal ${exit.signal}` : `exit code ${exit.code}`);

async function end(launched: Launched, plan: ProcessPlan, clock: Clock): Promise<void> {
  launched.kill("SIGTERM");
  const forget = clock.after(plan.graceMs, () => launched.kill("SIGKILL"));
  await launched.exited;
  forget();
}
