/** Reads the Prefer header: how long a caller wants to wait for an outcome. */
export const DEFAULT_WAIT_SECONDS = 60;
export const MAX_WAIT_SECONDS = 600;

/** Milliseconds; 0 is `respond-async`. As RFC 7240 asks, what is not understood is passed over. */
export function waitMs(prefer: string | undefined): number {
  if (prefer === undefined) return DEFAULT_WAIT_SECONDS * 1000;
  let seconds = DEFAULT_WAIT_SECONDS;
  for (const preference of prefer.split(",")) {
    const [name = "", value = ""] = preference.split("=").map((part) => part.trim().toLowerCase());
    if (name === "respond-async") return 0;
    const asked = Number(value.replaceAll('"', ""));
    if (name === "wait" && value !== "" && Number.isFinite(asked) && asked >= 0) seconds = asked;
  }
  return Math.min(seconds, MAX_WAIT_SECONDS) * 1000;
}
