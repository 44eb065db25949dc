/** Claims entries, also through an outage; of a map's slice, as many inputs as are worth a slot. */
import { randomBytes } from "node:crypto";
import type { FunctionKey, InvocationRecord } from "../core/invocation.ts";
import { inputsToTake } from "../core/map.ts";
import { smooth } from "../core/smooth.ts";
import type { Attempt, InvocationStore, QueuedEntry } from "../core/state-store.ts";
import { untilDone } from "../core/until-done.ts";
import type { NodeIdentity } from "./container-plan.ts";

export interface Claims {
  /** Of that entry's call, or of one that goes before it. `undefined`: the entry is stale and to be forgotten. */
  claim(entry: Attempt): Promise<InvocationRecord | undefined>;
  /** So many inputs of a slice took so long. */
  learn(inputs: number, ms: number): void;
  /** How many claims of slices the last one left for others. */
  slicesLeft(): number;
}

export interface ClaimDeps {
  state: { invocations: InvocationStore };
  identity: NodeIdentity;
  leaseMs: number;
  /** Puts an entry into its queue. */
  offerEntry(entry: QueuedEntry): Promise<void>;
}

export function createClaims(deps: ClaimDeps, key: FunctionKey): Claims {
  const { identity, leaseMs, offerEntry } = deps;
  const { invocations } = deps.state;
  const ours = randomBytes(6).toString("base64url");
  let asked = 0;
  let inputMs: number | undefined;
  let inputsLeft = 0;
  return {
    async claim(entry) {
      // A claim whose answer was lost is still ours: the same token finds what it took.
      const token = `${ours}.${asked++}`;
      const owner = { runner: identity.runner, node: identity.node, leaseMs, take: inputsToTake(inputMs), key, token };
      const claimed = await untilDone(() => invocations.claim(entry, owner));
      inputsLeft = claimed?.rest?.count ?? 0;
      if (claimed?.rest) void offerEntry(claimed.rest);
      return claimed?.record;
    },
    learn(inputs, ms) {
      inputMs = smooth(inputMs, ms / inputs);
    },
    slicesLeft: () => Math.ceil(inputsLeft / inputsToTake(inputMs)),
  };
}
