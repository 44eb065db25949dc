/** What the exit code of `fabric` means, and which error ends with which. */
import type { FabricError } from "../../core/errors.ts";

export const EXIT_CODES = {
  ok: { code: 0, help: "Done." },
  failed: { code: 1, help: "The command, the call or the function failed; doctor: something required is missing." },
  usage: {
    code: 2,
    help: "The command line is wrong: an unknown option, a missing argument, a value that does not fit.",
  },
  unreachable: { code: 3, help: "No gateway answers, or Redis or the bucket behind it does not." },
  notFound: { code: 4, help: "The app, function, version, invocation or checkpoint does not exist." },
  unauthorized: { code: 5, help: "The token is missing, unknown or expired." },
  pending: { code: 6, help: "`invoke --wait N`: the call has not ended within N seconds; it goes on." },
  interrupted: { code: 130, help: "Ended by Ctrl-C." },
} as const satisfies Record<string, { code: number; help: string }>;

export function exitCodeOf(error: FabricError): number {
  const { status } = error.kind;
  if (status === 401) return EXIT_CODES.unauthorized.code;
  if (status === 404) return EXIT_CODES.notFound.code;
  if (status === 503) return EXIT_CODES.unreachable.code;
  return EXIT_CODES.failed.code;
}
