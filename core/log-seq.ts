/**
 * Positions in an app's log: `<epoch>-<number>`. Numbers are dense within an epoch, so that a missing one is a lost line; a new
 * epoch (the moment at which Redis began the log anew) means that Redis lost what was not archived.
 */

export interface LogSeq {
  epoch: number;
  number: number;
}

export interface LogGap {
  /** How many lines are missing, where that is known. */
  lines?: number;
  /** Their positions, both inclusive, where they had some. */
  from?: string;
  to?: string;
}

const FORM = /^\d{1,15}-\d{1,15}$/;

export const isLogSeq = (text: string): boolean => FORM.test(text);

export function parseSeq(text: string): LogSeq {
  const [epoch = 0, number = 0] = text.split("-").map(Number);
  return { epoch, number };
}

export const seqText = ({ epoch, number }: LogSeq): string => `${epoch}-${number}`;

/** Negative when `a` comes first. */
export function compareSeq(a: string, b: string): number {
  const [left, right] = [parseSeq(a), parseSeq(b)];
  return left.epoch - right.epoch || left.number - right.number;
}

/** What is missing between two lines that should follow each other. */
export function gapBetween(before: string, after: string): { gap: LogGap; reason: string } | undefined {
  const [left, right] = [parseSeq(before), parseSeq(after)];
  if (left.epoch === right.epoch) {
    const lines = right.number - left.number - 1;
    if (lines <= 0) return undefined;
    const from = seqText({ ...left, number: left.number + 1 });
    const to = seqText({ ...right, number: right.number - 1 });
    return { gap: { lines, from, to }, reason: "they were trimmed before they were archived" };
  }
  const from = seqText({ ...left, number: left.number + 1 });
  const to = seqText({ ...right, number: Math.max(0, right.number - 1) });
  return { gap: { from, to }, reason: "Redis was emptied: what was not archived by then is lost" };
}
