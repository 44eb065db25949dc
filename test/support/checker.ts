/** What must be true of calls after any faults: decided from what callers, records and the functions themselves saw. */

export interface AcceptedCall {
  id: string;
  fn: string;
  /** Given to the function, which writes it into its journal and its result. */
  token: string;
  /** When it was first sent, and its delay; on the clock of its executions. */
  notBefore?: number;
}

export interface Final {
  id: string;
  state: string;
  attempts: number;
  userFaults: number;
  platformFaults: number;
  /** What was returned, or the error's code. */
  value: unknown;
  /** The error's. */
  message?: string | undefined;
}

/** One execution of a function's body, in moments of one machine's monotonic clock. */
export interface Execution {
  token: string;
  process: string;
  startedAt: number;
  /** Absent: its process died. */
  endedAt?: number;
}

export interface Observed {
  accepted: AcceptedCall[];
  /** Each look at a record that had ended; several looks at the same one must agree. */
  finals: Final[];
  executions: Execution[];
  /** How a call of a function must end. */
  expected(call: AcceptedCall): { state: string; value: unknown };
  /** Faults that may have taken an attempt from a runner or a container. */
  disruptions: number;
}

/** The promises that were broken, in words; empty when all hold. */
export function violations(observed: Observed): string[] {
  const finals = group(observed.finals, ({ id }) => id);
  const executions = group(observed.executions, ({ token }) => token);
  return [
    ...idsAndTokens(observed.accepted),
    ...observed.accepted.flatMap((call) => {
      const [final, ...others] = finals.get(call.id) ?? [];
      const name = `${call.fn} ${call.token} (${call.id})`;
      if (!final) return [`${name} was accepted and never ended`];
      const ran = executions.get(call.token) ?? [];
      return [
        ...others.flatMap((other) => differs(final, other)),
        ...outcome(final, observed.expected(call)),
        ...attempts(final, ran, observed.disruptions),
        ...together(final, ran),
        ...early(call, ran),
      ].map((what) => `${name} ${what}`);
    }),
  ];
}

/** One key never gives two invocations, and no invocation answers two keys. */
export function idsAndTokens(accepted: Pick<AcceptedCall, "id" | "token">[]): string[] {
  type Call = Pick<AcceptedCall, "id" | "token">;
  const twice = (what: string, groups: Map<string, Call[]>, other: (call: Call) => string) =>
    [...groups].flatMap(([key, calls]) => {
      const distinct = new Set(calls.map(other));
      return distinct.size > 1 ? [`${what} ${key} stands for ${[...distinct].join(" and ")}`] : [];
    });
  return [
    ...twice(
      "token",
      group(accepted, ({ token }) => token),
      ({ id }) => id,
    ),
    ...twice(
      "invocation",
      group(accepted, ({ id }) => id),
      ({ token }) => token,
    ),
  ];
}

export const differs = (first: object, other: object): string[] =>
  JSON.stringify(first) === JSON.stringify(other)
    ? []
    : [`changed after its end: ${JSON.stringify(first)}, later ${JSON.stringify(other)}`];

function outcome(final: Final, expected: { state: string; value: unknown }): string[] {
  if (final.state === expected.state && JSON.stringify(final.value) === JSON.stringify(expected.value)) return [];
  const shown = `${JSON.stringify(final.value)?.slice(0, 200)}${final.message ? ` (${final.message})` : ""}`;
  return [
    `ended ${final.state} with ${shown}, not ${expected.state} with ${JSON.stringify(expected.value)?.slice(0, 200)}`,
  ];
}

/** An attempt may also be given back before it is executed, which nobody minds. */
function attempts(final: Final, ran: Execution[], disruptions: number): string[] {
  const allowed = 1 + final.userFaults + disruptions;
  return [
    ...(ran.length > allowed ? [`was executed ${ran.length} times, ${allowed} at most were called for`] : []),
    ...(ran.length > final.attempts ? [`was executed ${ran.length} times in ${final.attempts} attempts`] : []),
    ...(final.state === "succeeded" && !ran.some(({ endedAt }) => endedAt !== undefined)
      ? ["succeeded without having been executed"]
      : []),
  ];
}

function early({ notBefore = 0 }: AcceptedCall, ran: Execution[]): string[] {
  const first = Math.min(...ran.map(({ startedAt }) => startedAt));
  return first < notBefore ? [`began ${(notBefore - first).toFixed(3)} s before it was due`] : [];
}

/** Only where an attempt was given up as lost may the next one overlap what is left of it. */
function together(final: Final, ran: Execution[]): string[] {
  if (final.platformFaults > 0) return [];
  const sorted = [...ran].sort((a, b) => a.startedAt - b.startedAt);
  return sorted.flatMap((one, i) => {
    const next = sorted[i + 1];
    return next && one.endedAt !== undefined && next.startedAt < one.endedAt
      ? [`ran in ${one.process} and ${next.process} at the same time`]
      : [];
  });
}

export function group<T>(all: T[], keyOf: (one: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const one of all) {
    const key = keyOf(one);
    const beside = groups.get(key);
    if (beside) beside.push(one);
    else groups.set(key, [one]);
  }
  return groups;
}
