/**
 * Lends the place of containers in which everything waits for calls: their cpu, and that they count for max_containers. Memory
 * and GPUs stay theirs. Done when somebody finds no room, and taken back when an attempt goes on, be it that the node is then
 * booked beyond its cpu for a moment.
 */

import type { CapacityLedger } from "../core/capacity-ledger.ts";
import type { Log } from "../core/log.ts";
import { untilDone } from "../core/until-done.ts";
import type { LiveAttempt } from "./attempt.ts";
import type { Waits } from "./waits.ts";

export interface Lending {
  /** Containers in which everything waits. */
  waiting(): ReadonlySet<string>;
  /** Notes in the ledger what waits here. Answers whether it was news, so that another look for room is worth it. */
  lend(): Promise<boolean>;
}

export interface LendingDeps {
  capacity: Pick<CapacityLedger, "lend">;
  node: string;
  log: Log;
  waits: Waits;
  /** Of this runner. */
  attempts(): Iterable<LiveAttempt>;
}

export function createLending({ capacity, node, log, waits, attempts }: LendingDeps): Lending {
  /** By container: what the ledger was told last. */
  const noted = new Map<string, string>();
  let last: Promise<unknown> = Promise.resolve();

  /** By container, the attempts inside. */
  function waiting(): Map<string, LiveAttempt[]> {
    const found = new Map<string, LiveAttempt[]>();
    if (waits.isEmpty()) return found;
    const active = new Set<string>();
    const asOne = new Set<string>();
    for (const attempt of attempts()) {
      const container = attempt.container();
      if (container === undefined || attempt.state() !== "running") continue;
      const how = waits.how(attempt);
      if (how === undefined) active.add(container);
      else found.set(container, [...(found.get(container) ?? []), attempt]);
      if (how === "all") asOne.add(container);
    }
    for (const container of active) if (!asOne.has(container)) found.delete(container);
    return found;
  }

  /** Its id and the calls it cannot do without. */
  const lineOf = (attempt: LiveAttempt): string => [attempt.id, ...waits.of(attempt).calls].join(" ");

  /** One after the other, each with what is true when its turn comes. */
  const inTurn = <T>(act: () => Promise<T>): Promise<T> => {
    const turn = last.then(act);
    last = turn.catch(() => undefined);
    return turn;
  };

  async function note(): Promise<boolean> {
    const now = [...waiting()].map(([container, inside]): [string, string[]] => [container, inside.map(lineOf)]);
    const news = now.filter(([container, lines]) => noted.get(container) !== lines.join("\n"));
    const isLendingMore = news.some(([container]) => !noted.has(container));
    for (const [container, lines] of news) noted.set(container, lines.join("\n"));
    if (news.length > 0) await capacity.lend(node, Object.fromEntries(news));
    return isLendingMore;
  }

  async function takeBack(): Promise<void> {
    const now = waiting();
    const back = [...noted.keys()].filter((container) => !now.has(container));
    for (const container of back) noted.delete(container);
    if (back.length > 0)
      await untilDone(() => capacity.lend(node, Object.fromEntries(back.map((container) => [container, []]))));
  }

  waits.onGoingOn((attempt) => {
    const container = attempt.container();
    if (container === undefined || !noted.has(container)) return;
    inTurn(takeBack).catch((err: unknown) => log.error({ err, container }, "a lent place was not taken back"));
  });

  return { waiting: () => new Set(waiting().keys()), lend: () => inTurn(note) };
}
