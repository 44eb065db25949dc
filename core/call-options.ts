/** What a caller may ask of one call beside its arguments: over HTTP in headers, elsewhere under these names. */
import { z } from "zod";
import { fail } from "./errors.ts";
import type { NewInvocation } from "./invocation.ts";
import { OPTION_HEADERS } from "./option-headers.ts";
import { type FunctionSpec, retryPolicy } from "./spec.ts";
import { webhookUrlSchema } from "./webhook-url.ts";

const RULE = "it must be seconds, up to 2592000 (30 days)";
const seconds = z
  .number(RULE)
  .min(0, RULE)
  .max(30 * 86_400, RULE);
const DAY = 86_400;
const RULE_PRIORITY = "it must be seconds, -86400 to 86400 (a day)";
const RULE_KEY = "it must have 1 to 255 characters";
const key = z.string().min(1, RULE_KEY).max(255, RULE_KEY);

export const callOptionsSchema = z
  .object({
    /** Seconds until it may run. */
    delay: seconds.optional(),
    /** Seconds it may wait in the queue; instead of the function's `max_queue_age`. */
    ttl: seconds.positive(`${RULE}, and more than 0`).optional(),
    /** Seconds of head start over the other queued calls of the function; negative: it lets those go first that come so much later. */
    priority: z.number(RULE_PRIORITY).min(-DAY, RULE_PRIORITY).max(DAY, RULE_PRIORITY).optional(),
    /** Whose call it is, where the function has a `key_concurrency`. */
    key: key.optional(),
    /** Seconds: it runs so long after the last call with the same key, with that one's arguments. */
    debounce: seconds.positive(`${RULE}, and more than 0`).optional(),
    /** Without, all debounced calls of the function are one. */
    debounce_key: key.optional(),
    /** An earlier call with the same key is the same call. */
    idempotency_key: key.optional(),
    /** Told of the outcome by a signed POST. */
    webhook: webhookUrlSchema.optional(),
  })
  .strict()
  .refine(({ delay, debounce }) => delay === undefined || debounce === undefined, {
    path: ["delay"],
    message: "it must not be given beside a debounce, which is a delay",
  })
  .refine(({ debounce, debounce_key }) => debounce !== undefined || debounce_key === undefined, {
    path: ["debounce_key"],
    message: "it must not be given without a debounce",
  });
export type CallOptions = z.infer<typeof callOptionsSchema>;

const NUMBERS: ReadonlySet<string> = new Set(["delay", "ttl", "priority", "debounce"]);
const ENTRIES = Object.entries(OPTION_HEADERS satisfies Record<keyof CallOptions, string>) as [
  keyof CallOptions,
  string,
][];
const NONE: CallOptions = Object.freeze({});

/** Throws `bad_request`, naming the header. */
export function callOptions(header: (name: string) => string | undefined): CallOptions {
  let given: Record<string, unknown> | undefined;
  for (const [option, name] of ENTRIES) {
    const text = header(name);
    if (text === undefined) continue;
    given ??= {};
    given[option] = NUMBERS.has(option) && text.trim() !== "" ? Number(text) : text;
  }
  if (!given) return NONE;
  const read = callOptionsSchema.safeParse(given);
  if (read.success) return read.data;
  const issue = read.error.issues[0]!;
  const name = OPTION_HEADERS[issue.path[0] as keyof CallOptions];
  return fail("bad_request", `${name} is ${JSON.stringify(header(name))}; ${issue.message}`, { header: name });
}

type Timing = Pick<
  NewInvocation,
  | "timeoutMs"
  | "retries"
  | "backoff"
  | "atMostOnce"
  | "priority"
  | "key"
  | "keyLimit"
  | "rate"
  | "delayMs"
  | "maxQueueMs"
  | "debounceKey"
>;

/** When and how often a call runs: what its function says, and what its caller asks. */
export function timingOf(
  spec: FunctionSpec,
  { delay, ttl, priority, key, debounce, debounce_key }: CallOptions,
): Timing {
  const wait = ttl ?? spec.max_queue_age;
  return {
    timeoutMs: Math.round(spec.timeout * 1000),
    ...retryPolicy(spec.retries),
    atMostOnce: spec.at_most_once || undefined,
    priority: priority || undefined,
    ...(key !== undefined && spec.key_concurrency ? { key, keyLimit: spec.key_concurrency } : {}),
    rate: spec.rate_limit ?? undefined,
    delayMs: toMs(delay ?? debounce),
    maxQueueMs: toMs(wait ?? undefined),
    debounceKey: debounce === undefined ? undefined : (debounce_key ?? ""),
  };
}

/** At least one, where any is asked for. */
const toMs = (seconds: number | undefined): number | undefined =>
  seconds ? Math.max(1, Math.round(seconds * 1000)) : undefined;
