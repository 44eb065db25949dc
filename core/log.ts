/** Structured logs of fabric's own processes: JSON lines on stderr, so that stdout stays for answers. */
import { type Logger, pino } from "pino";

export type Log = Logger;

export const createLog = (process: "gateway" | "runner" | "supervisor" | "s3", level: string): Log =>
  pino(
    { level, base: { process }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 2, sync: false }),
  );
