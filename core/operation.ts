/** What user code asks of its runner, and what it is answered. */
import { z } from "zod";
import { type Encoding, encodingSchema } from "./encoding.ts";

const streamNumber = z.number().int().min(0);
const metricsSchema = z.record(z.string().max(128), z.union([z.number(), z.string().max(1024), z.boolean(), z.null()]));

const keepSchema = z.object({
  num_to_keep: z.number().int().min(1).optional(),
  attribute: z.string().max(128).optional(),
  order: z.enum(["max", "min"]).optional(),
});

/** Whom a function calls. */
const callee = {
  /** Absent: the caller's own app. */
  app: z.string().max(64).optional(),
  function: z.string().max(280),
  /** Absent: of the caller's own app the caller's version, of another the current one. */
  version: z.string().max(64).optional(),
  /** When it was made, in milliseconds since 1970: part of the call's id. */
  at: z.number().int().min(0),
  accept_pickle: z.boolean(),
  /** The call ends when its caller's attempt does. */
  awaited: z.boolean(),
  /** Of a class: its parameters' values, and options that differ from the deployed ones. */
  parameters: z.record(z.string().max(64), z.unknown()).optional(),
  overrides: z.record(z.string().max(64), z.unknown()).optional(),
  /** See `callOptionsSchema`. */
  options: z.record(z.string().max(64), z.unknown()).optional(),
};
/** What is too long for the body. */
const bodyStream = { stream: streamNumber.optional() };

/** What user code asks of its runner; each names the attempt it belongs to. */
export const operationSchema = z.discriminatedUnion("op", [
  /** Choose the series this attempt writes and whether earlier invocations' checkpoints count. Value: `{series, next_step}`. */
  z.object({ op: z.literal("series"), name: z.string().max(64), resume: z.boolean() }),
  /**
   * Save `directory` (relative to scratch, made for this purpose and left alone until the reply) as a checkpoint, or only
   * record metrics when it is absent. `behind`: other operations are answered while it is saved. `keep`: which checkpoints of the
   * series stay from now on. Of a gang's ranks the n-th reports belong together: they are answered once all have come, with rank
   * 0's metrics and the union of their files; where rank 0 says `per_rank`, rows of the others are kept, too. Value: `{step}`, and `warnings` where there are any.
   */
  z.object({
    op: z.literal("report"),
    metrics: metricsSchema,
    directory: z.string().max(4096).optional(),
    step: z.number().int().min(0).max(99_999_999).optional(),
    behind: z.boolean().optional(),
    keep: keepSchema.optional(),
    per_rank: z.boolean().optional(),
  }),
  /**
   * Bring a checkpoint's files: of `series` (default: this attempt's), at `step` (default: the latest complete one), the best by
   * `metric` and `order`, or what `at` means behind the series' name: a tag, `latest`, `best`, a step. Value: `null` when there is none, else `{series, step, metrics, files: [{path, size, stream}]}`; the
   * streams follow, opened by the runner. `look`: no files are brought, it is only told which one it is.
   */
  z.object({
    op: z.literal("restore"),
    series: z.string().max(64).optional(),
    step: z.number().int().min(0).optional(),
    metric: z.string().max(128).optional(),
    order: z.enum(["max", "min"]).optional(),
    at: z.string().max(64).optional(),
    look: z.boolean().optional(),
  }),
  /** What is at the `s3://` or `fabric://` URL of a file or folder below `datasets/` in the bucket. Value: `{files: [{url, size}]}`. */
  z.object({ op: z.literal("files"), url: z.string().max(2048) }),
  /** Bring one of them. Value: `{files: [{path, size, stream}]}`, with one file, whose stream follows as with `restore`. */
  z.object({ op: z.literal("dataset"), url: z.string().max(2048) }),
  /**
   * Call a function. Body: the encoded arguments, as of `input`; or empty when `stream` is given. Sent again under the same
   * number it is the same call. Value: an `OutcomeValue`; with `wait` once the call has ended, else at once. `yields`: its caller
   * reads the events of a generator.
   */
  z.object({
    op: z.literal("call"),
    ...callee,
    encoding: encodingSchema,
    wait: z.boolean(),
    yields: z.boolean().optional(),
    ...bodyStream,
  }),
  /** What a generator yields behind the chunk `after`. Body or stream: lines as of `GET /v1/invocations/{id}/events`. Value: `{}`. */
  z.object({ op: z.literal("events"), invocation: z.string().max(64), after: z.string().max(64).optional() }),
  /**
   * Call a function once for each input. Body or stream: the first inputs, as lines of `POST .../map` in call form. Sent again it
   * is the same map. Value: `{id, inputs}`.
   */
  z.object({ op: z.literal("map"), ...callee, more: z.boolean(), ...bodyStream }),
  /** Further inputs, the first of which has the index `first`; the same ones again change nothing. Value: `{id, inputs}`. */
  z.object({
    ...{ op: z.literal("inputs"), invocation: z.string().max(64) },
    ...{ first: z.number().int().min(0), more: z.boolean(), ...bodyStream },
  }),
  /** Outcomes of a map's inputs behind a position, as soon as there are some. Value: a `ResultsValue`. */
  z.object({ op: z.literal("results"), invocation: z.string().max(64), after: z.number().int().min(0) }),
  /** Wait for an invocation's end, or see what there is after `wait_ms`. Value: an `OutcomeValue`. */
  z.object({ op: z.literal("outcome"), invocation: z.string().max(64), wait_ms: z.number().min(0).optional() }),
  /** Value: the invocation as `GET /v1/invocations/{id}` shows it. */
  z.object({ op: z.literal("status"), invocation: z.string().max(64) }),
  /** Ask for an invocation's end. Value: `null`. */
  z.object({ op: z.literal("cancel"), invocation: z.string().max(64) }),
]);
export type Operation = z.infer<typeof operationSchema>;

/**
 * What a caller in a container is told of an invocation. When it succeeded, the reply's body or `stream` is its result; when it
 * failed, the body is the pickled exception, if there is one.
 */
export interface OutcomeValue {
  id: string;
  state: "queued" | "running" | "succeeded" | "failed" | "cancelled";
  /** While it has not ended. */
  reason?: string;
  encoding?: Encoding;
  stream?: number;
  error?: object;
}

/** The reply's body or `stream`: lines as of `GET /v1/invocations/{id}/results`, none when `ended` is there. */
export interface ResultsValue {
  /** Behind these outcomes. */
  position: number;
  ended?: { state: string; inputs?: number; failed?: number; error?: object };
  stream?: number;
}
