/** The seam to what expired invocations leave in the bucket. Part of StateStore. */

export interface Expired {
  /** Ids whose record has expired, at most `max`, for `leaseMs`: each for one of many callers, and again until they are `gone`. */
  take(leaseMs: number, max: number): Promise<string[]>;
  gone(ids: string[]): Promise<void>;
  /** Which of the ids have a record, or wait here for their end. */
  known(ids: string[]): Promise<Set<string>>;
  /** True for one of many callers every `everyMs`. */
  maySearch(everyMs: number): Promise<boolean>;
}
