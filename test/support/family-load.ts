/** Calls under load that make calls themselves: one spawned, one awaited, and a map. */
import { type Child, familyViolations } from "./family-checker.ts";
import type { FaultFabric } from "./fault-fabric.ts";
import { check, childTokens, executionsIn, ofEnded, startLoad } from "./load.ts";
import type { RunningLoad } from "./mix-loads.ts";

const PER_ATTEMPT = 3;

export function startFamilies(fabric: FaultFabric, perSecond: number): RunningLoad {
  const journal = fabric.journal!;
  const load = startLoad({ fabric, journal, perSecond, kinds: [{ fn: "parent", share: 1 }] });
  return {
    stop: async (deadlineMs) => (await load.stop(deadlineMs)).length,
    abandon: load.abandon,
    async check(options) {
      const { accepted } = load;
      const tokens = new Map(accepted.map(({ id, token }) => [id, token]));
      const records = await ofEnded(fabric, [...tokens.keys()], options.deadlineMs, async (record) => record);
      const named = records.flatMap(({ id, children = [] }) =>
        children.map((child: string) => ({ parent: id as string, child })),
      );
      const look = (): Promise<Child[]> =>
        ofEnded(
          fabric,
          named.map(({ child }) => child),
          options.deadlineMs,
          async ({ id, state, parent, root }) => ({ id, state, parent, root }),
        );
      const families = familyViolations({
        parents: records.map(({ id, attempts }) => ({ id, attempts, token: tokens.get(id)! })),
        children: [...(await look()), ...(await look())],
        named,
        perAttempt: PER_ATTEMPT,
        tokensOf: childTokens,
        executions: await executionsIn(journal),
        disruptions: options.disruptions,
      });
      return [...(await check(fabric, accepted, journal, options)), ...families];
    },
  };
}
