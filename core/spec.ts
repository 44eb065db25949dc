/** What a deployed app consists of: the zod schemas of image specs, function specs and version manifests. */
import { z } from "zod";
import { gangProblem } from "./gang.ts";
import type { Backoff } from "./retry.ts";
import { scheduleSchema } from "./schedule.ts";
import { webhookUrlSchema } from "./webhook-url.ts";

/** Names of apps, and of anything else a person makes up: safe in URLs, file names, Redis keys and bucket keys. */
export const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;
export const nameSchema = z
  .string()
  .regex(NAME, "letters, digits, '-' and '_', starting with a letter or digit, 64 at most");

/** A function's name may be a qualified one (`Model.predict`). */
export const FUNCTION_NAME = /^[A-Za-z_][A-Za-z0-9_-]{0,63}(\.[A-Za-z_][A-Za-z0-9_-]{0,63}){0,3}$/;
export const functionNameSchema = z.string().regex(FUNCTION_NAME, "letters, digits, '_' and '-', parts joined by '.'");

/** No control characters: what ends up in an exec-form Dockerfile instruction stays on its line. */
const word = z
  .string()
  .min(1)
  .max(512)
  .regex(/^\P{Cc}+$/u, "no control characters");
const aptPackage = z
  .string()
  .max(128)
  .regex(/^[a-z0-9][a-z0-9+.:~=_-]*$/, "a Debian package name, maybe with =version");
/** PEP 508 requirement without URLs' shell-like forms and never an option (`-r`, `--index-url`). */
const pipRequirement = z
  .string()
  .max(256)
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._, -]*\])? ?([<>=!~][<>=!~A-Za-z0-9.*+, -]*)?(;[A-Za-z0-9._'"<>=!~() -]*)?$/,
    "a pip requirement such as 'numpy>=2'",
  );
const envName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, "a variable name");

/** One layer of an environment image, in the order the user wrote it. */
export const imageLayerSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("pip"), packages: z.array(pipRequirement).min(1).max(500) }).strict(),
  z.object({ kind: z.literal("apt"), packages: z.array(aptPackage).min(1).max(500) }).strict(),
  /** Each command is an argument vector; no shell sees it unless the user names one. */
  z.object({ kind: z.literal("run"), commands: z.array(z.array(word).min(1)).min(1).max(100) }).strict(),
  z.object({ kind: z.literal("env"), variables: z.record(envName, z.string().max(32_768)) }).strict(),
]);
export type ImageLayer = z.infer<typeof imageLayerSchema>;

export const imageSpecSchema = z
  .object({
    python: z.string().regex(/^3\.\d{1,2}$/, "a minor version such as '3.11'"),
    layers: z.array(imageLayerSchema).max(100).default([]),
  })
  .strict();
export type ImageSpec = z.infer<typeof imageSpecSchema>;

/** `module.Class`, or a class's name alone. */
const exceptionNames = z
  .array(
    z
      .string()
      .max(256)
      .regex(/^[A-Za-z_][\w.<>]*$/, "a class's name, with its module where there may be several"),
  )
  .max(100)
  .default([]);

/** Modal's names, defaults and limits; seconds. */
const retriesSchema = z
  .object({
    max_retries: z.number().int().min(0).max(100),
    backoff_coefficient: z.number().min(1).max(10).default(2),
    initial_delay: z.number().min(0).max(60).default(1),
    max_delay: z.number().min(1).max(60).default(60),
    /** Exception classes, judged in the container: only those are tried again, and these never; others than exceptions always are. */
    retry_for: exceptionNames,
    dont_retry_for: exceptionNames,
  })
  .strict();

/** A number reserves; a [request, limit] pair also caps. */
const amount = (max: number) =>
  z.union([z.number().positive().max(max), z.tuple([z.number().positive().max(max), z.number().positive().max(max)])]);

const batchedSchema = z
  .object({ max_batch_size: z.number().int().min(1).max(1000), wait_ms: z.number().int().min(0).max(600_000) })
  .strict();

/** What is called: a function, or a method of a class. */
const callableShape = {
  is_async: z.boolean().default(false),
  /** It yields: its callers read a stream of chunks. */
  is_generator: z.boolean().default(false),
  /** Parameters, for checking arguments before anything is queued; `null` when Python could not tell. */
  parameters: z
    .array(
      z.object({
        name: z.string().max(128),
        kind: z.enum(["positional", "normal", "keyword", "args", "kwargs"]),
        required: z.boolean(),
      }),
    )
    .nullable()
    .default(null),
  doc: z.string().max(4096).default(""),
  /** Inputs are collected and reach the code as lists: up to so many, or what came within `wait_ms` of the first. */
  batched: batchedSchema.optional(),
};

const identifier = z.string().regex(/^[A-Za-z_]\w{0,63}$/, "a Python name, 64 characters at most");

const moduleName = z.string().regex(/^(?=.{1,256}$)[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$/, "a module's name");

/** Values a class parameter may have, as JSON carries them: bytes as base64. */
export const PARAMETER_VALUES = {
  str: z.string().max(4096),
  int: z.number().int(),
  float: z.number(),
  bool: z.boolean(),
  bytes: z.base64().max(4096),
};
export type ParameterType = keyof typeof PARAMETER_VALUES;

const parameterOf = <T extends ParameterType>(type: T) =>
  z.object({ name: identifier, type: z.literal(type), default: PARAMETER_VALUES[type].optional() }).strict();
const classParameterSchema = z.discriminatedUnion("type", [
  parameterOf("str"),
  parameterOf("int"),
  parameterOf("float"),
  parameterOf("bool"),
  parameterOf("bytes"),
]);
export type ClassParameter = z.infer<typeof classParameterSchema>;

const classSchema = z
  .object({
    parameters: z.array(classParameterSchema).max(50),
    methods: z
      .array(z.object({ name: identifier, ...callableShape }).strict())
      .min(1)
      .max(100),
  })
  .strict();

export const functionSpecSchema = z
  .object({
    name: functionNameSchema,
    /** Key into the manifest's `images`. */
    image: z.string(),
    /** Where the callable is: a module of the bundle and a qualified name, or a file of the bundle that holds its cloudpickle. */
    entry: z.union([
      z.object({ module: z.string().regex(/^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$/), qualname: z.string().max(256) }).strict(),
      z.object({ pickle: z.string().regex(/^[A-Za-z0-9_.-]+$/) }).strict(),
    ]),
    /** Cores. */
    cpu: amount(1024).default(1),
    /** MiB. */
    memory: amount(16_777_216).default(512),
    /** `null`, or e.g. "A100", "A100:2", "any". */
    gpu: z.union([z.null(), z.string().regex(/^[A-Za-z0-9-]{1,32}(:[1-9]\d?)?$/)]).default(null),
    /** Seconds an attempt may run. */
    timeout: z
      .number()
      .positive()
      .max(30 * 86_400)
      .default(300),
    /** Further attempts after a user fault; a plain number waits one second before each. */
    retries: z.union([z.number().int().min(0).max(100), retriesSchema]).default(0),
    /** Never tried again once it may have run, whoever's fault it was. */
    at_most_once: z.boolean().default(false),
    /** Seconds an input may wait in the queue before it fails; `null`: for ever. */
    max_queue_age: z
      .number()
      .positive()
      .max(30 * 86_400)
      .nullable()
      .default(null),
    /** Inputs with the same `key` that run at the same time, over all nodes; `null`: no limit. */
    key_concurrency: z.number().int().min(1).max(10_000).nullable().default(null),
    /** Inputs that may start in a second, minute, hour or day, over all nodes; `null`: no limit. */
    rate_limit: z
      .string()
      .regex(/^[1-9]\d{0,5}\/[smhd]$/, "a number below a million and a unit of time (s, m, h, d) such as '100/m'")
      .nullable()
      .default(null),
    /** Calls that may wait in the queue before further ones are refused; `null`: FABRIC_MAX_QUEUED. */
    max_queued: z.number().int().min(1).max(10_000_000).nullable().default(null),
    min_containers: z.number().int().min(0).max(1000).default(0),
    max_containers: z.number().int().min(1).max(10_000).default(10),
    buffer_containers: z.number().int().min(0).max(1000).default(0),
    /** Seconds an idle container is kept. */
    scaledown_window: z.number().min(0).max(86_400).default(60),
    network: z.enum(["none", "egress"]).default("egress"),
    /** MiB of scratch; `null` is the node's default. */
    ephemeral_disk: z.number().int().positive().nullable().default(null),
    /** Inputs a container runs at the same time. */
    max_inputs: z.number().int().min(1).max(1000).default(1),
    /** Seconds ended calls and their results are kept; `null`: FABRIC_RECORD_TTL_SECONDS. */
    result_ttl: z
      .number()
      .int()
      .min(10)
      .max(366 * 86_400)
      .nullable()
      .default(null),
    /** Told of the outcome of every call that does not name another URL. */
    webhook: webhookUrlSchema.nullable().default(null),
    /** Calls it without arguments, for as long as its version is the current one. */
    schedule: scheduleSchema.nullable().default(null),
    /** Inputs a container should have; more, up to `max_inputs`, only until there are more containers. */
    target_inputs: z.number().int().min(1).max(1000).optional(),
    /** Containers that start together or not at all, for one input at a time; `null`: an ordinary function. */
    gang: z.number().int().min(1).max(256).nullable().default(null),
    /** Ranks in each container of a gang; "auto": one for each GPU it was granted, else one. */
    procs: z.union([z.literal("auto"), z.number().int().min(1).max(64)]).default("auto"),
    /** Modules imported before the user's, and before ranks are forked, or with `respawn` the process that replaces a dead one. */
    preload: z.array(moduleName).max(64).default([]),
    respawn: z.boolean().default(false),
    ...callableShape,
    /** For a class: what is called are its methods, `<name>.<method>`. */
    class: classSchema.optional(),
  })
  .strict()
  .refine(
    ({ at_most_once, retries }) => !at_most_once || (typeof retries === "number" ? retries : retries.max_retries) === 0,
    {
      path: ["at_most_once"],
      message: "what runs at most once cannot have retries",
    },
  )
  .superRefine((spec, context) => {
    const message = gangProblem(spec);
    if (message !== undefined) context.addIssue({ code: "custom", path: ["gang"], message });
  });
export type FunctionSpec = z.infer<typeof functionSpecSchema>;

/** What a container is told of the code it is to run. */
export const startedFunctionSchema = z.object({
  name: z.string(),
  entry: z.union([z.object({ module: z.string(), qualname: z.string() }), z.object({ pickle: z.string() })]),
  is_async: z.boolean(),
  batched: batchedSchema.optional(),
  preload: z.array(moduleName).optional(),
  /** Names of exception classes, where the policy has any. */
  retry: z.object({ retry_for: z.array(z.string()), dont_retry_for: z.array(z.string()) }).optional(),
  /** The entry is a class: its parameters' values (bytes as base64), and what can be called. */
  class: z
    .object({
      parameters: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
      methods: z.array(z.object({ name: z.string(), is_async: z.boolean(), batched: batchedSchema.optional() })),
    })
    .optional(),
});

/** What a client sends to deploy: everything that decides how a version behaves, so its hash is the version's identity. */
export const deploymentSchema = z
  .object({
    app: nameSchema,
    /** sha256 (hex) of the uploaded bundle, a tar.gz. */
    source: z.string().regex(/^[0-9a-f]{64}$/),
    images: z.record(z.string().max(64), imageSpecSchema),
    functions: z.array(functionSpecSchema).min(1).max(1000),
  })
  .strict();
export type Deployment = z.infer<typeof deploymentSchema>;

/** One immutable version, as stored in the bucket and, for speed, in Redis. */
export interface VersionManifest {
  app: string;
  /** "1", "2", ... or `run_...` for the ephemeral version of one `fabric run`. */
  version: string;
  /** sha256 of the deployment it was made from. */
  digest: string;
  source: string;
  /** Image key -> spec and the engine's reference to the built image. */
  images: Record<string, { spec: ImageSpec; ref: string }>;
  functions: FunctionSpec[];
  createdAt: string;
}

/** The policy in the record's words. */
export function retryPolicy(retries: FunctionSpec["retries"]): { retries: number; backoff?: Backoff } {
  if (typeof retries === "number") return { retries };
  const { max_retries, backoff_coefficient, initial_delay, max_delay } = retries;
  const backoff = {
    coefficient: backoff_coefficient,
    initialDelayMs: initial_delay * 1000,
    maxDelayMs: max_delay * 1000,
  };
  return { retries: max_retries, backoff };
}

/** Inputs a container takes at the same time. */
export const slotsOf = (fn: FunctionSpec): number => {
  const batched = fn.class ? fn.class.methods[0]!.batched : fn.batched;
  return fn.max_inputs * (batched?.max_batch_size ?? 1);
};

export const request = (amount: number | [number, number]): number => (Array.isArray(amount) ? amount[0] : amount);
export const limit = (amount: number | [number, number]): number | undefined =>
  Array.isArray(amount) ? amount[1] : undefined;
