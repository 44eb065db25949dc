/** Makes a map and brings its inputs in, page by page; the state store and the outbox carry them from there. */
import { type CallOptions, timingOf } from "./call-options.ts";
import type { Target } from "./catalog.ts";
import type { Clock } from "./clock.ts";
import { asFabricError, type ErrorCode, fail } from "./errors.ts";
import { newId } from "./ids.ts";
import type { Caller } from "./invocation.ts";
import { INLINE_PAGES_BYTES, lineOffsets, pageKey } from "./map.ts";
import type { MapStore } from "./map-store.ts";
import type { ObjectStore } from "./object-store.ts";
import type { Outbox } from "./outbox.ts";
import { mostTogether, type TokenQuota } from "./quota.ts";
import type { InputPage } from "./read-inputs.ts";

export interface FanOutDeps {
  state: { maps: Pick<MapStore, "open" | "append"> };
  outbox: Pick<Outbox, "post">;
  objects: Pick<ObjectStore, "put">;
  clock: Clock;
}

/** `from`: the attempt that calls, and the map's own id. Answers the earlier map's id when the idempotency key was used before, or what it redrives has a successor. */
export async function openMap(
  { state }: FanOutDeps,
  { app, name, spec, method, variant, version, key }: Target,
  { acceptPickle, from, quota }: { acceptPickle: boolean; from?: { id: string; caller: Caller }; quota?: TokenQuota },
  options: CallOptions,
  redrivenFrom?: string,
): Promise<{ id: string; created: boolean }> {
  if (spec.is_generator) fail("invalid_arguments", `${name} is a generator; a map's functions return one value each`);
  if (options.delay || options.debounce)
    fail("bad_request", "a map begins at once: Fabric-Delay and Fabric-Debounce are for single calls");
  const { idempotency_key } = options;
  const call = {
    id: from?.id ?? newId("inv"),
    caller: from?.caller,
    app,
    fn: spec.name,
    method,
    variant,
    version,
    acceptPickle,
    ...timingOf(spec, options),
    ttlSeconds: spec.result_ttl ?? undefined,
    webhook: options.webhook ?? spec.webhook ?? undefined,
    redrivenFrom,
    quota,
  };
  const opened = await state.maps.open(
    call,
    idempotency_key === undefined ? undefined : { key: idempotency_key, digest: `map ${key}` },
  );
  if (opened.mismatch)
    fail("idempotency_mismatch", "the Idempotency-Key was used before for something else", { invocation: opened.id });
  return { id: opened.id, created: opened.created };
}

/**
 * How long one request is held up while as many inputs wait as may. Its sender is told to come back, before it gives the
 * connection up; who sends all inputs in one request is held up for as long as it takes.
 */
export const HOLD_MS = 20_000;
/** While the store takes nothing, reading on waits so long before the map is given up. */
const PATIENCE: Partial<Record<ErrorCode, number>> = { too_many_invocations: 60_000, redis_unavailable: 60_000 };
/** As long as there is no room, so long its sender is held up. */
const HELD: ReadonlySet<ErrorCode> = new Set(["queue_full", "quota_exceeded"]);
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2_000;

interface To {
  id: string;
  inlineBytes: number;
  /** For ever, unless it is said. */
  holdMs?: number;
  /** Of the token that appends. */
  quota?: TokenQuota;
}

/** Appends pages as they come, `first` being the index of the first input; answers the index behind the last one. */
export async function appendPages(
  deps: FanOutDeps,
  map: To,
  pages: AsyncIterable<InputPage> | InputPage[],
  first = 0,
): Promise<number> {
  let index = first;
  const to = { ...map };
  const most = mostTogether(map.quota);
  for await (const whole of pages) {
    for (const page of parts(whole, most)) {
      const stored = await appendPage(deps, to, index, page);
      if (stored.entry) deps.outbox.post(stored.entry);
      to.inlineBytes = stored.inlineBytes;
      index += page.count;
    }
  }
  return index;
}

/** A page as pages of at most so many inputs. */
function* parts(page: InputPage, most: number): Generator<InputPage> {
  let rest = page;
  while (rest.count > most) {
    const next = without(rest, most);
    yield { count: most, body: rest.body.subarray(0, rest.body.length - next.body.length - 1) };
    rest = next;
  }
  yield rest;
}

/** Inputs that are sent again may come in other pages than the first time: what is stored already is cut off. */
async function appendPage(deps: FanOutDeps, map: To, first: number, page: InputPage) {
  try {
    return await storePage(deps, map, first, page);
  } catch (thrown) {
    const { code, details } = asFabricError(thrown);
    const known = code === "map_gap" ? Number(details?.next) - first : 0;
    if (known <= 0 || known >= page.count) throw thrown;
    return storePage(deps, map, first + known, without(page, known));
  }
}

async function storePage(
  { state, objects, clock }: FanOutDeps,
  { id, inlineBytes, holdMs = Number.POSITIVE_INFINITY, quota }: To,
  first: number,
  { count, body }: InputPage,
) {
  const isInline = inlineBytes + body.length <= INLINE_PAGES_BYTES;
  if (!isInline) await objects.put(pageKey(id, first), body, { contentType: "application/x-ndjson" });
  return patiently(clock, holdMs, () => state.maps.append(id, { first, count, quota, ...(isInline ? { body } : {}) }));
}

const without = ({ count, body }: InputPage, known: number): InputPage => ({
  count: count - known,
  body: body.subarray(lineOffsets(body)[known]!),
});

/** A store that is full or away holds the sender up; appending a page again is harmless. */
async function patiently<T>(clock: Clock, holdMs: number, act: () => Promise<T>): Promise<T> {
  const began = clock.monotonic();
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    let askedMs: number;
    try {
      return await act();
    } catch (thrown) {
      const { code, details } = asFabricError(thrown);
      const mostMs = PATIENCE[code] ?? (HELD.has(code) ? holdMs : 0);
      askedMs = Math.min(Number(details?.retryAfterMs ?? pauseMs), LONGEST_PAUSE_MS);
      if (clock.monotonic() + askedMs - began > mostMs) throw thrown;
    }
    await new Promise<void>((resolve) => clock.after(askedMs, resolve));
  }
}
