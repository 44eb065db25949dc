/** What is wrong with a deployment, told by the names its author gave: functions have names, not numbers. */
import type { z } from "zod";

export interface Problem {
  /** Path into the deployment. */
  field: string;
  /** Whose field it is, where the deployment says so. */
  function?: string;
  message: string;
}

export function problemsOf(error: z.ZodError, deployment: unknown): Problem[] {
  return error.issues.slice(0, 10).map(({ path, message }) => {
    const name = nameAt(path, deployment);
    return { field: path.join("."), ...(name === undefined ? {} : { function: name }), message };
  });
}

/** As one sentence. */
export function inWords({ field, function: name, message }: Problem): string {
  if (name === undefined) return `${field || "the body"}: ${message}`;
  const rest = field.split(".").slice(2).join(".");
  return field.startsWith("images.")
    ? `image of function '${name}': ${rest || "all of it"}: ${message}`
    : `function '${name}': ${rest || "all of it"}: ${message}`;
}

type Named = { name?: unknown; image?: unknown } | null;

/** Of a function's own field, or of an image that it uses. */
function nameAt([top, which]: PropertyKey[], deployment: unknown): string | undefined {
  const functions = (deployment as { functions?: unknown } | null)?.functions;
  if (!Array.isArray(functions)) return undefined;
  const found: Named | undefined =
    top === "functions"
      ? functions[Number(which)]
      : top === "images"
        ? functions.find((one: Named) => one?.image === which)
        : undefined;
  return typeof found?.name === "string" ? found.name.slice(0, 200) : undefined;
}
