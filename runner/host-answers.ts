/** Does for the lead of a gang what only the node of a rank can do well: bytes between the bucket and the rank's container. */
import { checkpointPrefix } from "../core/checkpoint.ts";
import { readManifest } from "../core/checkpoint-reader.ts";
import type { Clock } from "../core/clock.ts";
import { asFabricError, fail } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import { bringObject } from "./attempt-input.ts";
import { type Bringing, bringHere } from "./bring.ts";
import type { Saved } from "./checkpoint-files.ts";
import type { MemberContainer, RankChannel } from "./container-contract.ts";
import type { RunnerDirs } from "./dirs.ts";
import type { FarAsks, FarPart, ToHost, ToLead } from "./far-message.ts";
import { createPatience } from "./patience.ts";
import { type Part, scratchSaver, type Wanted } from "./save-parts.ts";

type Ask = Extract<ToHost, { type: "ask" }>;
type Answers = {
  [What in keyof FarAsks]: (
    rank: RankChannel,
    details: FarAsks[What]["details"],
    signal: AbortSignal,
  ) => Promise<FarAsks[What]["answer"]>;
};

export interface HostAnswers {
  answer(container: MemberContainer, ask: Ask, body: Buffer): void;
  stop(ask: number): void;
  /** The lead is lost: nothing is written for it any more. */
  close(): void;
}

export interface HostAnswerDeps {
  objects: ObjectStore;
  dirs: RunnerDirs;
  clock: Clock;
  log: Log;
  patienceMs: number;
  /** Of this gang. */
  isHosted(container: string): boolean;
  tell(message: ToLead, body?: Buffer): void;
}

export function createHostAnswers(deps: HostAnswerDeps): HostAnswers {
  const { objects, dirs, clock, log, patienceMs, tell } = deps;
  const running = new Map<number, AbortController>();
  const saver = scratchSaver(objects);
  /** What is open and has not begun. */
  const brought = new Map<number, Bringing>();
  let bringings = 0;
  /** What was saved from here last. */
  let samples: { prefix: string; of: Map<string, string> } | undefined;
  let isOpen = true;

  const patience = createPatience({
    ...{ clock, log, patienceMs, isRunning: () => isOpen },
    // Its lead waits for the same store, and says so.
    tell: async () => undefined,
    giveUp() {},
  });

  /** Its folder is here, whatever the lead calls it. */
  function partHere({ rank, scratch: container, directory }: FarPart): Part {
    if (!deps.isHosted(container)) fail("bad_request", `${container} is not hosted here`);
    return { ...(rank === undefined ? {} : { rank }), scratch: dirs.scratchDir(container), directory };
  }

  async function saved({ series, step }: { series: string; step: number }): Promise<Saved | undefined> {
    const manifest = await readManifest(objects, series, step);
    const of = samples?.prefix === checkpointPrefix(series, step) ? samples.of : new Map<string, string>();
    return manifest && { manifest, samples: of };
  }

  const answers: Answers = {
    async input(rank, { frame, key }) {
      await bringObject(objects, key, frame, rank);
      return null;
    },
    async bring(rank, { wanted }) {
      const bringing = bringHere({ objects, link: rank, log, patience }, wanted);
      if (!bringing) return null;
      brought.set(++bringings, bringing);
      return { number: bringings, files: bringing.files };
    },
    async begin(_rank, { number }) {
      brought.get(number)?.begin();
      brought.delete(number);
      return null;
    },
    list: (_rank, part) => saver.list(partHere(part)),
    async save(_rank, { prefix, before, parts }, signal) {
      const all = parts.map((one) => ({ ...one, part: partHere(one) }));
      const own = all.flatMap(({ part, own }) => own.map((path): Wanted => ({ part, path })));
      const shared = all.flatMap(({ part, shared }) => shared.map((path): Wanted => ({ part, path })));
      const target = { prefix, before: before && (await saved(before)), sent: new Map() };
      const answer = await saver.save(own, shared, target, signal);
      samples = { prefix, of: new Map(answer.saved.map(({ file, sample }) => [file.path, sample])) };
      return answer;
    },
  };

  async function perform<What extends keyof FarAsks>(
    rank: RankChannel,
    { what, ask }: Ask & { what: What },
    details: FarAsks[What]["details"],
  ): Promise<void> {
    const stop = new AbortController();
    running.set(ask, stop);
    try {
      const answer = await answers[what](rank, details, stop.signal);
      tell({ type: "answer", ask }, Buffer.from(JSON.stringify(answer)));
    } catch (thrown) {
      tell({ type: "answer", ask, error: asFabricError(thrown).toBody() });
    } finally {
      running.delete(ask);
    }
  }

  return {
    answer: (container, ask, body) => void perform(container.rank(ask.local), ask, JSON.parse(body.toString("utf8"))),
    stop: (ask) => running.get(ask)?.abort(),
    close() {
      isOpen = false;
      for (const one of running.values()) one.abort();
    },
  };
}
