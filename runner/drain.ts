/** The orderly end of a runner: short inputs end, the others go back to the queue, containers go. */
import type { Clock } from "../core/clock.ts";
import type { FunctionKey } from "../core/invocation.ts";
import type { Container } from "./container-contract.ts";
import type { Hosting } from "./hosting.ts";
import type { Intake } from "./intake.ts";
import type { Leases } from "./leases.ts";

export interface DrainDeps {
  intakes: Map<FunctionKey, Intake>;
  leases: Leases;
  clock: Clock;
  containers(): Container[];
  hosting: Pick<Hosting, "containers" | "leave">;
}

const LOOK_MS = 50;
/** For giving back and removing, after the grace. */
const LAST_MS = 15_000;

/** The intakes have stopped taking already. */
export async function drain(deps: DrainDeps, graceMs: number): Promise<void> {
  const { intakes, leases, clock, hosting } = deps;
  const all = deps.containers();
  for (const one of all) one.drain();
  hosting.leave(false);
  await within(clock, graceMs, () => leases.size() === 0 && hosting.containers().length === 0);
  const hosted = hosting.containers();
  hosting.leave(true);
  for (const attempt of leases.all()) attempt.giveBack("its node is being stopped");
  for (const one of all) one.kill("its node is being stopped");
  const gone = Promise.all([...all, ...hosted].map((one) => one.ended));
  await Promise.race([gone, new Promise<void>((resolve) => clock.after(LAST_MS, resolve))]);
  await within(clock, LAST_MS, () => leases.size() === 0);
  await Promise.all([...intakes.values()].map((one) => one.close()));
}

/** Looks now and then until it is so, or the time is over. */
async function within(clock: Clock, ms: number, isSo: () => boolean): Promise<void> {
  const until = clock.monotonic() + ms;
  while (!isSo() && clock.monotonic() < until) await new Promise<void>((resolve) => clock.after(LOOK_MS, resolve));
}
