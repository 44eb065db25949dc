/** The seam to what is live about schedules: which tick of which function is next, and who makes it. Part of StateStore. */
import type { FunctionKey } from "./invocation.ts";
import type { Schedule, TickPlan } from "./schedule.ts";

/** What must outlive the store too, and is kept in the bucket. */
export interface ScheduleMemory {
  schedule: Schedule;
  /** Where a period's count began: the first deployment with this schedule. */
  anchor: number;
  /** Ticks up to here are none of its own: it was deployed or resumed then. */
  since: number;
  lastTick?: number;
}

export interface ScheduleState extends ScheduleMemory {
  key: FunctionKey;
  /** The version its ticks run. */
  version: string;
  paused: boolean;
  nextTick?: number;
  /** Made by the last tick. */
  lastInvocation?: string;
  /** Counts changes of what is to be saved. */
  revision: number;
}

export interface Tick {
  key: FunctionKey;
  tick: number;
}

export interface ScheduleStore {
  /**
   * One look, by the store's clock: schedules whose next tick is due; ticks taken `ageMs` ago and never made; schedules changed
   * `ageMs` ago and not saved yet; and when the next tick is due.
   */
  find(limits: {
    ageMs: number;
    max: number;
  }): Promise<{ now: number; due: ScheduleState[]; taken: Tick[]; unsaved: ScheduleState[]; nextDue?: number }>;
  /**
   * Makes a function's schedule the given one. One that is known already, with an equal schedule, keeps its state: only its
   * version follows, and a next tick that got lost is put back.
   */
  put(state: Omit<ScheduleState, "lastInvocation" | "revision">): Promise<void>;
  remove(key: FunctionKey): Promise<void>;
  get(key: FunctionKey): Promise<ScheduleState | undefined>;
  list(): Promise<ScheduleState[]>;
  /** Takes the tick that is due, and makes the next one due: for exactly one of many callers. What is taken stays found until it is `made`. */
  take(key: FunctionKey, due: number, plan: TickPlan): Promise<boolean>;
  /** The tick has its invocation; `undefined`: it shall have none. */
  made(tick: Tick, invocation: string | undefined): Promise<void>;
  /** No tick comes from now on. False: there is no such schedule. */
  pause(key: FunctionKey): Promise<boolean>;
  /** Ticks after `since` come again; nothing changes where they do already. False: there is no such schedule. */
  resume(key: FunctionKey, since: number, nextTick: number | undefined): Promise<boolean>;
  /** The bucket holds this revision. */
  saved(key: FunctionKey, revision: number): Promise<void>;
  /** True for one of many callers every `everyMs`, and at once after the store lost everything. */
  mayLook(everyMs: number): Promise<boolean>;
}
