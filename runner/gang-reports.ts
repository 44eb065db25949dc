/**
 * Reports of a gang's ranks: the n-th of each belong together, and are stored as one once all ranks have handed theirs over.
 * Whoever waits for a rank that will not report any more is told which one it is.
 */
import { asFabricError, FabricError } from "../core/errors.ts";
import type { Operation } from "../core/operation.ts";
import type { CheckpointWriter, Stored } from "./checkpoint.ts";
import type { Part } from "./save-parts.ts";

/** Where a rank's files are. */
type Home = Pick<Part, "scratch" | "saver">;

type Report = Extract<Operation, { op: "report" }>;

export interface GangReports {
  /** The same `request` of a rank again is the same report. */
  report(rank: number, report: Report, request: number, home: Home): Promise<Stored>;
  /** The rank's function has returned. */
  returned(rank: number): void;
}

const ASKED_KEPT = 8;

interface Round {
  number: number;
  handed: Map<number, { report: Report; home: Home }>;
  stored: Promise<Stored>;
  resolve(stored: Stored): void;
  reject(error: FabricError): void;
}

export function createGangReports(writer: Pick<CheckpointWriter, "report">, worldSize: number): GangReports {
  const counts = new Map<number, number>();
  /** By rank, the latest ones by their requests: a rank that saves behind its function waits for several at a time. */
  const asked = new Map<number, Map<number, Promise<Stored>>>();
  const open = new Map<number, Round>();
  const gone = new Set<number>();

  function roundOf(number: number): Round {
    const known = open.get(number);
    if (known) return known;
    let settle: Pick<Round, "resolve" | "reject">;
    const stored = new Promise<Stored>((resolve, reject) => (settle = { resolve, reject }));
    // Each rank that has asked is told; one may have ended meanwhile.
    stored.catch(() => undefined);
    const round = { number, handed: new Map(), stored, ...settle! };
    open.set(number, round);
    return round;
  }

  function giveUpOn(rank: number, round: Round): void {
    open.delete(round.number);
    const done = counts.get(rank) ?? 0;
    const message = `rank ${rank} returned after ${done} reports, and others wait with report ${round.number + 1}: every rank has to report equally often`;
    round.reject(new FabricError("report_missing", message, { rank, reports: done }));
  }

  async function store(round: Round, request: number): Promise<void> {
    open.delete(round.number);
    try {
      const ranks = [...round.handed.keys()].sort((a, b) => a - b);
      const { report } = round.handed.get(0)!;
      const parts = ranks.flatMap((rank): Part[] => {
        const { report: own, home } = round.handed.get(rank)!;
        return own.directory === undefined ? [] : [{ rank, ...home, directory: own.directory }];
      });
      const differs = ranks.find((rank) => round.handed.get(rank)!.report.step !== report.step);
      if (differs !== undefined)
        throw new FabricError("bad_request", `rank ${differs} reports another step than rank 0 does`, {
          rank: differs,
        });
      const others = report.per_rank ? ranks.slice(1) : [];
      const rows = others.map((rank) => ({ rank, metrics: round.handed.get(rank)!.report.metrics }));
      round.resolve(await writer.report({ ...report, parts, ranks: rows }, request));
    } catch (thrown) {
      round.reject(asFabricError(thrown));
    }
  }

  return {
    report(rank, report, request, home) {
      const mine = asked.get(rank) ?? new Map<number, Promise<Stored>>();
      asked.set(rank, mine);
      const before = mine.get(request);
      if (before) return before;
      const number = counts.get(rank) ?? 0;
      counts.set(rank, number + 1);
      const round = roundOf(number);
      round.handed.set(rank, { report, home });
      mine.set(request, round.stored);
      if (mine.size > ASKED_KEPT) mine.delete(mine.keys().next().value!);
      const missing = [...gone].find((one) => !round.handed.has(one));
      if (missing !== undefined) giveUpOn(missing, round);
      else if (round.handed.size === worldSize) void store(round, request);
      return round.stored;
    },
    returned(rank) {
      gone.add(rank);
      for (const round of [...open.values()]) if (!round.handed.has(rank)) giveUpOn(rank, round);
    },
  };
}
