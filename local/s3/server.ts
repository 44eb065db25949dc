/** The embedded S3 endpoint: one directory behind one port, for one pair of credentials. */
import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { openBody } from "./body.ts";
import { codeOf } from "./disk.ts";
import { S3Error } from "./errors.ts";
import { type Exchange, sendError } from "./exchange.ts";
import { route } from "./route.ts";
import { authenticate, type Credentials } from "./signature.ts";
import { openStore, type Store } from "./store.ts";
import { parseTarget } from "./target.ts";

export interface S3Options {
  dir: string;
  credentials: Credentials;
  host?: string;
  /** 0, the default, takes a free one. */
  port?: number;
  region?: string;
  now?: () => number;
  /** Told of every failure that is ours and not the client's. */
  onError?: (error: unknown, request: { method: string; url: string }) => void;
}

export interface RunningS3 {
  url: string;
  port: number;
  opened: Store["opened"];
  /** Lets running requests end, up to a few seconds, then gives the directory back. */
  close(): Promise<void>;
}

const UPLOAD_DAYS = 7;
const HOUR_MS = 3_600_000;
const CLOSE_MS = 3_000;
/** An error is answered after so much of the body has been read: a client that is still sending does not listen. */
const DRAIN_BYTES = 64 * 1024 * 1024;

export async function startS3(options: S3Options): Promise<RunningS3> {
  const { host = "127.0.0.1", port = 0, region = "us-east-1", now = Date.now } = options;
  const store = await openStore(options.dir);
  const expire = () => store.uploads.expire(now() - UPLOAD_DAYS * 24 * HOUR_MS);

  const running = new Set<Promise<void>>();
  function handle(request: IncomingMessage, response: ServerResponse, begin: () => void): void {
    // A client that goes away before its reply makes writing it fail; there is nobody left to tell.
    response.on("error", () => response.destroy());
    const answering = answer(request, response, begin).finally(() => running.delete(answering));
    running.add(answering);
  }

  async function answer(request: IncomingMessage, response: ServerResponse, begin: () => void): Promise<void> {
    const requestId = randomBytes(8).toString("hex").toUpperCase();
    response.setHeader("x-amz-request-id", requestId);
    response.setHeader("server", "fabric-s3");
    try {
      const target = parseTarget(request.url ?? "/", request.headers.host ?? "");
      const { method = "", headers, headersDistinct } = request;
      const signer = authenticate({ method, target, headers, headersDistinct }, options.credentials, now());
      const exchange: Exchange = {
        request,
        response,
        target,
        store,
        region,
        now,
        body: (also) => openBody(request, signer, begin, also),
      };
      await route(exchange)(exchange);
    } catch (error) {
      await answerError(request, response, error, requestId);
    }
  }

  async function answerError(
    request: IncomingMessage,
    response: ServerResponse,
    thrown: unknown,
    requestId: string,
  ): Promise<void> {
    const gone = codeOf(thrown) === "ECONNRESET" || request.destroyed;
    if (!(thrown instanceof S3Error) && !(gone && response.destroyed))
      options.onError?.(thrown, { method: request.method ?? "", url: request.url ?? "" });
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    // A client that waits for 100 Continue sends nothing now, so there is nothing to read; its connection ends here.
    const waits = request.headers.expect !== undefined && !request.readableDidRead;
    if (waits || !(await drained(request))) response.setHeader("connection", "close");
    const error = thrown instanceof S3Error ? thrown : internal(thrown);
    sendError({ request, response }, error, requestId);
  }

  const server = createServer({ requestTimeout: 0, headersTimeout: 60_000, keepAliveTimeout: 75_000 });
  server.timeout = 300_000;
  server.on("request", (request, response) => {
    if (request.url === "/healthz" && request.method === "GET") return void response.writeHead(200).end("ok\n");
    handle(request, response, () => undefined);
  });
  server.on("checkContinue", (request, response) => handle(request, response, () => response.writeContinue()));

  const timer = setInterval(
    () => void expire().catch((error) => options.onError?.(error, { method: "", url: "expire uploads" })),
    HOUR_MS,
  );
  timer.unref();
  async function close(): Promise<void> {
    clearInterval(timer);
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    const force = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
    await closed;
    clearTimeout(force);
    // The directory is given back only when nothing here writes to it any more.
    await Promise.all(running);
    await store.close();
  }
  try {
    await expire();
    await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, host, resolve));
  } catch (error) {
    clearInterval(timer);
    await store.close();
    throw error;
  }
  const bound = (server.address() as AddressInfo).port;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${bound}`,
    port: bound,
    opened: store.opened,
    close,
  };
}

const internal = (thrown: unknown): S3Error =>
  codeOf(thrown) === "ENOSPC"
    ? new S3Error("InternalError", "The disk of this endpoint is full.")
    : new S3Error("InternalError", "We encountered an internal error. Please try again.");

/** True when the rest of the body has been read; false where there is too much of it. */
async function drained(request: IncomingMessage): Promise<boolean> {
  let seen = 0;
  if (request.complete && request.readableEnded) return true;
  return new Promise((resolve) => {
    request.on("data", (chunk: Buffer) => {
      seen += chunk.length;
      if (seen > DRAIN_BYTES) resolve(false);
    });
    for (const event of ["end", "close", "error"]) request.once(event, () => resolve(seen <= DRAIN_BYTES));
    if (request.destroyed) resolve(false);
    request.resume();
  });
}
