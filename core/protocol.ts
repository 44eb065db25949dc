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

export const PROTOCOL_VERSION = 1;
/** A frame's header and body may not be larger; what is larger goes through a stream. */
export const MAX_HEADER_BYTES = 256 * 1024;
export const MAX_BODY_BYTES = 1024 * 1024;
/** Bodies up to this size travel inside `input` and `result` frames; larger ones in a stream. */
export const INLINE_BYTES = 256 * 1024;
/** Credit a receiver grants when a stream opens; it grants again as it consumes. */
export const STREAM_WINDOW_BYTES = 1024 * 1024;

const attempt = { id: z.string().max(64), generation: z.number().int().min(1) };
const streamNumber = z.number().int().min(0);
const requestNumber = z.number().int().min(0);
export const encodingSchema = z.enum(["json", "pickle"]);
export type Encoding = z.infer<typeof encodingSchema>;

const metricsSchema = z.record(z.string().max(128), z.union([z.number(), z.string().max(1024), z.boolean(), z.null()]));

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
    function: z.object({
      name: z.string(),
      entry: z.union([z.object({ module: z.string(), qualname: z.string() }), z.object({ pickle: z.string() })]),
      is_async: z.boolean(),
    }),
    slots: z.number().int().min(1),
  }),
  /** One attempt. Body: encoded arguments `{"args": [...], "kwargs": {...}}` (json) or a pickle of `(args, kwargs)`; or empty when `stream` is given. */
  z.object({
    type: z.literal("input"),
    ...attempt,
    encoding: encodingSchema,
    /** May the result be a pickle? */
    accept_pickle: z.boolean(),
    /** Milliseconds until the runner cancels it. */
    timeout_ms: z.number(),
    stream: streamNumber.optional(),
  }),
  /** The input shall end now: raise in the user's code. */
  z.object({ type: z.literal("cancel"), ...attempt, reason: z.enum(["cancelled", "timed_out"]) }),
  /** The outcome is stored; the shim may forget it. */
  z.object({ type: z.literal("ack"), ...attempt }),
  /** Answer to a `request`. */
  z.object({
    type: z.literal("reply"),
    request: requestNumber,
    ok: z.boolean(),
    /** When ok: depends on the operation (see `operationSchema`). */
    value: z.unknown().optional(),
    /** When not ok. */
    error: z.object({ code: z.string(), message: z.string() }).optional(),
  }),
  /** Finish what runs, start nothing, exit 0. */
  z.object({ type: z.literal("shutdown") }),
  ...streamFrames,
]);
export type ToShim = z.infer<typeof toShimSchema>;

/** What user code asks of its runner; each names the attempt it belongs to. */
export const operationSchema = z.discriminatedUnion("op", [
  /** Choose the series this attempt writes and whether earlier invocations' checkpoints count. Value: `{series, next_step}`. */
  z.object({ op: z.literal("series"), name: z.string().max(64), resume: z.boolean() }),
  /**
   * Save `directory` (relative to scratch, made for this purpose and left alone until the reply) as a checkpoint, or only
   * record metrics when it is absent. Value: `{step}`.
   */
  z.object({
    op: z.literal("report"),
    metrics: metricsSchema,
    directory: z.string().max(4096).optional(),
    step: z.number().int().min(0).max(99_999_999).optional(),
  }),
  /**
   * Bring a checkpoint's files: of `series` (default: this attempt's), at `step` (default: the latest complete one), or the best by
   * `metric` and `order`. Value: `null` when there is none, else `{series, step, metrics, files: [{path, size, stream}]}`; the
   * streams follow, opened by the runner.
   */
  z.object({
    op: z.literal("restore"),
    series: z.string().max(64).optional(),
    step: z.number().int().min(0).optional(),
    metric: z.string().max(128).optional(),
    order: z.enum(["max", "min"]).optional(),
  }),
]);
export type Operation = z.infer<typeof operationSchema>;

/** How an attempt ended, as the shim tells it. Errors of the container itself (crash, OOM) are the runner's to tell. */
export const shimErrorSchema = z.object({
  code: z.enum([
    "exception",
    "exited",
    "out_of_memory",
    "result_not_serializable",
    "invalid_arguments",
    "python_mismatch",
    "cancelled",
    "timed_out",
    "disk_full",
  ]),
  /** For people: `ValueError: no such digit`. */
  message: z.string().max(65_536),
  /** Class name with module, for `exception`. */
  type: z.string().max(512).optional(),
  /** The user's own frames, shim frames left out. */
  traceback: z.string().max(131_072).optional(),
});
export type ShimError = z.infer<typeof shimErrorSchema>;

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
    /** Milliseconds the import took. */
    import_ms: z.number().min(0),
  }),
  /** The user's module did not import; the shim exits after it. */
  z.object({ type: z.literal("import_failed"), message: z.string().max(65_536), traceback: z.string().max(131_072) }),
  /** Body: the encoded value, or empty when `stream` is given. Sent again after a reconnection until acknowledged. */
  z.object({
    type: z.literal("result"),
    ...attempt,
    encoding: encodingSchema,
    run_ms: z.number().min(0),
    stream: streamNumber.optional(),
  }),
  /** Body: the pickled exception where it can be pickled and is at most INLINE_BYTES, else empty. */
  z.object({ type: z.literal("error"), ...attempt, error: shimErrorSchema, run_ms: z.number().min(0) }),
  /** Body: UTF-8 text, whole lines where possible. `id` is absent for output that belongs to no input. */
  z.object({ type: z.literal("log"), id: z.string().max(64).optional(), source: z.enum(["stdout", "stderr"]) }),
  z.object({ type: z.literal("request"), request: requestNumber, ...attempt, operation: operationSchema }),
  ...streamFrames,
]);
export type FromShim = z.infer<typeof fromShimSchema>;
