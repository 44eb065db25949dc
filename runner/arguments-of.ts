/** What a function was called with, as the checkpoints it saves say it. */
import { createHash } from "node:crypto";
import type { CheckpointManifest } from "../core/checkpoint.ts";
import { type InvocationRecord, inputKey } from "../core/invocation.ts";
import type { ObjectStore } from "../core/object-store.ts";

/** JSON of so many bytes is told as it is. */
const TOLD_BYTES = 4 * 1024;
/** What is larger is not fetched again for its digest. */
const DIGEST_BYTES = 64 * 1024 * 1024;

/** A slice of a map has no arguments of its own. */
export async function argumentsOf(
  objects: ObjectStore,
  record: Pick<InvocationRecord, "id" | "input" | "inputFrom" | "encoding" | "slice">,
): Promise<CheckpointManifest["arguments"]> {
  if (record.slice) return undefined;
  const hash = createHash("sha256");
  const { encoding, input } = record;
  if (input) {
    const isTold = encoding === "json" && input.length <= TOLD_BYTES;
    const told = { sha256: hash.update(input).digest("hex"), bytes: input.length, encoding };
    return isTold ? { ...told, json: plainJson(input) } : told;
  }
  const object = await objects.get(inputKey(record.inputFrom ?? record.id));
  if (!object) return undefined;
  const bytes = object.size;
  if (bytes > DIGEST_BYTES) {
    object.body.destroy();
    return { bytes, encoding };
  }
  for await (const chunk of object.body) hash.update(chunk as Buffer);
  return { sha256: hash.digest("hex"), bytes, encoding };
}

/** Python reads NaN and infinities in JSON, which are none: then the digest has to do. */
function plainJson(input: Buffer): unknown {
  try {
    return JSON.parse(input.toString());
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return undefined;
    throw thrown;
  }
}
