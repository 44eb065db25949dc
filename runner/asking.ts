/** Requests that are under way for one attempt, answered in any order; one that is sent again is not done twice. */
import { asFabricError, FabricError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Answer } from "./answer-outcome.ts";
import type { ContainerLink } from "./container-contract.ts";
import { fittingError } from "./fitting-error.ts";

export interface Asking {
  /** Aborts when the attempt has left its container. */
  readonly signal: AbortSignal;
  ask(link: ContainerLink, request: number, body: Buffer, perform: (body: Buffer) => Promise<Answer>): void;
  close(): void;
}

/** Of one container. */
const MAX_OUTSTANDING = 10_000;
const MAX_OUTSTANDING_BYTES = 256 * 1024 * 1024;

interface Outstanding {
  count: number;
  bytes: number;
}
const outstanding = new WeakMap<ContainerLink, Outstanding>();

export function createAsking(log: Log): Asking {
  const controller = new AbortController();
  /** What is to be done when a request that was sent again fails with the connection it came by first. */
  const underWay = new Map<number, { again?: () => void }>();

  async function answered(link: ContainerLink, request: number, perform: () => Promise<Answer>): Promise<void> {
    const connection = link.streams();
    const mine = underWay.get(request)!;
    try {
      const { value, body, begin } = await perform();
      underWay.delete(request);
      link.send({ type: "reply", request, ok: true, value }, body);
      begin?.();
    } catch (thrown) {
      underWay.delete(request);
      // What failed with its connection is sent again by the next one, or was already.
      if (link.streams() !== connection) mine.again?.();
      else if (!controller.signal.aborted) refuse(link, request, thrown);
    }
  }

  function refuse(link: ContainerLink, request: number, thrown: unknown): void {
    const error = asFabricError(thrown);
    if (error.code === "internal") log.error({ err: thrown, request }, "a request of a function failed");
    link.send({ type: "reply", request, ok: false, error: fittingError(error.toBody()) });
  }

  const asking: Asking = {
    signal: controller.signal,
    ask(link, request, body, perform) {
      const known = underWay.get(request);
      const kept = Buffer.from(body);
      if (known) {
        known.again = () => asking.ask(link, request, kept, perform);
        return;
      }
      const all = outstanding.get(link) ?? { count: 0, bytes: 0 };
      outstanding.set(link, all);
      if (all.count >= MAX_OUTSTANDING || all.bytes + kept.length > MAX_OUTSTANDING_BYTES) {
        refuse(
          link,
          request,
          new FabricError("calls_outstanding", "this container has too many calls under way at once"),
        );
        return;
      }
      all.count++;
      all.bytes += kept.length;
      underWay.set(request, {});
      void answered(link, request, () => perform(kept)).finally(() => {
        all.count--;
        all.bytes -= kept.length;
      });
    },
    close: () => controller.abort(new FabricError("cancelled", "the attempt has left its container")),
  };
  return asking;
}
