/** What an app file defines, as told by fabric's Python package: run with the user's Python, else in a container. */
import { existsSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { z } from "zod";
import { asFabricError, ERRORS, type ErrorCode, fail } from "../../core/errors.ts";
import { inWords, problemsOf } from "../../core/problems.ts";
import { functionSpecSchema, imageSpecSchema } from "../../core/spec.ts";
import type { Client } from "../typescript/client.ts";
import { UsageError } from "./context.ts";
import { pack } from "./pack.ts";
import { capture, findPython, pythonEnvironment } from "./python.ts";
import type { Terminal } from "./terminal.ts";

const descriptionSchema = z.object({
  app: z.string(),
  /** Absolute: the folder that becomes the bundle. */
  root: z.string(),
  images: z.record(z.string(), imageSpecSchema),
  functions: z.array(functionSpecSchema),
  entrypoints: z.array(z.object({ name: z.string(), parameters: z.array(z.unknown()).optional() })).default([]),
  /** Functions that travel by value: file name -> base64. */
  pickles: z.record(z.string().regex(/^[A-Za-z0-9_.-]+$/), z.string()).default({}),
});
export type Description = z.infer<typeof descriptionSchema>;

const refusalSchema = z.object({ error: z.object({ code: z.string(), message: z.string() }) });

export async function describe(
  path: string,
  deps: { environment: NodeJS.ProcessEnv; terminal: Terminal; client(): Client },
): Promise<Description> {
  const absolute = resolve(path);
  if (!existsSync(absolute)) throw new UsageError(`${path} does not exist`);
  const python = await findPython(deps.environment);
  if (!python) {
    deps.terminal.note("no python3 of 3.9 or newer here: the gateway describes the app in a container");
    return describeRemotely(absolute, deps.client());
  }
  const environment = pythonEnvironment(deps.environment);
  const answer = await capture(python.command, ["-m", "fabric_sdk.describe", absolute], environment);
  if (!answer) fail("image_python_unavailable", `${python.command} cannot be started`);
  if (answer.stderr.trim()) deps.terminal.note(answer.stderr.trimEnd());
  return readDescription(answer.stdout, answer.stderr);
}

/** @param text what the describer printed; its last line is the JSON, because the user's own module may print, too. */
export function readDescription(text: string, stderr = ""): Description {
  const line = text.trimEnd().split("\n").at(-1) ?? "";
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    fail("app_import_failed", `the app could not be described: ${stderr.trim() || line}`, undefined, { cause: error });
  }
  const refusal = refusalSchema.safeParse(value);
  if (refusal.success) return fail(codeOf(refusal.data.error.code), refusal.data.error.message);
  const description = descriptionSchema.safeParse(value);
  if (description.success) return description.data;
  const [problem] = problemsOf(description.error, value);
  return fail(problem!.field.startsWith("images.") ? "image_spec_invalid" : "bad_request", inWords(problem!));
}

const codeOf = (code: string): ErrorCode => (Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : "app_import_failed");

/** As the Python package finds it: a file's folder, or the folder above the outermost package. */
export function sourceRoot(path: string): string {
  let root = statSync(path).isDirectory() ? path : dirname(path);
  while (existsSync(join(root, "__init__.py"))) root = dirname(root);
  return root;
}

async function describeRemotely(path: string, client: Client): Promise<Description> {
  const root = sourceRoot(path);
  if (root === path)
    throw new UsageError(
      `${path} is a folder without __init__.py; give the app's file, such as ${join(path, "app.py")}`,
    );
  const bundle = await pack(root);
  try {
    const answer = await client.describe(bundle.open(), relative(root, path), "3.11");
    return { ...readDescription(JSON.stringify(answer)), root };
  } catch (error) {
    throw asFabricError(error);
  } finally {
    await bundle.discard();
  }
}
