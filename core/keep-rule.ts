/** Decides which checkpoints of a series a keep rule lets go. */
import type { CheckpointManifest, KeepRule } from "./checkpoint.ts";

export interface Kept {
  step: number;
  metrics: CheckpointManifest["metrics"];
}

/**
 * The steps to remove, worst first. The `numToKeep` best stay, without an attribute the latest ones; one that lacks the attribute, or
 * whose value is no number, is worse than any that has it; of equals the later one is better. `needed` (the latest, which a resume
 * reads) and tagged ones stay whatever they are worth; tagged ones do not count, so that a promotion costs no other checkpoint.
 */
export function stepsToRemove(
  checkpoints: readonly Kept[],
  { numToKeep, attribute, order = "max" }: KeepRule,
  { needed, tagged }: { needed: ReadonlySet<number>; tagged: ReadonlySet<number> },
): number[] {
  if (numToKeep === undefined) return [];
  const sign = order === "max" ? 1 : -1;
  const worth = ({ step, metrics }: Kept): number => {
    if (attribute === undefined) return step;
    const value = metrics[attribute];
    return typeof value === "number" && !Number.isNaN(value) ? sign * value : Number.NEGATIVE_INFINITY;
  };
  return checkpoints
    .filter(({ step }) => !tagged.has(step))
    .map((one) => ({ step: one.step, worth: worth(one) }))
    .sort((a, b) => (a.worth === b.worth ? b.step - a.step : b.worth > a.worth ? 1 : -1))
    .slice(numToKeep)
    .map(({ step }) => step)
    .filter((step) => !needed.has(step))
    .reverse();
}
