/** One input of a map as a call of its own: for batched functions, which fill their batches from calls. */
import type { Encoding } from "../core/encoding.ts";
import type { ShimError } from "../core/protocol.ts";

const POSITIONAL = [Buffer.from('{"args":'), Buffer.from("}")] as const;
const BRACKET = 0x5b;

/** A line of a map's page as the body of an `input`. */
export function inputOf(line: Buffer): { encoding: Encoding; body: Buffer } {
  if (line[0] === BRACKET) return { encoding: "json", body: Buffer.concat([POSITIONAL[0], line, POSITIONAL[1]]) };
  const { pickle } = JSON.parse(line.toString("utf8"));
  return pickle === undefined
    ? { encoding: "json", body: line }
    : { encoding: "pickle", body: Buffer.from(pickle, "base64") };
}

/** A `result` as a map's outcome line. */
export function resultLine(index: number, encoding: Encoding, body: Buffer): Buffer {
  if (encoding === "pickle") return Buffer.from(`{"index":${index},"pickle":"${body.toString("base64")}"}\n`);
  return Buffer.concat([Buffer.from(`{"index":${index},"result":`), body, Buffer.from("}\n")]);
}

/** An `error` as a map's outcome line. */
export const errorLine = (index: number, error: ShimError, exception: Buffer): Buffer =>
  Buffer.from(
    `${JSON.stringify({ index, error, exception: exception.length > 0 ? exception.toString("base64") : undefined })}\n`,
  );
