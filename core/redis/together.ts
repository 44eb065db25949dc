/** Asks of one turn of the event loop become one request: under load, the number of requests costs most. */
import { atTurnEnd } from "../turn.ts";

/** More at a time would only hold up others. */
const MAX = 64;

/** `ask` answers for each of several in their order; what it throws, all of them get. */
export function together<Ask, Answer>(ask: (all: Ask[]) => Promise<Promise<Answer>[]>): (one: Ask) => Promise<Answer> {
  let waiting: { one: Ask; resolve(answer: Promise<Answer>): void; reject(thrown: unknown): void }[] = [];

  function send(): void {
    const batch = waiting.slice(0, MAX);
    waiting = waiting.slice(MAX);
    if (waiting.length > 0) atTurnEnd(send);
    ask(batch.map(({ one }) => one)).then(
      (answers) => {
        for (const [i, { resolve }] of batch.entries()) resolve(answers[i]!);
      },
      (thrown: unknown) => {
        for (const { reject } of batch) reject(thrown);
      },
    );
  }

  return (one) =>
    new Promise((resolve, reject) => {
      if (waiting.push({ one, resolve, reject }) === 1) atTurnEnd(send);
    });
}
