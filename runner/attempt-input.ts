/** Brings an attempt's input to its shim: inside the frame while small, else as a stream. */
import { fail } from "../core/errors.ts";
import { type InvocationRecord, inputKey } from "../core/invocation.ts";
import type { ObjectStore, StoredObject } from "../core/object-store.ts";
import { INLINE_BYTES, type ToShim } from "../core/protocol.ts";
import { gather } from "../core/sized-body.ts";
import { untilDone } from "../core/until-done.ts";
import type { ContainerLink } from "./container-contract.ts";

type InputFrame = Extract<ToShim, { type: "input" }>;
type RankLink = Pick<ContainerLink, "send" | "streams">;

/** To each rank of a gang. */
export async function sendInput(objects: ObjectStore, record: InvocationRecord, link: ContainerLink): Promise<void> {
  if (!link.ranks) return sendTo(objects, record, link);
  await Promise.all(link.ranks().map((one) => sendTo(objects, record, one)));
}

async function sendTo(objects: ObjectStore, record: InvocationRecord, link: ContainerLink): Promise<void> {
  const frame: InputFrame = {
    type: "input",
    id: record.id,
    generation: record.generation,
    method: record.method,
    encoding: record.encoding,
    accept_pickle: record.acceptPickle,
    timeout_ms: record.timeoutMs,
  };
  if (record.input) {
    link.send(frame, record.input);
    return;
  }
  const key = inputKey(record.inputFrom ?? record.id);
  if (link.far) await link.far.ask("input", { frame, key });
  else await bringObject(objects, key, frame, link);
}

/** An object as the input that `frame` begins. */
export async function bringObject(objects: ObjectStore, key: string, frame: InputFrame, link: RankLink): Promise<void> {
  const object = await untilDone(() => objects.get(key));
  if (!object) fail("internal", "the input of this invocation is not in the bucket");
  if (object.length <= INLINE_BYTES) link.send(frame, await gather(object.body, object.length));
  else await streamInput(object, frame, link);
}

async function streamInput(object: StoredObject, frame: InputFrame, link: RankLink): Promise<void> {
  const streams = link.streams();
  if (!streams) {
    object.body.destroy();
    return;
  }
  const stream = streams.reserve();
  link.send({ ...frame, stream });
  try {
    await streams.send(stream, "input", object.body);
  } catch (thrown) {
    object.body.destroy();
    // When the connection or the container ended, their end decides what becomes of the attempt.
    if (link.streams() === streams) throw thrown;
  }
}
