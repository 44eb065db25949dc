/** Points in time as people write them: `10m`, `3d`, `2026-11-24`, `2026-11-24T10:00:00Z`, milliseconds since 1970. */

const UNITS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const LATEST_MS = 8_640_000_000_000_000;

export const MOMENT_FORM = "a time back such as 30s, 10m, 2h, 3d or 1w, or an ISO date or date-time";

/** Milliseconds since 1970; `undefined` for what is none of these. A date without an offset is UTC. */
export function parseMoment(text: string, now: number): number | undefined {
  const back = /^(\d{1,9}(?:\.\d{1,3})?)([smhdw])$/.exec(text);
  if (back) return now - Number(back[1]) * UNITS[back[2]!]!;
  if (/^\d{12,16}$/.test(text)) return Number(text) <= LATEST_MS ? Number(text) : undefined;
  if (!/^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?$/.test(text))
    return undefined;
  const hasOffset = text.length === 10 || /(?:Z|[+-]\d{2}:?\d{2})$/.test(text.slice(10));
  const at = Date.parse(hasOffset ? text.replace(" ", "T") : `${text.replace(" ", "T")}Z`);
  return Number.isNaN(at) ? undefined : at;
}
