/** Prints what a call yields while it runs, one JSON value a line, and its result. */
import type { Answer } from "../../typescript/client.ts";
import type { EndEvent } from "../../typescript/events.ts";
import { fromBody } from "../../typescript/http.ts";
import type { Context } from "../context.ts";
import { EXIT_CODES } from "../exit-codes.ts";
import { printAnswer } from "./invocation.ts";

/** `giveUp` ends the reading, not the call. */
export async function followEvents(accepted: Answer, context: Context, giveUp?: AbortSignal): Promise<number> {
  const { terminal, signal } = context;
  const { id } = accepted;
  let pending = accepted;
  let yielded = 0;
  try {
    const either = giveUp ? AbortSignal.any([signal, giveUp]) : signal;
    for await (const event of context.client().events(id, { signal: either })) {
      if (event.type === "state") {
        pending = { id, state: event.state, reason: event.reason };
        terminal.status(event.reason);
      } else if (event.type === "chunk") {
        yielded++;
        terminal.out(JSON.stringify(event.value));
      } else if (event.type === "restart") {
        terminal.warn(`an attempt failed; another one starts over, and the ${yielded} lines so far do not count`);
        yielded = 0;
      } else return await printEnd(event, yielded > 0, context);
    }
  } catch (error) {
    if (!giveUp?.aborted || signal.aborted) throw error;
  } finally {
    terminal.status(undefined);
  }
  return printAnswer(pending, terminal);
}

/** What a generator returns is seldom of interest, and next to its values only when it is something. */
async function printEnd(event: EndEvent, hasYielded: boolean, { terminal, client, signal }: Context): Promise<number> {
  const { id, error } = event;
  if (error) throw fromBody(error);
  const result = event.location === undefined ? event.result : await largeResult();
  if (hasYielded && (result ?? null) === null) return EXIT_CODES.ok.code;
  return printAnswer({ id, state: "succeeded", result }, terminal);

  async function largeResult(): Promise<unknown> {
    const answer = await client().result(id, 60, signal);
    return "result" in answer ? answer.result : undefined;
  }
}
