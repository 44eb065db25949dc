/** Sends a request again when its gateway died over it: only for what may be sent twice, and for a while. */
import { setTimeout as pause } from "node:timers/promises";
import { FabricError } from "../../core/errors.ts";

const PATIENCE_MS = 15_000;
const LONGEST_PAUSE_MS = 2_000;
/** What proxies say of a gateway that is away, and a gateway that starts of its stores. */
const AWAY = new Set([502, 503, 504]);
/** A connection that stood. Where none came to be, most likely nobody listens, and waiting would not help. */
const BROKEN = new Set(["ECONNRESET", "EPIPE", "UND_ERR_SOCKET"]);

export async function outlast(act: () => Promise<Response>, signal?: AbortSignal): Promise<Response> {
  let lostAt: number | undefined;
  const isLate = () => lostAt !== undefined && performance.now() - lostAt > PATIENCE_MS;
  for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    try {
      const response = await act();
      if (lostAt === undefined || !AWAY.has(response.status) || isLate()) return response;
      await response.body?.cancel();
    } catch (error) {
      const isLost = error instanceof FabricError && error.code === "fabric_unreachable";
      if (!isLost || isLate() || (lostAt === undefined && !BROKEN.has(reasonOf(error)))) throw error;
      lostAt ??= performance.now();
    }
    await pause(pauseMs, undefined, { signal });
  }
}

/** The code of the innermost cause that has one. */
function reasonOf(error: unknown): string {
  const { cause, code } = error as { cause?: unknown; code?: unknown };
  return (cause instanceof Error && reasonOf(cause)) || String(code ?? "");
}
