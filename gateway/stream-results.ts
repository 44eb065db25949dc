/** Sends the outcomes of a map's inputs as they come, from any position on: lines pass as the containers made them. */
import { doorbell } from "../core/doorbell.ts";
import { fail } from "../core/errors.ts";
import { type InvocationRecord, isTerminal } from "../core/invocation.ts";
import { decodeBlock } from "../core/map.ts";
import { linesOf } from "../core/map-outcomes.ts";
import { isOutage } from "../core/until-done.ts";
import type { GatewayDeps } from "./deps.ts";
import { HEARTBEAT_MS, type LiveWriter, liveReply } from "./live-reply.ts";

type Deps = Pick<GatewayDeps, "state" | "objects" | "clock" | "log">;

export interface ResultQuery {
  /** Position behind the last block that was read. */
  after: number;
  /** Tell the position behind each block, so that a reader can go on there. */
  cursors: boolean;
  /** End when nothing more is there, instead of waiting for the map's end. */
  follow: boolean;
}

const BLOCKS_AT_ONCE = 16;
/** A lost hint delays outcomes by this much. */
const LOOK_MS = 2_000;
/** In an outage. */
const AGAIN_MS = 500;

const NDJSON = {
  contentType: "application/x-ndjson",
  heartbeat: Buffer.from("\n"),
  problem: (error: object) => Buffer.from(`${JSON.stringify({ error })}\n`),
};

/** The last line is `{"ended": true, "state", "inputs", "failed"}`; without one, the connection broke. */
export function streamResults(deps: Deps, id: string, query: ResultQuery, feeding?: Promise<unknown>): Response {
  const headers = { "Fabric-Invocation": id };
  // What is wrong with the inputs ends the reply; the map's own end comes by itself.
  let broken: unknown;
  let ring = (): void => {};
  feeding?.catch((thrown: unknown) => {
    broken = thrown;
    ring();
  });
  return liveReply(deps, { ...NDJSON, headers }, async (out, signal) => {
    const bell = doorbell(deps.clock, signal);
    ring = bell.ring;
    // Readers outlast outages: what was stored before one is still there after it.
    const look: Look = async (act) => {
      for (;;) {
        signal.throwIfAborted();
        try {
          return await act();
        } catch (error) {
          if (broken) throw broken;
          if (!isOutage(error)) throw error;
        }
        await bell.wait(AGAIN_MS);
      }
    };
    const stop = await look(() => deps.state.maps.onBlock(id, bell.ring));
    try {
      let position = query.after;
      while (!signal.aborted) {
        const blocks = await look(() => deps.state.maps.blocks(id, position, BLOCKS_AT_ONCE));
        const sent = await sendBlocks(look, deps, blocks, position, query.cursors, out);
        position += sent;
        if (broken) throw broken;
        if (sent > 0) continue;
        const record = await look(() => deps.state.invocations.get(id));
        if (!record) fail("invocation_not_found", `no map '${id}', or its record has expired`);
        // The record ends after its last block is written: one more look, and nothing is missed.
        if (isTerminal(record.state) && (await look(() => deps.state.maps.blocks(id, position, 1))).length === 0)
          return await out.write(endLine(record));
        if (isTerminal(record.state)) continue;
        if (!query.follow) return;
        await bell.wait(Math.min(LOOK_MS, HEARTBEAT_MS));
      }
    } finally {
      stop();
    }
  });
}

type Look = <T>(act: () => Promise<T>) => Promise<T>;

async function sendBlocks(
  look: Look,
  { objects }: Deps,
  blocks: Buffer[],
  from: number,
  cursors: boolean,
  out: LiveWriter,
): Promise<number> {
  for (const [i, block] of blocks.entries()) {
    await out.write(await look(() => linesOf(objects, decodeBlock(block))));
    if (cursors) await out.write(Buffer.from(`{"cursor":${from + i + 1}}\n`));
  }
  return blocks.length;
}

const endLine = ({ state, map, error }: InvocationRecord): Buffer =>
  Buffer.from(`${JSON.stringify({ ended: true, state, inputs: map?.total, failed: map?.failed, error })}\n`);
