/** Generators under load, each read while it runs by a reader who comes back after every lost connection. */
import type { AcceptedCall } from "./checker.ts";
import type { FaultFabric } from "./fault-fabric.ts";
import { check, loadName, ofEnded, send } from "./load.ts";
import type { RunningLoad } from "./mix-loads.ts";
import { openLoop, repeated } from "./open-loop.ts";
import { type StreamLine, streamViolations } from "./stream-checker.ts";

const YIELDS = 20;

export function startStreams(fabric: FaultFabric, perSecond: number): RunningLoad {
  const name = loadName();
  const journal = fabric.journal!;
  const { done, stop, abandon } = openLoop(perSecond, async (n, over) => {
    const call = { fn: "ticks", token: `${name}-${n}` };
    const id = await repeated(async () => {
      const reply = await send(fabric, { ...call, journal, key: call.token });
      return "id" in reply ? reply.id : undefined;
    }, over);
    return { call: { id, ...call } satisfies AcceptedCall, live: await follow(fabric, id, over) };
  });
  return {
    stop: async (deadlineMs) => (await stop(deadlineMs)).length,
    abandon,
    async check(options) {
      const calls = done.map(({ call }) => call);
      const after = new Map(
        await ofEnded(
          fabric,
          calls.map(({ id }) => id),
          options.deadlineMs,
          async ({ id }): Promise<[string, StreamLine[]]> => [
            id,
            await follow(fabric, id, AbortSignal.timeout(30_000)),
          ],
        ),
      );
      const streams = done.flatMap(({ call: { id, token }, live }) => {
        const expected = Array.from({ length: YIELDS }, (_, n) => `${token}.${n}`);
        const found = streamViolations({ live, after: after.get(id) ?? [] }, expected);
        return found.map((what) => `ticks ${token} (${id}) ${what}`);
      });
      return [...(await check(fabric, calls, journal, options)), ...streams];
    },
  };
}

/** All events to the end, over as many connections as it takes. */
async function follow(fabric: FaultFabric, id: string, over: AbortSignal): Promise<StreamLine[]> {
  const seen: StreamLine[] = [];
  return repeated(async () => {
    const last = seen.findLast(({ type }) => type === "chunk")?.id;
    const headers = { accept: "application/x-ndjson", ...(last === undefined ? {} : { "last-event-id": last }) };
    try {
      const reply = await fabric.fetch(`/v1/invocations/${id}/events`, { headers, signal: over });
      if (!reply.ok) return undefined;
      for await (const line of linesOf(reply)) {
        if (line.type !== "error") seen.push(line);
        if (line.type === "end") return seen;
      }
    } catch (thrown) {
      over.throwIfAborted();
      if (!(thrown instanceof TypeError)) throw thrown; // fetch's own word for a lost connection
    }
    return undefined;
  }, over);
}

async function* linesOf(reply: Response): AsyncGenerator<StreamLine> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of reply.body!) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines) if (line !== "") yield JSON.parse(line);
  }
}
