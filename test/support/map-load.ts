/** Maps under load, each sent in one request or in two, and repeated until all its inputs are accepted. */
import type { FaultFabric } from "./fault-fabric.ts";
import { executionsIn, loadName, ofEnded } from "./load.ts";
import { type AcceptedMap, type MapFinal, mapViolations } from "./map-checker.ts";
import type { RunningLoad } from "./mix-loads.ts";
import { openLoop, repeated } from "./open-loop.ts";

const INPUTS = 40;
const REPLY_MS = 30_000;

export function startMaps(fabric: FaultFabric, perSecond: number): RunningLoad {
  const name = loadName();
  const journal = fabric.journal!;
  const { done, stop, abandon } = openLoop(perSecond, async (n, over): Promise<AcceptedMap> => {
    const token = `${name}-${n}`;
    const lines = Array.from({ length: INPUTS }, (_, number) => JSON.stringify({ token, number, journal }));
    const first = n % 2 === 0 ? INPUTS : INPUTS / 2;
    const open = `/v1/apps/faults/functions/piece/map?more=${first < INPUTS}`;
    const id = await repeated(() => post(fabric, open, lines.slice(0, first), token), over);
    const rest = `/v1/invocations/${id}/inputs?first=${first}&more=false`;
    if (first < INPUTS) await repeated(() => post(fabric, rest, lines.slice(first)), over);
    return { id, token, inputs: INPUTS };
  });
  return {
    stop: async (deadlineMs) => (await stop(deadlineMs)).length,
    abandon,
    async check({ disruptions, deadlineMs }) {
      const ids = done.map(({ id }) => id);
      const look = (): Promise<MapFinal[]> => ofEnded(fabric, ids, deadlineMs, (record) => mapFinal(fabric, record));
      return mapViolations({
        accepted: done,
        finals: [...(await look()), ...(await look())],
        executions: await executionsIn(journal),
        expected: ({ token }, index) =>
          index % 10 === 7 ? { fails: true, value: "exception" } : { fails: false, value: `${token}.${index}` },
        disruptions,
      });
    },
  };
}

/** The map's id where all that was sent is accepted. */
async function post(fabric: FaultFabric, path: string, lines: string[], key?: string): Promise<string | undefined> {
  try {
    const reply = await fabric.fetch(path, {
      method: "POST",
      body: lines.join("\n"),
      headers: {
        "content-type": "application/x-ndjson",
        prefer: "respond-async",
        ...(key === undefined ? {} : { "idempotency-key": key }),
      },
      signal: AbortSignal.timeout(REPLY_MS),
    });
    const told = (await reply.json()) as any;
    return reply.ok ? told.id : undefined;
  } catch {
    return undefined; // no answer: it is asked again
  }
}

async function mapFinal(fabric: FaultFabric, { id, state, inputs }: any): Promise<MapFinal> {
  const reply = await fabric.fetch(`/v1/invocations/${id}/results?follow=false`);
  const lines = (await reply.text()).split("\n").filter((line) => line !== "");
  const told = lines.map((line) => JSON.parse(line));
  if (!told.at(-1)?.ended) throw new Error(`the results of ${id} broke off`);
  const outcomes = told.slice(0, -1).map(({ index, result, error }) => ({ index, value: error?.code ?? result }));
  return { id, state, total: inputs.total, failed: inputs.failed, outcomes };
}
