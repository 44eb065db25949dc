/** WebhookOutbox on Redis: a sorted set of ids by when they are due; a lease is a moment in the future. */
import type { WebhookOutbox } from "../webhook-outbox.ts";
import type { Commands, Subscriber } from "./connection.ts";
import type { RedisKeys } from "./keys.ts";

export function webhookOutbox({ run }: Commands, subscriber: Subscriber, keys: RedisKeys): WebhookOutbox {
  return {
    async take(leaseMs, max) {
      const [ids, lease, next] = (await run("webhook-take", [keys.webhooks], [leaseMs, max])) as [
        Buffer[],
        number,
        number | Buffer,
      ];
      return {
        taken: ids.map((id) => ({ id: id.toString(), lease })),
        nextInMs: typeof next === "number" ? next : undefined,
      };
    },
    async settle({ id, lease }, delivery, retryInMs) {
      const args = [id, lease, retryInMs ?? "", JSON.stringify(delivery)];
      return (await run("webhook-settle", [keys.webhooks, keys.record(id)], args)) === 1;
    },
    onDue: (listener) => subscriber.on(keys.webhooks, listener),
  };
}
