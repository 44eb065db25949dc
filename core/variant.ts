/** A class with given parameter values and options: its name as a pool, what it is served with, and what does not fit. */
import { createHash } from "node:crypto";
import { z } from "zod";
import type { InvocationRecord } from "./invocation.ts";
import { type ClassParameter, type FunctionSpec, functionSpecSchema, PARAMETER_VALUES } from "./spec.ts";

export type ParameterValue = string | number | boolean;

const shape = functionSpecSchema.shape;
/** What `with_options` and its like may say otherwise than the class: nothing that changes what its code is or sees. */
export const overridesSchema = z
  .object({
    cpu: shape.cpu.unwrap(),
    memory: shape.memory.unwrap(),
    gpu: shape.gpu.unwrap(),
    timeout: shape.timeout.unwrap(),
    retries: shape.retries.unwrap(),
    max_containers: shape.max_containers.unwrap(),
    buffer_containers: shape.buffer_containers.unwrap(),
    scaledown_window: shape.scaledown_window.unwrap(),
    max_inputs: shape.max_inputs.unwrap(),
    target_inputs: shape.target_inputs.unwrap(),
  })
  .partial()
  .strict();
export type Overrides = z.infer<typeof overridesSchema>;

export interface Variant {
  parameters: Record<string, ParameterValue>;
  options: Overrides;
}

/** A function as a pool serves it: a class under its pool's name, with its options applied. */
export interface ServedFunction extends FunctionSpec {
  variant?: Variant;
}

/** Values for all parameters, defaults applied; `problems` is empty when they fit. */
export function fitParameters(
  declared: readonly ClassParameter[],
  given: Readonly<Record<string, unknown>>,
): { values: Record<string, ParameterValue>; problems: string[] } {
  const values: Record<string, ParameterValue> = {};
  const known = new Set(declared.map(({ name }) => name));
  const problems = Object.keys(given)
    .filter((name) => !known.has(name))
    .map((name) => `unknown parameter '${name}'`);
  for (const { name, type, default: fallback } of declared) {
    const value = Object.hasOwn(given, name) ? given[name] : fallback;
    const read = PARAMETER_VALUES[type].safeParse(value);
    if (read.success) values[name] = read.data;
    else if (value === undefined) problems.push(`missing parameter '${name}'`);
    else problems.push(`parameter '${name}' is no ${type === "bytes" ? "base64 of bytes" : type}`);
  }
  return { values, problems };
}

/** A value as a URL's query has it, by the parameter's type; what does not read as one stays text. */
export function fromText(type: ClassParameter["type"] | undefined, text: string): ParameterValue {
  if (type === "int" && /^-?\d+$/.test(text)) return Number(text);
  if (type === "float" && text.trim() !== "" && Number.isFinite(Number(text))) return Number(text);
  if (type === "bool" && /^(true|false|1|0)$/i.test(text)) return /^(true|1)$/i.test(text);
  return text;
}

/** Of a class whose parameters all have defaults. */
export function defaultVariant({ parameters }: NonNullable<FunctionSpec["class"]>): Variant | undefined {
  const { values, problems } = fitParameters(parameters, {});
  return problems.length === 0 ? { parameters: values, options: {} } : undefined;
}

/** Equal variants have equal text. */
export const variantText = ({ parameters, options }: Variant): string =>
  JSON.stringify({ parameters: sorted(parameters), options: sorted(options) });
export const parseVariant = (text: string): Variant => JSON.parse(text) as Variant;

const sorted = (object: object): object =>
  Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)));

const MARK = "~";

/** The class' own name for its defaults, else with a hash of what differs. */
export function poolName(spec: FunctionSpec, variant: Variant): string {
  const text = variantText(variant);
  const usual = spec.class && defaultVariant(spec.class);
  if (usual && variantText(usual) === text) return spec.name;
  return `${spec.name}${MARK}${createHash("sha256").update(text).digest("hex").slice(0, 16)}`;
}

/** A pool's name holds its variant's hash: somebody has to say which variant that is. */
export const needsVariant = (pool: string): boolean => pool.includes(MARK);

/** The function's or class' name as the manifest has it. */
export const specName = (pool: string): string => pool.split(MARK, 1)[0]!;

/** As callers write it: `add`, `Model.predict`. */
export const calledName = ({ fn, method }: Pick<InvocationRecord, "fn" | "method">): string =>
  method === undefined ? fn : `${specName(fn)}.${method}`;

/** Does `name` (`add`, `Model`, `Model.predict`) belong to what was asked for: itself, or the class it is a method of? */
export const isOf = (name: string, asked: string): boolean => name === asked || name.startsWith(`${asked}.`);

/** The same of a pool's name, where the method is not known. */
export const mayBeOf = (pool: string, asked: string): boolean =>
  isOf(specName(pool), asked) || isOf(asked, specName(pool));

/** `undefined` when a class is to be served with values nobody gave. */
export function servedFunction(spec: FunctionSpec, pool: string, given?: Variant): ServedFunction | undefined {
  if (!spec.class) return spec;
  const variant = given ?? (needsVariant(pool) ? undefined : defaultVariant(spec.class));
  return variant && { ...spec, ...variant.options, name: pool, variant };
}
