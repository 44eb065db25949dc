/** Waits for the end of a call, however long that takes. */
import type { Answer, Client, Pending } from "./client.ts";

/** Asks again whenever the gateway answers "not yet". */
export async function untilEnded(
  client: Client,
  first: Answer,
  waitSeconds: number,
  onPending: (pending: Pending) => void,
  signal?: AbortSignal,
): Promise<Answer> {
  const deadline = performance.now() + waitSeconds * 1000;
  let answer = first;
  while (!("result" in answer)) {
    onPending(answer);
    const left = (deadline - performance.now()) / 1000;
    if (left <= 0) return answer;
    answer = await client.result(answer.id, left, signal);
  }
  return answer;
}
