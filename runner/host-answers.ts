/** Does for the lead of a gang what only the node of a rank can do well: bytes between the bucket and the rank's container. */
import { asFabricError } from "../core/errors.ts";
import type { ObjectStore } from "../core/object-store.ts";
import { bringObject } from "./attempt-input.ts";
import type { ContainerLink, MemberContainer } from "./container-contract.ts";
import type { FarAsks, ToHost, ToLead } from "./far-message.ts";

type Ask = Extract<ToHost, { type: "ask" }>;
type Answers = {
  [What in keyof FarAsks]: (
    link: RankLink,
    details: FarAsks[What]["details"],
    signal: AbortSignal,
  ) => Promise<FarAsks[What]["answer"]>;
};
type RankLink = Pick<ContainerLink, "send" | "streams">;

export interface HostAnswers {
  answer(container: MemberContainer, ask: Ask, body: Buffer): void;
  stop(ask: number): void;
}

export function createHostAnswers(
  { objects }: { objects: ObjectStore },
  tell: (message: ToLead, body?: Buffer) => void,
): HostAnswers {
  const running = new Map<number, AbortController>();
  const answers: Answers = {
    async input(link, { frame, key }) {
      await bringObject(objects, key, frame, link);
      return null;
    },
  };

  async function perform(container: MemberContainer, { local, what, ask }: Ask, body: Buffer): Promise<void> {
    const stop = new AbortController();
    running.set(ask, stop);
    try {
      const answer = await answers[what](container.rank(local), JSON.parse(body.toString("utf8")), stop.signal);
      tell({ type: "answer", ask }, Buffer.from(JSON.stringify(answer)));
    } catch (thrown) {
      tell({ type: "answer", ask, error: asFabricError(thrown).toBody() });
    } finally {
      running.delete(ask);
    }
  }

  return {
    answer: (container, ask, body) => void perform(container, ask, body),
    stop: (ask) => running.get(ask)?.abort(),
  };
}
