/** Where a call's outcome may be sent to: its form; which addresses are allowed is decided when it is sent. */
import { z } from "zod";

const RULE = "it must be an http or https URL without user and password, 2048 characters at most";

export const webhookUrlSchema = z.string(RULE).max(2048, RULE).refine(isWebhookUrl, RULE);

function isWebhookUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password } = new URL(text);
  return (protocol === "https:" || protocol === "http:") && username === "" && password === "";
}
