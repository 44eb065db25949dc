/** What a call may be given beside its arguments, and the headers that carry it. */
import { OPTION_HEADERS } from "../../core/option-headers.ts";

export interface CallOptions {
  version?: string;
  /** Of a class: its parameters' values. */
  parameters?: Record<string, string | number | boolean>;
  /** Of a class: options that differ from the deployed ones, e.g. `{ gpu: "A100" }`. */
  overrides?: Record<string, unknown>;
  /** Seconds to wait for the outcome; 0: only accept. */
  waitSeconds?: number;
  idempotencyKey?: string;
  /** Seconds until it may run. */
  delay?: number;
  /** Seconds it may wait in its queue. */
  ttl?: number;
  /** Seconds of head start over the other queued calls of the function; negative: others go first. */
  priority?: number;
  /** Whose call it is, where the function has a `key_concurrency`. */
  key?: string;
  /** Seconds: of calls with the same `debounceKey` only the last runs, so long after it. */
  debounce?: number;
  debounceKey?: string;
  /** Told of the outcome. */
  webhook?: string;
  signal?: AbortSignal;
}

export function optionHeaders(options: CallOptions): Record<string, string> {
  const { idempotencyKey, delay, ttl, priority, key, debounce, debounceKey, webhook } = options;
  const given: { [option in keyof typeof OPTION_HEADERS]: string | number | undefined } = {
    ...{ idempotency_key: idempotencyKey, delay, ttl, priority, key, debounce, debounce_key: debounceKey, webhook },
  };
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(set.map(([name, value]) => [OPTION_HEADERS[name as keyof typeof given], String(value)]));
}
