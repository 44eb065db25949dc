/** Collects the outcomes of a slice's inputs: what is told to the caller, what fails for good, what is tried again. */
import { isUtf8 } from "node:buffer";
import { type ErrorBody, FabricError } from "../core/errors.ts";
import type { Again } from "../core/map-store.ts";
import { outcomeLineSchema, type ShimError } from "../core/protocol.ts";
import { decideRetry, retryReason, type Spent } from "../core/retry.ts";

export interface SliceOutcomes {
  /**
   * Lines of a `results` frame, of inputs before `end`; those known already are passed over. Answers how many were new.
   * Throws `protocol_violation`; what came before the violation counts. `instead`: what ended an input that was told to end.
   */
  accept(first: number, body: Buffer, end: number, wanted?: "cancelled" | "timed_out", instead?: ErrorBody): number;
  /** The next input, and `count - 1` behind it, ended with this error. */
  fault(error: ErrorBody, count?: number): void;
  /** Index of the first input without an outcome. */
  next(): number;
  bytes(): number;
  close(): { lines: Buffer; succeeded: number; failed: number; again: Again[] };
}

export function collectOutcomes(first: number, spent: Spent): SliceOutcomes {
  let next = first;
  const pieces: Buffer[] = [];
  let bytes = 0;
  let succeeded = 0;
  let failed = 0;
  const again: Again[] = [];

  function keep(piece: Buffer): void {
    if (piece.length === 0) return;
    pieces.push(piece);
    bytes += piece.length;
  }

  function fault(error: ErrorBody, count = 1, exception?: string, mayRetry = true): void {
    const decision = mayRetry ? decideRetry(error.code, spent) : ({ retry: false } as const);
    if (decision.retry) {
      const { charge, delayMs } = decision;
      runAgain({ first: next, count, charge, delayMs, solo: false, why: retryReason(decision, spent, error) });
    } else {
      for (let index = next; index < next + count; index++)
        keep(Buffer.from(`${JSON.stringify({ index, error, exception })}\n`));
      failed += count;
    }
    next += count;
  }

  /** Neighbours that are tried again for like reasons stay together. */
  function runAgain(range: Again): void {
    const before = again.at(-1);
    if (before && before.first + before.count === range.first && before.charge === range.charge)
      before.count += range.count;
    else again.push(range);
  }

  function accept(...[from, body, end, wanted, instead]: Parameters<SliceOutcomes["accept"]>): number {
    const before = next;
    let at = 0;
    let keptTo = 0;
    // The frame is a view on the socket's buffer, which must not be kept alive by a small outcome.
    const keepTo = (to: number): void => keep(Buffer.from(body.subarray(keptTo, to)));
    if (!isUtf8(body)) violation("outcomes that are not UTF-8");
    try {
      for (let index = from; at < body.length; index++) {
        const newline = body.indexOf(0x0a, at);
        if (newline < 0) violation("an outcome without its end of line");
        if (index > next) violation(`outcome ${index} came before that of ${next}`);
        if (index >= end) violation(`an outcome of input ${index}, which it was not given`);
        const error = index < next ? undefined : read(body.toString("utf8", at, newline), index);
        if (index === next && !error) {
          succeeded++;
          next++;
        } else {
          keepTo(at);
          keptTo = newline + 1;
          if (error && instead && error.code === wanted) fault(instead);
          else if (error) fault(asBody(error, wanted), 1, error.exception, error.retryable !== false);
        }
        at = newline + 1;
      }
    } finally {
      keepTo(at);
    }
    return next - before;
  }

  return {
    accept,
    fault: (error, count) => fault(error, count),
    next: () => next,
    bytes: () => bytes,
    close: () => ({ lines: Buffer.concat(pieces, bytes), succeeded, failed, again }),
  };
}

const violation = (why: string): never => {
  throw new FabricError("protocol_violation", why);
};

/** The error an outcome line tells of; `undefined` for a result. As strict as the schema; results are what there are most of. */
function read(text: string, index: number): (ShimError & { exception?: string }) | undefined {
  let line: Record<string, unknown>;
  try {
    line = JSON.parse(text);
  } catch {
    return violation(`the outcome of input ${index} is not JSON`);
  }
  if (typeof line !== "object" || line === null || line.index !== index) violation(`no outcome of input ${index}`);
  const names = Object.keys(line);
  if (names.length === 2 && ("result" in line || typeof line.pickle === "string")) return undefined;
  const parsed = outcomeLineSchema.safeParse(line);
  if (!parsed.success || !parsed.data.error) return violation(`the outcome of input ${index} has no known form`);
  return { ...parsed.data.error, exception: parsed.data.exception };
}

/** Only we cancel; a function that claims it was cancelled raised an exception. */
export function asBody({ code, message, type, traceback }: ShimError, wanted?: "cancelled" | "timed_out"): ErrorBody {
  const told = (code === "cancelled" || code === "timed_out") && code !== wanted ? "exception" : code;
  return new FabricError(told, message, { type, traceback }).toBody();
}
