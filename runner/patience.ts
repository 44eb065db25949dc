/** Waits for a store that is away on behalf of one attempt, so that an outage is not an exception in its code. */
import type { Clock } from "../core/clock.ts";
import { type ErrorBody, FabricError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { untilDone } from "../core/until-done.ts";
import { duration } from "../core/wait.ts";

export interface Patience {
  /**
   * Repeats `act` through outages. One that lasts too long ends the attempt as a fault of the platform, and is thrown; so is one
   * of an attempt that does not run any more.
   */
  lasting<T>(act: () => Promise<T>): Promise<T>;
}

export interface PatienceDeps {
  clock: Pick<Clock, "monotonic">;
  log: Log;
  patienceMs: number;
  isRunning(): boolean;
  /** What its code waits for, for people; nothing any more. */
  tell(awaits: string | undefined): Promise<void>;
  giveUp(error: ErrorBody): void;
}

export function createPatience({ clock, log, patienceMs, isRunning, tell, giveUp }: PatienceDeps): Patience {
  /** Of those that wait at the same time the first tells, and the last takes it back. */
  let waiting = 0;
  const say = (awaits: string | undefined): void =>
    void tell(awaits).catch((err: unknown) => log.debug({ err }, "a note was not taken"));

  return {
    async lasting(act) {
      let since: number | undefined;
      function onOutage(error: FabricError): void {
        if (!isRunning()) throw error;
        if (since === undefined) {
          since = clock.monotonic();
          log.warn({ code: error.code, error: error.message }, "a checkpoint waits for a store");
          if (waiting++ === 0) say(`its checkpoint waits for storage, up to ${duration(patienceMs)}: ${error.message}`);
        } else if (clock.monotonic() - since > patienceMs) {
          const message = `storage was away for ${duration(patienceMs)}: ${error.message}`;
          giveUp(new FabricError(error.code, message, error.details).toBody());
          throw error;
        }
      }
      try {
        return await untilDone(act, undefined, onOutage);
      } finally {
        if (since !== undefined && --waiting === 0) say(undefined);
      }
    },
  };
}
