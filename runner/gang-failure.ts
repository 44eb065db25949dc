/** What ended a gang's attempt: of all ranks that failed at about the same time the one that took the others with it. Pure. */
import { type ErrorBody, FabricError } from "../core/errors.ts";
import type { ShimError } from "../core/protocol.ts";
import { isFromOutside, signalName } from "./classify-exit.ts";

export interface RankFailure {
  rank: number;
  container: string;
  /** What it said itself; its process's end when it said nothing. */
  how: { error: ShimError; exception: Buffer } | { exit: number; outOfMemory: boolean } | { verdict: ErrorBody };
  /** What it printed last. */
  lines: string[];
}

/**
 * A rank that dies breaks the connections of the others, which then raise, and say so before anybody has seen the death: so a
 * death without a word goes before what was raised. Otherwise the first is the cause.
 */
export const rootOf = (failures: readonly RankFailure[]): RankFailure =>
  failures.find(({ how }) => !("error" in how)) ?? failures[0]!;

export interface GangFault {
  root: RankFailure;
  /** With the rank named. */
  message: string;
  details: Record<string, unknown>;
}

const SHOWN_FAILURES = 64;
const SHOWN_BYTES = 300;

export function gangFault(failures: readonly RankFailure[], worldSize: number): GangFault {
  const root = rootOf(failures);
  const message = `rank ${root.rank} of ${worldSize} (${root.container}) ${saying(root)}`;
  const others = failures.filter((one) => one !== root).slice(0, SHOWN_FAILURES);
  return {
    root,
    message:
      root.lines.length > 0 && !("error" in root.how)
        ? `${message}\nIts last lines:\n${root.lines.join("\n")}`
        : message,
    details: {
      rank: root.rank,
      world_size: worldSize,
      container: root.container,
      ...("exit" in root.how ? { exit: root.how.exit } : {}),
      lines: root.lines,
      failures: [root, ...others].map((one) => ({ rank: one.rank, message: saying(one).slice(0, SHOWN_BYTES) })),
    },
  };
}

/** As an error of its own: what a rank raised is told under the code of what it raised. */
export function deathOf({ root, message, details }: GangFault): ErrorBody {
  const { how } = root;
  if ("verdict" in how) return { ...how.verdict, message, details: { ...how.verdict.details, ...details } };
  const signal = "exit" in how && how.exit > 128 ? how.exit - 128 : undefined;
  if ("exit" in how && how.outOfMemory && how.exit === 137)
    return new FabricError("out_of_memory", message, details).toBody();
  const code = signal !== undefined && isFromOutside(signal) ? "rank_killed" : "rank_failed";
  return new FabricError(code, message, details).toBody();
}

function saying({ how }: RankFailure): string {
  if ("error" in how) return `raised ${how.error.message}`;
  if ("verdict" in how) return `lost its container: ${how.verdict.message}`;
  if (how.outOfMemory && how.exit === 137) return "used more memory than its container has, and was killed";
  if (how.exit <= 128) return `ended with exit code ${how.exit}`;
  const name = signalName(how.exit - 128);
  return isFromOutside(how.exit - 128) ? `was killed from outside (${name})` : `was ended by ${name}`;
}
