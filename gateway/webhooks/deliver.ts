/** Sends webhooks of ended invocations: each by one gateway at a time, again after failures, also those a dead gateway had begun. */
import { asFabricError } from "../../core/errors.ts";
import type { TakenWebhook } from "../../core/webhook-outbox.ts";
import type { GatewayDeps } from "../deps.ts";
import type { AddressGuard } from "./address-guard.ts";
import { afterPost } from "./after-post.ts";
import { webhookPayload } from "./payload.ts";
import { postWebhook } from "./post.ts";
import { signedHeaders } from "./signature.ts";

/** Longer than one attempt takes. */
const LEASE_MS = 30_000;
const AT_ONCE = 32;
/** Makes up for hints that were lost. */
const LOOK_EVERY_MS = 5_000;

export interface DeliverDeps extends Pick<GatewayDeps, "state" | "objects" | "clock" | "log" | "webhookSecret"> {
  isAllowed: AddressGuard;
}

export async function deliver(deps: DeliverDeps, taken: TakenWebhook): Promise<void> {
  const { state, objects, clock } = deps;
  const record = await state.invocations.get(taken.id);
  if (!record?.webhook || record.finishedAt === undefined) {
    await state.webhooks.settle(taken, { state: "failed", attempts: 0, error: "its record is gone" });
    return;
  }
  const attempts = (record.delivery?.attempts ?? 0) + 1;
  const body = await webhookPayload(objects, record);
  const headers = {
    "Content-Type": "application/json",
    "User-Agent": "fabric-webhooks",
    ...signedHeaders(await deps.webhookSecret.read(), taken.id, clock.now(), body),
  };
  const posted = await postWebhook(record.webhook, body, headers, deps.isAllowed);
  const { delivery, retryInMs } = afterPost(posted, attempts, record.finishedAt, clock.now(), Math.random());
  await state.webhooks.settle(taken, delivery, retryInMs);
}

/** Delivers until stopped; the returned function resolves when the attempts that run have ended. */
export async function keepDelivering(deps: DeliverDeps): Promise<() => Promise<void>> {
  const { state, clock } = deps;
  const running = new Set<Promise<void>>();
  let stopped = false;
  let looking = false;
  let lookAgain = false;
  let cancelTimer = () => {};

  /** Whatever fails here is taken again when its lease ends. */
  const failed = (error: unknown): void => {
    const { code, message } = asFabricError(error);
    deps.log.warn({ code, error: message }, "webhooks could not be seen to; they will be");
  };

  const start = (taken: TakenWebhook): void => {
    const attempt = deliver(deps, taken)
      .catch(failed)
      .finally(() => {
        running.delete(attempt);
        if (running.size === AT_ONCE - 1) hurry();
      });
    running.add(attempt);
  };

  const look = async (): Promise<void> => {
    looking = true;
    lookAgain = false;
    let nextInMs: number | undefined;
    try {
      const found = await state.webhooks.take(LEASE_MS, AT_ONCE - running.size);
      nextInMs = found.nextInMs;
      for (const taken of found.taken) start(taken);
    } catch (error) {
      failed(error);
    }
    looking = false;
    wait(lookAgain ? 0 : Math.min(nextInMs || LOOK_EVERY_MS, LOOK_EVERY_MS));
  };

  const wait = (ms: number): void => {
    cancelTimer();
    if (!stopped) cancelTimer = clock.after(ms, () => void look());
  };

  function hurry(): void {
    lookAgain = true;
    if (!looking && running.size < AT_ONCE) wait(0);
  }

  const stopListening = await state.webhooks.onDue(hurry);
  wait(0);
  return async () => {
    stopped = true;
    stopListening();
    cancelTimer();
    await Promise.all(running);
  };
}
