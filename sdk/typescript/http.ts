/** Requests to a gateway: the token on each, every failure as a FabricError with the gateway's own code. */
import { setTimeout as pause } from "node:timers/promises";
import { ERRORS, type ErrorBody, type ErrorCode, FabricError, fail } from "../../core/errors.ts";
import { ndjson } from "./ndjson.ts";
import { outlast } from "./outlast.ts";

export interface Connection {
  url: string;
  token: string;
}

export interface RequestOptions {
  query?: Record<string, string | number | boolean | undefined>;
  headers?: Record<string, string>;
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is. */
  body?: string | ReadableStream<Uint8Array>;
  signal?: AbortSignal;
  /** Statuses beyond 2xx that are answers and not errors. */
  accept?: readonly number[];
  /** May be sent twice, and is when its gateway dies over it. */
  repeat?: boolean;
}

export interface Http {
  send(method: string, path: string, options?: RequestOptions): Promise<Response>;
  json<T>(method: string, path: string, options?: RequestOptions): Promise<T>;
  lines<T>(method: string, path: string, options?: RequestOptions): AsyncGenerator<T>;
}

export function http(connection: Connection): Http {
  const base = connection.url.replace(/\/+$/, "");
  const send = async (method: string, path: string, options: RequestOptions = {}): Promise<Response> => {
    const once = () => reach(base, method, path, connection.token, options);
    const response = await admitted(options.repeat ? () => outlast(once, options.signal) : once, options);
    if (response.ok || options.accept?.includes(response.status)) return response;
    throw await errorOf(response);
  };
  return {
    send,
    json: async <T>(method: string, path: string, options?: RequestOptions) =>
      (await readJson(await send(method, path, options))) as T,
    async *lines<T>(method: string, path: string, options?: RequestOptions) {
      const response = await send(method, path, options);
      try {
        yield* ndjson<T>(response);
      } catch (error) {
        throw options?.signal?.aborted ? error : lostConnection(base, error);
      }
    },
  };
}

/** How long a gateway that has no room for it is asked again. */
const PATIENCE_MS = 60_000;

/** Nothing was accepted, for lack of room, so that the same may be sent again; an outcome of that status names its invocation. */
const isTurnedAway = ({ status, headers }: Response): boolean => status === 429 && !headers.has("fabric-invocation");

async function admitted(act: () => Promise<Response>, { body, signal }: RequestOptions): Promise<Response> {
  const until = performance.now() + PATIENCE_MS;
  for (;;) {
    const response = await act();
    // A little more than asked for, so that not all come back at once.
    const pauseMs = Number(response.headers.get("retry-after") ?? 1) * 1000 * (1 + Math.random() / 5);
    const isLast = body instanceof ReadableStream || !(performance.now() + pauseMs < until);
    if (!isTurnedAway(response) || isLast) return response;
    await response.body?.cancel();
    await pause(pauseMs, undefined, { signal });
  }
}

async function reach(
  base: string,
  method: string,
  path: string,
  token: string,
  options: RequestOptions,
): Promise<Response> {
  const url = new URL(base + path);
  for (const [name, value] of Object.entries(options.query ?? {}))
    if (value !== undefined) url.searchParams.set(name, String(value));
  const hasJson = options.json !== undefined;
  const body = hasJson ? JSON.stringify(options.json) : options.body;
  try {
    return await fetch(url, {
      method,
      body,
      headers: {
        authorization: `Bearer ${token}`,
        ...(hasJson ? { "content-type": "application/json" } : {}),
        ...options.headers,
      },
      signal: options.signal,
      ...(body instanceof ReadableStream ? { duplex: "half" } : {}),
    } as RequestInit);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw lostConnection(base, error);
  }
}

function lostConnection(base: string, error: unknown): FabricError {
  if (error instanceof FabricError) return error;
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const why =
    cause instanceof Error ? cause.message || ("code" in cause ? String(cause.code) : cause.name) : String(cause);
  return new FabricError("fabric_unreachable", `No gateway answers at ${base}: ${why}`, undefined, { cause: error });
}

async function readJson(response: Response): Promise<unknown> {
  const text = await response.text();
  try {
    return text === "" ? undefined : JSON.parse(text);
  } catch (error) {
    return fail("internal", `the gateway's answer is not JSON: ${text.slice(0, 200)}`, undefined, { cause: error });
  }
}

/** The coded error in a reply; one without a code came from something else than fabric. */
export async function errorOf(response: Response): Promise<FabricError> {
  const text = await response.text();
  const body = parseError(text);
  if (body) return fromBody(body);
  return new FabricError(
    response.status >= 500 ? "fabric_unreachable" : "bad_request",
    `${response.url} answered ${response.status}: ${text.slice(0, 300) || response.statusText}`,
  );
}

export const fromBody = (body: ErrorBody): FabricError =>
  new FabricError(isCode(body.code) ? body.code : "internal", body.message, body.details);

const isCode = (code: string): code is ErrorCode => Object.hasOwn(ERRORS, code);

function parseError(text: string): ErrorBody | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (value === null || typeof value !== "object" || !("error" in value)) return undefined;
    const error = value.error as ErrorBody | null;
    return typeof error?.code === "string" && typeof error.message === "string" ? error : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined; // a proxy's page, say
    throw error;
  }
}
