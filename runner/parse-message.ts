/** A frame from a shim as a checked message; what does not fit throws `protocol_violation`. */
import { FabricError } from "../core/errors.ts";
import { type FromShim, fromShimSchema } from "../core/protocol.ts";

type Result = Extract<FromShim, { type: "result" | "yield" }>;

/** As strict as the schema, and many times faster: results and yielded chunks are what the hot path consists of. */
function asResult(header: unknown): Result | undefined {
  if (typeof header !== "object" || header === null) return undefined;
  const { type, id, generation, encoding, run_ms, stream, seq } = header as Record<string, unknown>;
  if ((type !== "result" && type !== "yield") || typeof id !== "string" || id.length > 64) return undefined;
  if (!Number.isSafeInteger(generation) || (generation as number) < 1) return undefined;
  if (encoding !== "json" && encoding !== "pickle") return undefined;
  if (type === "yield")
    return Number.isSafeInteger(seq) && (seq as number) >= 0
      ? ({ type, id, generation, encoding, seq } as Result)
      : undefined;
  if (typeof run_ms !== "number" || !Number.isFinite(run_ms) || run_ms < 0) return undefined;
  if (stream !== undefined && (!Number.isSafeInteger(stream) || (stream as number) < 0)) return undefined;
  return { type, id, generation, encoding, run_ms, stream } as Result;
}

export function parseMessage(header: unknown): FromShim {
  const result = asResult(header);
  if (result) return result;
  const parsed = fromShimSchema.safeParse(header);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new FabricError(
    "protocol_violation",
    `the container sent a message outside the protocol: ${issue?.path.join(".") ?? ""} ${issue?.message ?? ""}`,
  );
}
