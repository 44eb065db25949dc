/** A line that says where lines of a log are missing, how many and why: silence would look like a quiet function. */
import type { LogGap } from "./log-seq.ts";
import type { LogLine } from "./state-store.ts";

/** Without a function it concerns the whole app. */
export const gapLine = (
  at: number,
  of: { fn: string; container: string; invocation?: string },
  gap: LogGap,
  reason: string,
): LogLine & { gap: LogGap } => ({ at, ...of, source: "system", text: gapText(gap, reason), gap, reason });

export const gapText = ({ lines }: LogGap, reason: string): string =>
  lines === undefined
    ? `(lines may be missing here: ${reason})`
    : `(${lines} ${lines === 1 ? "line is" : "lines are"} missing here: ${reason})`;
