/** Headers by which a receiver knows that a webhook is from this fabric, whole and fresh: those of standardwebhooks.com. */
import { createHmac, randomBytes } from "node:crypto";

const PREFIX = "whsec_";

export const newWebhookSecret = (): string => PREFIX + randomBytes(32).toString("base64");

export function signedHeaders(secret: string, id: string, sentMs: number, body: string): Record<string, string> {
  const timestamp = String(Math.floor(sentMs / 1000));
  const key = Buffer.from(secret.slice(PREFIX.length), "base64");
  const signature = createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64");
  return { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": `v1,${signature}` };
}
