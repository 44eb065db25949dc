/** Callers that want the same thing at the same time share one making of it; it is given up when the last of them goes. */
import type { BuildEvent } from "../../core/image-builder.ts";

export type Make<T> = (onEvent: (event: BuildEvent) => void, signal: AbortSignal) => Promise<T>;

interface Running<T> {
  outcome: Promise<T>;
  listeners: Set<(event: BuildEvent) => void>;
  /** What was said so far, for those who come later. */
  said: BuildEvent[];
  control: AbortController;
}

/** Events kept for late callers. */
const KEPT = 1000;

export function sharedBuilds<T>(): (
  key: string,
  make: Make<T>,
  onEvent: (event: BuildEvent) => void,
  signal: AbortSignal,
) => Promise<T> {
  const running = new Map<string, Running<T>>();

  function begin(key: string, make: Make<T>): Running<T> {
    const control = new AbortController();
    const listeners: Running<T>["listeners"] = new Set();
    const said: BuildEvent[] = [];
    const tell = (event: BuildEvent) => {
      if (said.length < KEPT) said.push(event);
      for (const listener of listeners) listener(event);
    };
    const outcome = make(tell, control.signal).finally(() => {
      if (running.get(key) === build) running.delete(key);
    });
    const build = { outcome, listeners, said, control };
    running.set(key, build);
    return build;
  }

  return (key, make, onEvent, signal) => {
    signal.throwIfAborted();
    const build = running.get(key) ?? begin(key, make);
    for (const event of build.said) onEvent(event);
    build.listeners.add(onEvent);
    return new Promise<T>((resolve, reject) => {
      const leave = () => {
        build.listeners.delete(onEvent);
        signal.removeEventListener("abort", giveUp);
      };
      const giveUp = () => {
        leave();
        if (build.listeners.size > 0) return reject(signal.reason);
        // The last one waits until nothing is left behind; a newcomer starts afresh.
        if (running.get(key) === build) running.delete(key);
        build.control.abort(signal.reason);
        build.outcome.then(
          () => reject(signal.reason),
          () => reject(signal.reason),
        );
      };
      signal.addEventListener("abort", giveUp, { once: true });
      build.outcome.then(resolve, reject).finally(leave);
    });
  };
}
