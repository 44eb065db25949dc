/** BuildKit's progress message (protobuf `moby.buildkit.v1.StatusResponse`), read as far as people want to see it. */

export interface BuildStatus {
  steps: { digest: string; name: string; started: boolean }[];
  /** Pieces of the commands' output, not cut at lines. */
  output: string[];
}

/** Field numbers with their raw contents: bytes for length-delimited fields, nothing for numbers. */
function* fields(message: Buffer): Generator<{ field: number; bytes?: Buffer }> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; at < message.length; factor *= 128) {
      const byte = message[at++]!;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) break;
    }
    return value;
  };
  while (at < message.length) {
    const key = varint();
    const [field, wire] = [Math.floor(key / 8), key % 8];
    if (wire === 0) {
      varint();
      yield { field };
    } else if (wire === 1) {
      at += 8;
      yield { field };
    } else if (wire === 2) {
      const length = varint();
      yield { field, bytes: message.subarray(at, at + length) };
      at += length;
    } else if (wire === 5) {
      at += 4;
      yield { field };
    } else throw new Error(`BuildKit sent a field of unknown kind ${wire}`);
  }
}

const RESPONSE = { vertexes: 1, logs: 3 };
const VERTEX = { digest: 1, name: 3, started: 5 };
const LOG = { message: 4 };

function readVertex(message: Buffer): BuildStatus["steps"][number] {
  const step = { digest: "", name: "", started: false };
  for (const { field, bytes } of fields(message)) {
    if (field === VERTEX.digest) step.digest = bytes?.toString("utf8") ?? "";
    else if (field === VERTEX.name) step.name = bytes?.toString("utf8") ?? "";
    else if (field === VERTEX.started) step.started = true;
  }
  return step;
}

export function readStatus(message: Buffer): BuildStatus {
  const status: BuildStatus = { steps: [], output: [] };
  for (const { field, bytes } of fields(message)) {
    if (!bytes) continue;
    if (field === RESPONSE.vertexes) status.steps.push(readVertex(bytes));
    else if (field === RESPONSE.logs) {
      for (const part of fields(bytes))
        if (part.field === LOG.message) status.output.push(part.bytes?.toString("utf8") ?? "");
    }
  }
  return status;
}
