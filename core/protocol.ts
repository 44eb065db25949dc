/**
 * What runner and shim say to each other over a container's unix socket.
 *
 * A frame is: u32 header length, u32 body length (both big-endian), the header as UTF-8 JSON, the body as raw bytes. The
 * runner listens; the shim connects, and connects again when the runner restarts. The runner treats every frame from a
 * shim as hostile: it is parsed by these schemas, and one that does not fit ends the container.
 *
 * Streams carry bytes that are too many for a frame (large inputs and results, checkpoints being restored). Either side
 * opens one under its own number (runner even, shim odd), the receiver grants credit in bytes, either side may cancel.
 */
import { z } from "zod";
import { encodingSchema } from "./encoding.ts";
import { MAX_RANKS } from "./gang.ts";
import { operationSchema } from "./operation.ts";
import { startedFunctionSchema } from "./spec.ts";

export const PROTOCOL_VERSION = 1;
/** A frame's header and body may not be larger; what is larger goes through a stream. */
export const MAX_HEADER_BYTES = 256 * 1024;
export const MAX_BODY_BYTES = 1024 * 1024;
/** Bodies up to this size travel inside `input` and `result` frames; larger ones in a stream. */
export const INLINE_BYTES = 256 * 1024;
/** Credit a receiver grants when a stream opens; it grants again as it consumes. */
export const STREAM_WINDOW_BYTES = 1024 * 1024;
/** One value that a generator yields has to fit into a frame. */
export const CHUNK_BYTES = MAX_BODY_BYTES;
/** What an attempt has yielded and not been told to be stored: at most so many chunks, and so many bytes together. */
export const CHUNK_WINDOW = 1024;
export const CHUNK_WINDOW_BYTES = 1024 * 1024;

const attempt = { id: z.string().max(64), generation: z.number().int().min(1) };
const streamNumber = z.number().int().min(0);
const requestNumber = z.number().int().min(0);
const rank = z
  .number()
  .int()
  .min(0)
  .max(MAX_RANKS - 1);
const inputIndex = z.number().int().min(0);

/** Streams, the same in both directions. */
const streamFrames = [
  z.object({ type: z.literal("stream.open"), stream: streamNumber, name: z.string().max(1024) }),
  /** Body: the bytes. */
  z.object({ type: z.literal("stream.data"), stream: streamNumber }),
  z.object({ type: z.literal("stream.end"), stream: streamNumber }),
  z.object({ type: z.literal("stream.cancel"), stream: streamNumber, reason: z.string().max(1024) }),
  /** The receiver is ready for so many more bytes. */
  z.object({ type: z.literal("stream.credit"), stream: streamNumber, bytes: z.number().int().min(1) }),
] as const;

/** Runner to shim. */
export const toShimSchema = z.discriminatedUnion("type", [
  /** First frame of every connection. */
  z.object({
    type: z.literal("start"),
    protocol: z.literal(PROTOCOL_VERSION),
    container: z.string(),
    /** Absolute paths as the shim sees them. */
    bundle: z.string(),
    scratch: z.string(),
    function: startedFunctionSchema,
    slots: z.number().int().min(1),
  }),
  /** One attempt. Body: encoded arguments `{"args": [...], "kwargs": {...}}` (json) or a pickle of `(args, kwargs)`; or empty when `stream` is given. */
  z.object({
    type: z.literal("input"),
    ...attempt,
    /** Of a class. */
    method: z.string().optional(),
    encoding: encodingSchema,
    /** May the result be a pickle? */
    accept_pickle: z.boolean(),
    /** Milliseconds until the runner cancels it. */
    timeout_ms: z.number(),
    stream: streamNumber.optional(),
  }),
  /**
   * Inputs of a map, to be run one after the other in one slot. Body: NDJSON, a line each: positional arguments as an array,
   * `{"args", "kwargs"}`, or `{"pickle": base64 of (args, kwargs)}`.
   */
  z.object({
    type: z.literal("inputs"),
    ...attempt,
    /** Of a class. */
    method: z.string().optional(),
    /** Index of the first of them in the map. */
    first: inputIndex,
    accept_pickle: z.boolean(),
    /** Milliseconds each of them may take. */
    timeout_ms: z.number(),
  }),
  /** Start no further input of the slice; answered by `trimmed`. */
  z.object({ type: z.literal("trim"), ...attempt }),
  /** The input shall end now: raise in the user's code. Of a slice, with `index`, only if that is the input that runs. */
  z.object({
    type: z.literal("cancel"),
    ...attempt,
    reason: z.enum(["cancelled", "timed_out"]),
    index: inputIndex.optional(),
  }),
  /**
   * To the shim of a gang's container: fork the ranks of this attempt, each with these variables more. Each connects to the
   * socket its FABRIC_SOCKET names and is a shim of its own there, for this one attempt. Answered by a `rank_ended` of each.
   */
  z.object({
    type: z.literal("launch"),
    ...attempt,
    ranks: z.array(z.object({ rank, env: z.record(z.string(), z.string()) })).min(1),
  }),
  /** To the shim of a gang's container: kill what is left of the attempt's ranks. */
  z.object({ type: z.literal("halt"), ...attempt }),
  /** The outcome is stored; the shim may forget it. */
  z.object({ type: z.literal("ack"), ...attempt }),
  /** The chunks up to this one are stored; the shim may forget them, and yield as many more. */
  z.object({ type: z.literal("yield.ack"), ...attempt, seq: z.number().int().min(0) }),
  /** Answer to a `request`. Body: of operations that say so. */
  z.object({
    type: z.literal("reply"),
    request: requestNumber,
    ok: z.boolean(),
    /** When ok: depends on the operation (see `operationSchema`). */
    value: z.unknown().optional(),
    /** When not ok. */
    error: z
      .object({
        code: z.string(),
        message: z.string(),
        retryable: z.boolean().optional(),
        fault: z.enum(["user", "platform"]).optional(),
        details: z.record(z.string(), z.unknown()).optional(),
      })
      .optional(),
  }),
  /** Finish what runs, start nothing, exit 0. */
  z.object({ type: z.literal("shutdown") }),
  ...streamFrames,
]);
export type ToShim = z.infer<typeof toShimSchema>;

/** How an attempt ended, as the shim tells it. Errors of the container itself (crash, OOM) are the runner's to tell. */
export const shimErrorSchema = z.object({
  code: z.enum([
    "exception",
    "exited",
    "out_of_memory",
    "result_not_serializable",
    "invalid_arguments",
    "batch_result_invalid",
    "python_mismatch",
    "chunk_too_large",
    "cancelled",
    "timed_out",
    "disk_full",
    "result_too_large",
    "preflight_failed",
  ]),
  /** For people: `ValueError: no such digit`. */
  message: z.string().max(65_536),
  /** Class name with module, for `exception`. */
  type: z.string().max(512).optional(),
  /** The function's policy excludes this exception from retries. A shim can only give them up, never ask for more. */
  retryable: z.literal(false).optional(),
  /** The user's own frames, shim frames left out. */
  traceback: z.string().max(131_072).optional(),
});
export type ShimError = z.infer<typeof shimErrorSchema>;

/** The outcome of one input of a map: a line of a `results` body. */
export const outcomeLineSchema = z.object({
  index: inputIndex,
  /** The value as JSON, or its pickle as base64; neither when it failed. */
  result: z.unknown().optional(),
  pickle: z.string().optional(),
  error: shimErrorSchema.optional(),
  /** The pickled exception as base64. */
  exception: z.string().optional(),
});

/** Shim to runner. */
export const fromShimSchema = z.discriminatedUnion("type", [
  /** Sent once the user's module is imported, and again on every reconnection. */
  z.object({
    type: z.literal("ready"),
    protocol: z.literal(PROTOCOL_VERSION),
    language: z.enum(["python", "node"]),
    /** "3.11". */
    version: z.string().max(32),
    /** Attempts still in the user's hands. */
    running: z.array(z.object(attempt)).max(1000),
    /** Milliseconds the import took, and entering a class. */
    import_ms: z.number().min(0),
    /** The process before this one has died, the container's `count`-th; what it had in hand and `running` lacks died with it. */
    after: z
      .object({
        count: z.number().int().min(1),
        code: z.number().int().min(0).max(255),
        out_of_memory: z.boolean(),
      })
      .optional(),
  }),
  /** The user's module did not import, or its class could not be entered; the shim exits after it. */
  z.object({
    type: z.literal("import_failed"),
    code: z.enum(["import_failed", "enter_failed"]),
    message: z.string().max(65_536),
    traceback: z.string().max(131_072),
  }),
  /** Body: one encoded value of a generator, at most CHUNK_BYTES; numbered from 0. Sent again after a reconnection until `yield.ack`. */
  z.object({ type: z.literal("yield"), ...attempt, seq: z.number().int().min(0), encoding: encodingSchema }),
  /** Body: the encoded value, or empty when `stream` is given. Sent again after a reconnection until acknowledged. */
  z.object({
    type: z.literal("result"),
    ...attempt,
    encoding: encodingSchema,
    run_ms: z.number().min(0),
    stream: streamNumber.optional(),
  }),
  /** Outcomes of a slice, in order. Body: NDJSON. Sent again after a reconnection until the slice is acknowledged. */
  z.object({
    type: z.literal("results"),
    ...attempt,
    /** Index of the first line's input. */
    first: inputIndex,
    /** Milliseconds these inputs ran. */
    run_ms: z.number().min(0),
    /** The slice has ended: inputs without a line were not started. */
    last: z.boolean(),
  }),
  /** Answer to `trim`: `next` and the inputs behind it will not be started. */
  z.object({ type: z.literal("trimmed"), ...attempt, next: inputIndex }),
  /** Body: the pickled exception where it can be pickled and is at most INLINE_BYTES, else empty. */
  z.object({ type: z.literal("error"), ...attempt, error: shimErrorSchema, run_ms: z.number().min(0) }),
  /**
   * Body: UTF-8 text, whole lines where possible. `id` is absent for output that belongs to no input. `lost`: so many lines before
   * it were dropped while there was no runner.
   */
  z.object({
    type: z.literal("log"),
    id: z.string().max(64).optional(),
    source: z.enum(["stdout", "stderr"]),
    /** Whose output it is, in a gang. */
    rank: rank.optional(),
    lost: z.number().int().min(1).optional(),
  }),
  /**
   * A process that `launch` started has ended, and what it printed was sent before. `code`: its exit code, 128 + n when signal n
   * ended it. `out_of_memory`: the kernel killed something in this container for memory meanwhile.
   */
  z.object({
    type: z.literal("rank_ended"),
    ...attempt,
    rank,
    code: z.number().int().min(0).max(255),
    out_of_memory: z.boolean(),
  }),
  z.object({ type: z.literal("request"), request: requestNumber, ...attempt, operation: operationSchema }),
  ...streamFrames,
]);
export type FromShim = z.infer<typeof fromShimSchema>;
