/** Sends one webhook: to an allowed address only, whatever its name resolves to; no redirects, and little of the reply is read. */
import { lookup as resolve } from "node:dns";
import { request as httpRequest, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import { isIP, type LookupFunction } from "node:net";
import type { AddressGuard } from "./address-guard.ts";

const TIMEOUT_MS = 10_000;
const READ_BYTES = 1_024;

/** A status, or why there is none. */
export type Posted = { status: number } | { error: string };

export async function postWebhook(
  url: string,
  body: string,
  headers: Record<string, string>,
  isAllowed: AddressGuard,
): Promise<Posted> {
  try {
    return { status: await post(new URL(url), body, headers, isAllowed) };
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    return { error: (message || code || String(error)).slice(0, 300) };
  }
}

function post(url: URL, body: string, headers: Record<string, string>, isAllowed: AddressGuard): Promise<number> {
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  // A literal address is connected to without a look-up.
  if (isIP(host) && !isAllowed(host)) return Promise.reject(refusal(host, [host]));
  const options: RequestOptions = {
    method: "POST",
    agent: false,
    lookup: guardedLookup(isAllowed),
    headers: { ...headers, "Content-Length": Buffer.byteLength(body) },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  };
  return new Promise((done, failed) => {
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    const outgoing = send(url, options, (reply) => {
      let read = 0;
      const end = (): void => {
        reply.destroy();
        done(reply.statusCode!);
      };
      reply.on("data", (chunk: Buffer) => {
        read += chunk.length;
        if (read > READ_BYTES) end();
      });
      reply.on("end", end);
      // The status was sent: what became of the rest does not matter.
      reply.on("error", end);
    });
    outgoing.on("error", (error) =>
      failed(error.name === "AbortError" || error.name === "TimeoutError" ? late() : error),
    );
    outgoing.end(body);
  });
}

const late = (): Error => new Error(`no reply within ${TIMEOUT_MS / 1000} s`);

const refusal = (host: string, addresses: string[]): Error =>
  new Error(
    `${host} is not a public address (${addresses.join(", ")}); the operator can allow its range with FABRIC_WEBHOOK_ALLOW`,
  );

/** The connection goes to exactly the addresses that were judged: there is no second look-up that could answer otherwise. */
const guardedLookup =
  (isAllowed: AddressGuard): LookupFunction =>
  (host, options, callback) => {
    resolve(host, { ...options, all: true }, (error, found) => {
      if (error) return callback(error, "", 0);
      const allowed = found.filter(({ address }) => isAllowed(address));
      const first = allowed[0];
      if (!first)
        return callback(
          refusal(
            host,
            found.map(({ address }) => address),
          ),
          "",
          0,
        );
      if (options.all) callback(null, allowed);
      else callback(null, first.address, first.family);
    });
  };
