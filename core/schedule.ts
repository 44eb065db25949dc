/** When a schedule's ticks fall: cron expressions in a time zone, periods counted from an anchor, and what became of ticks nobody made. */
import { Cron } from "croner";
import { z } from "zod";

/** A tick up to this old is made in its turn; an older one counts as missed. */
export const LATE_MS = 10_000;

const onMissed = z.enum(["run_once", "skip"]).default("run_once");
const part = (max: number) => z.number().int().min(0).max(max).default(0);

const cronSchema = z
  .object({
    kind: z.literal("cron"),
    /** Five fields: minute, hour, day of month, month, day of week. */
    cron: z.string().max(256),
    timezone: z.string().max(64).default("UTC"),
    on_missed: onMissed,
  })
  .strict();

const periodSchema = z
  .object({
    kind: z.literal("period"),
    years: part(10),
    months: part(120),
    weeks: part(520),
    days: part(3660),
    hours: part(87_840),
    minutes: part(5_270_400),
    seconds: z.number().min(0).max(316_224_000).default(0),
    on_missed: onMissed,
  })
  .strict();

export type Schedule = z.infer<typeof cronSchema> | z.infer<typeof periodSchema>;
type Period = z.infer<typeof periodSchema>;

export const scheduleSchema = z
  .discriminatedUnion("kind", [cronSchema, periodSchema])
  .superRefine((schedule, context) => {
    const problem = schedule.kind === "cron" ? cronProblem(schedule.cron, schedule.timezone) : periodProblem(schedule);
    if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
  });

function cronProblem(cron: string, timezone: string): string | undefined {
  try {
    new Intl.DateTimeFormat("en", { timeZone: timezone });
  } catch {
    return `'${timezone}' is no time zone; use a name such as Europe/Berlin or UTC`;
  }
  try {
    if (parsedCron(cron, timezone).nextRun() === null) return `'${cron}' never comes`;
    return undefined;
  } catch (error) {
    return `'${cron}' is no cron expression of five fields: ${(error as Error).message}`;
  }
}

const periodProblem = (period: Period): string | undefined =>
  monthsOf(period) === 0 && fixedMs(period) < 1_000 ? "a period is 1 second at least" : undefined;

const crons = new Map<string, Cron>();
const MOST_CRONS = 1_000;

/** Parsing costs more than asking, and the same few expressions are asked again and again. */
function parsedCron(cron: string, timezone: string): Cron {
  const key = `${timezone}\0${cron}`;
  const known = crons.get(key);
  if (known) return known;
  const made = new Cron(cron, { mode: "5-part", timezone });
  if (crons.size >= MOST_CRONS) crons.clear();
  crons.set(key, made);
  return made;
}

/** The first tick after a moment (exclusive); `anchor` is where a period's count began. `undefined`: there is none. */
export function nextTick(schedule: Schedule, anchor: number, after: number): number | undefined {
  if (schedule.kind === "period") return nextOfPeriod(schedule, anchor, after);
  // Cron knows whole seconds only, and what comes after 09:00:00.4 is not 09:00:00.
  const next = parsedCron(schedule.cron, schedule.timezone).nextRun(new Date(Math.floor(after / 1000) * 1000));
  return next?.getTime();
}

const monthsOf = ({ years, months }: Period): number => years * 12 + months;
const fixedMs = ({ weeks, days, hours, minutes, seconds }: Period): number =>
  Math.round((((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60_000 + seconds * 1000);
const LONGEST_MONTH_MS = 31 * 86_400_000;

/** Each tick is counted from the anchor, so that a month after 31 January is 28 February and two months after it 31 March. */
function nextOfPeriod(period: Period, anchor: number, after: number): number {
  const [months, ms] = [monthsOf(period), fixedMs(period)];
  const tick = (n: number): number => addMonths(anchor, n * months) + n * ms;
  if (months === 0) return tick(Math.max(1, Math.floor((after - anchor) / ms) + 1));
  let n = Math.max(1, Math.floor((after - anchor) / (months * LONGEST_MONTH_MS + ms)));
  while (tick(n) <= after) n++;
  return tick(n);
}

function addMonths(from: number, months: number): number {
  if (months === 0) return from;
  const date = new Date(from);
  const day = date.getUTCDate();
  date.setUTCDate(1);
  date.setUTCMonth(date.getUTCMonth() + months + 1, 0);
  date.setUTCDate(Math.min(day, date.getUTCDate()));
  return date.getTime();
}

/** The last tick up to a moment (inclusive) among those from `first`, itself a tick, on. */
export function lastTick(schedule: Schedule, anchor: number, first: number, until: number): number {
  for (let span = 1_000; ; span *= 2) {
    const from = Math.max(first, until - span);
    let found = from === first ? first : nextTick(schedule, anchor, from);
    if (found === undefined || found > until) continue;
    for (let next = found; next <= until; next = nextTick(schedule, anchor, next) ?? Number.POSITIVE_INFINITY)
      found = next;
    return found;
  }
}

export interface TickPlan {
  /** The tick to make an invocation of; absent: none. */
  make?: number;
  /** The tick that is due then; absent: no further one. */
  next?: number;
}

/**
 * What to do about a tick that is due. One after the other while they are not older than `LATE_MS`; of missed ones none, or
 * one for all: the last of them.
 */
export function planTick(schedule: Schedule, anchor: number, due: number, now: number): TickPlan {
  const last = now - due <= LATE_MS ? due : lastTick(schedule, anchor, due, now);
  const isMissed = now - last > LATE_MS;
  return {
    make: isMissed && schedule.on_missed === "skip" ? undefined : last,
    next: nextTick(schedule, anchor, last),
  };
}

/** For people: `0 9 * * * Europe/Berlin`, `every 1 hour 30 minutes`. */
export function scheduleText(schedule: Schedule): string {
  if (schedule.kind === "cron") return `${schedule.cron} ${schedule.timezone}`;
  const parts = (["years", "months", "weeks", "days", "hours", "minutes", "seconds"] as const)
    .filter((unit) => schedule[unit] > 0)
    .map((unit) => `${schedule[unit]} ${schedule[unit] === 1 ? unit.slice(0, -1) : unit}`);
  return `every ${parts.join(" ")}`;
}
