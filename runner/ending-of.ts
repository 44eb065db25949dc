/** Who answers for the end of a container, or of the process in it. Pure. */
import type { ErrorBody } from "../core/errors.ts";
import type { Ending } from "./container-contract.ts";

/**
 * One input answers for what ended its container; of several nobody knows which it was. A kill from outside is charged to
 * all, but is remembered like a crash: it may be an input's own doing, and must not use up its neighbours' budgets.
 * `killed` says why we ended it ourselves.
 */
export function endingOf(
  inside: number,
  guilty: ErrorBody | undefined,
  killed: string | undefined,
): { ending: Ending; isShared: boolean } {
  const blame = inside === 1 || guilty?.code === "container_killed" ? guilty : undefined;
  const ending: Ending = blame ? { fault: blame } : { again: killed ?? "an input beside it ended the container" };
  return { ending, isShared: guilty !== undefined && inside > 1 };
}
