/** What must be true of calls that calls make, after any faults: made once by each attempt, ended, and nobody's but their parent's. */
import { differs, type Execution, group } from "./checker.ts";

export interface Child {
  id: string;
  state: string;
  parent: string;
  root: string;
}

export interface Parent {
  id: string;
  token: string;
  /** Attempts that began. */
  attempts: number;
}

export interface ObservedFamilies {
  parents: Parent[];
  /** Each look at a child that had ended. */
  children: Child[];
  /** All that the parents' records name. */
  named: { parent: string; child: string }[];
  /** Calls that one attempt of a parent makes. */
  perAttempt: number;
  /** What the calls of a parent are given. */
  tokensOf(token: string): string[];
  executions: Execution[];
  disruptions: number;
}

export function familyViolations(observed: ObservedFamilies): string[] {
  const children = group(observed.children, ({ id }) => id);
  const named = group(observed.named, ({ parent }) => parent);
  const executions = group(observed.executions, ({ token }) => token);
  return observed.parents.flatMap((parent) => {
    const ids = (named.get(parent.id) ?? []).map(({ child }) => child);
    return [
      ...number(parent, ids.length, observed.perAttempt),
      ...ids.flatMap((id) => ends(parent, id, children.get(id) ?? [])),
      ...runs(parent, executions, observed),
    ].map((what) => `parent ${parent.token} (${parent.id}) ${what}`);
  });
}

/** An attempt that was lost before it had made them all made fewer. */
function number({ attempts }: Parent, made: number, perAttempt: number): string[] {
  if (made < perAttempt) return [`made ${made} calls instead of ${perAttempt}`];
  return made > perAttempt * attempts ? [`made ${made} calls in ${attempts} attempts`] : [];
}

function ends({ id: parent, attempts }: Parent, id: string, [first, ...others]: Child[]): string[] {
  if (!first) return [`is done, and its call ${id} never ended`];
  // What an earlier attempt awaited is cancelled with it.
  const isWanted = first.state === "succeeded" || (attempts > 1 && first.state === "cancelled");
  return [
    ...others.flatMap((other) => differs(first, other)),
    ...(isWanted ? [] : [`its call ${id} ended ${first.state}`]),
    ...(first.parent === parent && first.root === parent ? [] : [`its call ${id} says it is ${first.parent}'s`]),
  ];
}

function runs(
  { token, attempts }: Parent,
  executions: Map<string, Execution[]>,
  { tokensOf, disruptions }: ObservedFamilies,
): string[] {
  const allowed = attempts + disruptions;
  return tokensOf(token).flatMap((one) => {
    const ran = executions.get(one)?.length ?? 0;
    if (ran === 0) return [`its call ${one} was not executed`];
    return ran > allowed ? [`its call ${one} was executed ${ran} times, ${allowed} at most`] : [];
  });
}
