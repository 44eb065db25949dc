/** Calls a function once for each of many inputs: sent while results come, and going on where a connection breaks. */
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { type ErrorBody, FabricError } from "../../core/errors.ts";
import { type CallOptions, optionHeaders } from "./call-options.ts";
import { fromBody, type Http, type RequestOptions } from "./http.ts";

export interface MapOutcome {
  index: number;
  /** Absent when it failed, or is no JSON and the caller takes no pickles. */
  result?: unknown;
  error?: ErrorBody;
}

export interface MapOptions
  extends Pick<
    CallOptions,
    "parameters" | "version" | "signal" | "ttl" | "key" | "priority" | "idempotencyKey" | "webhook"
  > {
  /** As they come instead of in the order of the inputs. */
  unordered?: boolean;
  /** So many inputs were accepted so far. */
  onSent?(inputs: number): void;
}

/** As the gateway stores them. */
const PAGE_INPUTS = 1_000;
const PAGE_CHARS = 200_000;
/** An input waits for others to travel with no longer than this. */
const FLUSH_MS = 20;
/** How long a gateway that does not answer is tried again. */
const PATIENCE_MS = 15_000;
const PAUSE_MS = 250;

type Inputs = AsyncIterable<unknown> | Iterable<unknown>;

/** Each input is an array of positional arguments or an object of named ones. Leaving the loop early cancels the map. */
export async function* map(
  api: Http,
  app: string,
  fn: string,
  inputs: Inputs,
  options: MapOptions = {},
): AsyncGenerator<MapOutcome> {
  const leaving = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, leaving.signal]) : leaving.signal;
  // What is wrong with the inputs ends the reading of results, with the same error.
  const feed = startFeed(api, app, fn, inputs, { ...options, signal }, (error) => leaving.abort(error));
  let ended = false;
  try {
    const outcomes = results(api, await feed.id, signal);
    yield* options.unordered ? outcomes : inOrder(outcomes);
    ended = true;
  } finally {
    leaving.abort();
    const made = ended ? undefined : await feed.made();
    if (made) await api.send("POST", `/v1/invocations/${made}/cancel`, { accept: [409] });
  }
}

async function* inOrder(outcomes: AsyncIterable<MapOutcome>): AsyncGenerator<MapOutcome> {
  const early = new Map<number, MapOutcome>();
  let wanted = 0;
  for await (const outcome of outcomes) {
    early.set(outcome.index, outcome);
    for (let next = early.get(wanted); next; next = early.get(++wanted)) {
      early.delete(wanted);
      yield next;
    }
  }
}

function startFeed(
  api: Http,
  app: string,
  fn: string,
  inputs: Inputs,
  options: MapOptions,
  onFailure: (error: unknown) => void,
) {
  let made: string | undefined;
  let sent = 0;
  let posting: Promise<unknown> = Promise.resolve();
  let tell: (id: string) => void = () => {};
  let refuse: (error: unknown) => void = () => {};
  const id = new Promise<string>((resolve, reject) => {
    [tell, refuse] = [resolve, reject];
  });
  const key = options.idempotencyKey ?? randomUUID();

  async function post(lines: string[], last: boolean): Promise<void> {
    const more = last ? "false" : "true";
    const common = { body: lines.join("\n"), signal: options.signal };
    const [path, request]: [string, RequestOptions] = made
      ? [`/v1/invocations/${made}/inputs`, { ...common, query: { first: sent, more }, headers: NDJSON }]
      : [
          `/v1/apps/${encodeURIComponent(app)}/functions/${encodeURIComponent(fn)}/map`,
          {
            ...common,
            query: { ...options.parameters, version: options.version, more },
            headers: { ...NDJSON, ...optionHeaders({ ...options, idempotencyKey: key }), prefer: "respond-async" },
          },
        ];
    made = (await patiently(() => api.json<{ id: string }>("POST", path, request), options.signal)).id;
    sent += lines.length;
    options.onSent?.(sent);
    tell(made);
  }

  const postNext = (lines: string[], last: boolean): Promise<void> => {
    const next = post(lines, last);
    posting = next;
    return next;
  };
  async function run(): Promise<void> {
    for await (const page of pages(inputs)) await postNext(page, false);
    await postNext([], true);
  }
  run().catch((error: unknown) => {
    refuse(error);
    onFailure(error);
  });
  return {
    id,
    /** The map's id, if there is one, once no request is on its way. */
    async made(): Promise<string | undefined> {
      await Promise.allSettled([posting]);
      return made;
    },
  };
}

const NDJSON = { "content-type": "application/x-ndjson" };

async function* pages(inputs: Inputs): AsyncGenerator<string[]> {
  let lines: string[] = [];
  let chars = 0;
  const take = (): string[] => {
    const page = lines;
    [lines, chars] = [[], 0];
    return page;
  };
  const source = Symbol.asyncIterator in inputs ? inputs[Symbol.asyncIterator]() : inputs[Symbol.iterator]();
  try {
    for (;;) {
      const next = Promise.resolve(source.next());
      if (lines.length > 0 && (await isLate(next))) yield take();
      const { done, value } = await next;
      if (done) break;
      const line = JSON.stringify(value);
      if (lines.length >= PAGE_INPUTS || (lines.length > 0 && chars + line.length > PAGE_CHARS)) yield take();
      lines.push(line);
      chars += line.length + 1;
    }
  } finally {
    // One that is still asked for its next input ends by itself.
    void source.return?.();
  }
  if (lines.length > 0) yield take();
}

async function isLate(next: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<true>((resolve) => (timer = setTimeout(() => resolve(true), FLUSH_MS)));
  const came = next.then(
    () => false,
    () => false,
  );
  const isLate = await Promise.race([came, late]);
  clearTimeout(timer);
  return isLate;
}

type Told = MapOutcome | { cursor: number } | { ended: true; state: string } | { error: ErrorBody };

/** Each outcome once, over as many connections as it takes. */
async function* results(api: Http, id: string, signal: AbortSignal): AsyncGenerator<MapOutcome> {
  let position = 0;
  let lostAt: number | undefined;
  const seen = new Set<number>();
  for (;;) {
    try {
      const query = { after: position, cursors: true };
      for await (const told of api.lines<Told>("GET", `/v1/invocations/${id}/results`, { query, signal })) {
        if ("ended" in told) return;
        if ("cursor" in told) {
          position = told.cursor;
          seen.clear();
        } else if (!("index" in told)) throw fromBody(told.error);
        else if (!seen.has(told.index)) {
          seen.add(told.index);
          yield told;
        }
        lostAt = undefined;
      }
      lostAt ??= performance.now();
    } catch (error) {
      signal.throwIfAborted();
      if (!isPassing(error)) throw error;
      lostAt ??= performance.now();
      if (performance.now() - lostAt > PATIENCE_MS) throw error;
    }
    await pause(PAUSE_MS, undefined, { signal });
  }
}

const isPassing = (error: unknown): boolean => error instanceof FabricError && error.kind.status === 503;

async function patiently<T>(act: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  const until = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await act();
    } catch (error) {
      // A map that goes on with as many inputs waiting as may, or as fast as may, holds its sender up for as long as it takes.
      const isFull = error instanceof FabricError && (error.code === "queue_full" || error.code === "quota_exceeded");
      if (!isFull && (!isPassing(error) || performance.now() > until)) throw error;
    }
    await pause(PAUSE_MS, undefined, { signal });
  }
}
