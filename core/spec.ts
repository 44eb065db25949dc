/** What a deployed app consists of: the zod schemas of image specs, function specs and version manifests. */
import { z } from "zod";

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

/** A number reserves; a [request, limit] pair also caps. */
const amount = (max: number) =>
  z.union([z.number().positive().max(max), z.tuple([z.number().positive().max(max), z.number().positive().max(max)])]);

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
    /** Further attempts after a user fault. */
    retries: z.number().int().min(0).max(100).default(0),
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
    is_async: z.boolean().default(false),
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
  })
  .strict();
export type FunctionSpec = z.infer<typeof functionSpecSchema>;

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

export const request = (amount: number | [number, number]): number => (Array.isArray(amount) ? amount[0] : amount);
export const limit = (amount: number | [number, number]): number | undefined =>
  Array.isArray(amount) ? amount[1] : undefined;
