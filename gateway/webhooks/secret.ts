/** The secret that signs webhooks: one per fabric, made when it is first needed, sealed in the bucket. */
import { text } from "node:stream/consumers";
import type { Clock } from "../../core/clock.ts";
import type { ObjectStore } from "../../core/object-store.ts";
import { seal, unseal } from "../../core/seal.ts";
import { newWebhookSecret } from "./signature.ts";

const KEY = "secrets/webhook.json";
const PURPOSE = "webhook secret";
/** Other gateways sign with a changed secret after this long. */
const REMEMBER_MS = 30_000;

export interface WebhookSecret {
  /** Throws `secret_unreadable` when it was sealed under another key. */
  read(): Promise<string>;
  /** Makes another one; receivers need it before the next webhook. */
  rotate(): Promise<string>;
}

export function webhookSecret(deps: { objects: ObjectStore; clock: Clock; sealKey: string }): WebhookSecret {
  const { objects, clock, sealKey } = deps;
  let known: { secret: string; until: number } | undefined;
  const remember = (secret: string): string => {
    known = { secret, until: clock.monotonic() + REMEMBER_MS };
    return secret;
  };
  const store = async (secret: string, ifNoneMatch: boolean): Promise<boolean> => {
    const body = JSON.stringify({ sealed: seal(sealKey, PURPOSE, secret) });
    return (await objects.put(KEY, body, { ifNoneMatch, contentType: "application/json" })).created;
  };
  const stored = async (): Promise<string | undefined> => {
    const object = await objects.get(KEY);
    return object && unseal(sealKey, PURPOSE, (JSON.parse(await text(object.body)) as { sealed: string }).sealed);
  };
  return {
    async read() {
      if (known && clock.monotonic() < known.until) return known.secret;
      const found = await stored();
      if (found !== undefined) return remember(found);
      const made = newWebhookSecret();
      // Another gateway may have made one at the same moment.
      return remember((await store(made, true)) ? made : (await stored())!);
    },
    async rotate() {
      const made = newWebhookSecret();
      await store(made, false);
      return remember(made);
    },
  };
}
