/** Who gives room to whom when functions ask for more than the node has: max-min fair shares of what is missing. Pure. */
import type { FunctionKey } from "../core/invocation.ts";

/** A function that asks for a container and is refused. */
export interface Asker {
  key: FunctionKey;
  /** What it holds of what is missing: cores, MiB or GPUs. What is being drained for it counts as its own. */
  held: number;
  wanted: number;
  /** Since when it has been refused. */
  since: number;
}

/** A container that could go. */
export interface Candidate {
  id: string;
  key: FunctionKey;
  amount: number;
  busy: number;
  /** How long it has taken inputs. */
  servesMs: number;
  /** How long it took to start. */
  bootMs: number;
}

/** Room that becomes free by itself is awaited so long. */
export const FAIR_AFTER_MS = 500;
/** A container is not ended again before it has served so long, or as long as its start took. */
const TENURE_MS = 2_000;

/**
 * The container that makes room for `asker`: one of the function that holds most, if that one still has as much as the asker
 * afterwards. To who holds nothing also another's last container gives way: with more functions than places they take turns.
 */
export function giver(asker: Asker, held: ReadonlyMap<FunctionKey, number>, all: Candidate[]): Candidate | undefined {
  const heldBy = (one: Candidate): number => held.get(one.key) ?? 0;
  return all
    .filter((one) => one.key !== asker.key && one.servesMs >= Math.max(TENURE_MS, one.bootMs))
    .filter((one) => asker.held === 0 || heldBy(one) - one.amount >= asker.held + asker.wanted)
    .sort((a, b) => heldBy(b) - heldBy(a) || a.busy - b.busy || b.servesMs - a.servesMs)[0];
}

/** Of those refused, the one for whom `asker` has to leave the room that there is: who holds less, or as little and waits longer. */
export const goesFirst = (asker: Asker, refused: Asker[], now: number): Asker | undefined =>
  refused.find(
    (one) =>
      one.key !== asker.key &&
      now - one.since >= FAIR_AFTER_MS &&
      (one.held < asker.held || (one.held === asker.held && one.since < asker.since)),
  );

/** What a refusal of the ledger says, in the unit of what is missing; undefined when no other function's container would help. */
export function lacking(refused: string): { what: "cpu" | "memory" | "gpu"; wanted: number; free: number } | undefined {
  const [, what, wanted, free] = /^no (\S+?)(?: free)?: ([\d.]+)(?: MiB)? asked, (-?[\d.]+)/.exec(refused) ?? [];
  if (what === undefined) return undefined;
  const kind = what === "cpu" || what === "memory" ? what : "gpu";
  return { what: kind, wanted: Number(wanted), free: Number(free) };
}
