/** Tells a caller in a container how an invocation ended: in the reply itself, or as a stream behind it. */
import { Readable } from "node:stream";
import { fail } from "../core/errors.ts";
import { type InvocationRecord, isTerminal } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { OutcomeValue } from "../core/operation.ts";
import { INLINE_BYTES } from "../core/protocol.ts";
import { reasonOf } from "../core/show-invocation.ts";
import { gather } from "../core/sized-body.ts";
import { untilDone } from "../core/until-done.ts";
import type { ContainerLink } from "./container-contract.ts";
import { fittingError } from "./fitting-error.ts";

/** What a reply carries; `begin` starts the streams it names, once it is sent. */
export interface Answer {
  value: unknown;
  body?: Buffer;
  begin?: () => void;
}

interface Deps {
  objects: ObjectStore;
  log: Log;
}

export async function answerOutcome(deps: Deps, link: ContainerLink, record: InvocationRecord): Promise<Answer> {
  const { id, state, error, exception } = record;
  const value: OutcomeValue = { id, state };
  if (!isTerminal(state)) return { value: { ...value, reason: reasonOf(record) } };
  if (state !== "succeeded") return { value: { ...value, error: error && fittingError(error) }, body: exception };
  return answerResult(deps, link, record, value);
}

async function answerResult(
  { objects, log }: Deps,
  link: ContainerLink,
  { id, result }: InvocationRecord,
  value: OutcomeValue,
): Promise<Answer> {
  if (!result) fail("internal", `${id} succeeded without a result`);
  const { encoding, inline, key } = result;
  if (inline) return { value: { ...value, encoding }, body: inline };
  const object = key === undefined ? undefined : await untilDone(() => objects.get(key));
  if (!object) fail("internal", `the result of ${id} is not in the bucket`);
  if (object.length <= INLINE_BYTES)
    return { value: { ...value, encoding }, body: await gather(object.body, object.length) };
  return answerStream(log, link, { ...value, encoding }, object.body);
}

/** What a reply's body, or a stream if it is long, brings. */
export function answerBytes(log: Log, link: ContainerLink, value: object, bytes: Buffer): Answer {
  return bytes.length <= INLINE_BYTES ? { value, body: bytes } : answerStream(log, link, value, Readable.from([bytes]));
}

function answerStream(log: Log, link: ContainerLink, value: object, body: Readable): Answer {
  const streams = link.streams();
  // Without a connection nobody hears this; the shim asks again.
  if (!streams) {
    body.destroy();
    return { value };
  }
  const stream = streams.reserve();
  const begin = (): void => {
    // The shim learns of it by the stream's cancel, or by the end of the connection.
    streams.send(stream, "result", body).catch((err: unknown) => log.warn({ err }, "a result's stream broke"));
  };
  return { value: { ...value, stream }, begin };
}
