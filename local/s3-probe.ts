/** Asks whether anything answers at an external S3 endpoint, before processes are started that would wait for it. */
import { LocalFailure } from "./failure.ts";

const PROBE_TIMEOUT_MS = 5_000;

/** Any answer counts: without a signature a healthy endpoint refuses. */
export async function checkExternalS3(endpoint: string): Promise<void> {
  try {
    const { body } = await fetch(endpoint, { redirect: "manual", signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
    await body?.cancel();
  } catch (error) {
    const reason = error instanceof Error ? error.cause : undefined;
    throw new LocalFailure(
      `the S3 endpoint ${endpoint} (FABRIC_S3_ENDPOINT) does not answer: ${reason instanceof Error ? reason.message : error}`,
      "Start it, correct FABRIC_S3_ENDPOINT, or unset it: `fabric up` then starts its own.",
      { cause: error },
    );
  }
}
