/** One attempt in a gang: its ranks from their launch to the end of the last of them. */
import type { Clock } from "../core/clock.ts";
import type { ErrorBody } from "../core/errors.ts";
import { FabricError } from "../core/errors.ts";
import { type Launch, RANK_SHIFT, rankEnvironments } from "../core/gang.ts";
import type { ToShim } from "../core/protocol.ts";
import type { Attempt } from "../core/state-store.ts";
import type { LiveAttempt } from "./attempt.ts";
import type { ShimMessage } from "./channel.ts";
import type { ContainerLink, MemberContainer } from "./container-contract.ts";
import { deathOf, type GangFault, gangFault, type RankFailure } from "./gang-failure.ts";
import { type Rank, ranksOf, tailOf } from "./gang-ranks.ts";

export interface GangRun {
  readonly attempt: LiveAttempt;
  launch(launch: Launch): void;
  onRank(node: number, local: number, message: ShimMessage, body: Buffer): void;
  onLog(node: number, message: Extract<ShimMessage, { type: "log" }>, body: Buffer): void;
  onRankEnded(node: number, message: Extract<ShimMessage, { type: "rank_ended" }>): void;
  /** A container took its ranks with it. */
  onMemberEnded(node: number, verdict: ErrorBody): void;
  /** The attempt has left: whatever still runs of it ends. */
  release(): void;
  /** Ends it at once; it runs again without charge unless it was to end anyway. */
  stop(why: string): void;
  /** No process is left. */
  isOver(): boolean;
}

export interface GangRunDeps {
  clock: Clock;
  members: readonly MemberContainer[];
  /** Of the gang, as its attempt sees it. */
  container: Pick<ContainerLink, "id" | "bootMs" | "enterMs">;
  ask(rank: Rank, link: ContainerLink, message: Extract<ShimMessage, { type: "request" }>, body: Buffer): void;
  /** Its function has: nobody need wait for it any more. */
  onReturned(rank: Rank): void;
  /** The ranks have ended and the attempt has left. */
  onOver(): void;
  /** Its containers are of no use any more. */
  giveUp(why: string, error?: ErrorBody): void;
}

/** So long after the first failure others are awaited: who failed first is not always who is heard first. */
const GATHER_MS = 250;
/** What was told to end and has not after so long, ends with its container. */
const END_MS = 10_000;

export function createGangRun(deps: GangRunDeps, attempt: LiveAttempt): GangRun {
  const { clock, members } = deps;
  const me: Attempt = { id: attempt.id, generation: attempt.generation };
  const ranks = ranksOf(members);
  const failures: RankFailure[] = [];
  let result: { message: Extract<ShimMessage, { type: "result" }>; body: Buffer } | undefined;
  let cancelling = false;
  let concluded = false;
  let released = false;
  let told = false;
  let stopTimer = (): void => {};

  const isMine = ({ id, generation }: Attempt): boolean => id === me.id && generation === me.generation;
  const rankAt = (node: number, local: number): Rank => ranks.find((one) => one.node === node && one.local === local)!;
  const hasOutcome = ({ state }: Rank): boolean => state !== "launched" && state !== "running";
  const toRank = (rank: Rank, header: ToShim, body?: Buffer): boolean =>
    members[rank.node]!.rank(rank.local).send(header, body);

  const links = ranks.map((rank): ContainerLink => {
    const offset = rank.number * RANK_SHIFT;
    return {
      ...deps.container,
      send: (header, body) =>
        toRank(rank, header.type === "reply" ? { ...header, request: header.request - offset } : header, body),
      streams: () => members[rank.node]!.rank(rank.local).streams(),
      far: members[rank.node]!.rank(rank.local).far,
      batches: () => true,
      kill: stop,
    };
  });

  const link: ContainerLink = {
    ...links[0]!,
    ranks: () => links,
    send(header, body) {
      if (header.type === "cancel") {
        cancelling = true;
        // Of a slice it names the input that runs: here there is only one.
        const { index: _, ...all } = header;
        return links.map((one) => one.send(all)).some(Boolean);
      }
      if (header.type === "input") return links.map((one) => one.send(header, body)).every(Boolean);
      return links[0]!.send(header, body);
    },
  };

  /** Where the gang has no attempt running any more, nothing may be told to it. */
  function conclude(tell: () => void): void {
    if (concluded) return;
    concluded = true;
    stopTimer();
    tell();
  }

  function fail(failure: RankFailure): void {
    failures.push(failure);
    if (concluded) return;
    const isComplete = ranks.every(hasOutcome);
    // Who is told to end may clean up, within the grace the attempt gives. Else who is dead is the cause, whatever others will say.
    if (isComplete || (!cancelling && !("error" in failure.how))) concludeFailed();
    else if (!cancelling && failures.length === 1) stopTimer = clock.after(GATHER_MS, concludeFailed);
  }

  function concludeFailed(): void {
    const fault = gangFault(failures, ranks.length);
    conclude(() => tellFault(fault));
  }

  function tellFault(fault: GangFault): void {
    const { how } = fault.root;
    if (!("error" in how)) {
      const death = deathOf(fault);
      if (attempt.state() === "running") attempt.onContainerEnd({ fault: death });
      else attempt.fault(death);
      return;
    }
    const message = how.error.code === "exception" ? fault.message : `rank ${fault.root.rank}: ${how.error.message}`;
    const error = { ...how.error, message: message.slice(0, 65_536) };
    if (attempt.state() === "running")
      attempt.onError({ type: "error", ...me, error, run_ms: 0 }, how.exception, fault.details);
    else attempt.fault(new FabricError(how.error.code, message, fault.details).toBody());
  }

  function succeedWhenAll(): void {
    if (concluded || !result || !ranks.every(({ state }) => state === "returned" || state === "ended")) return;
    const { message, body } = result;
    if (failures.length > 0) concludeFailed();
    else conclude(() => attempt.onResult(message, body));
  }

  function onReady(rank: Rank): void {
    if (rank.state !== "launched") return;
    rank.state = "running";
    if (ranks.every(({ state }) => state === "running") && attempt.state() === "waiting" && !released)
      attempt.begin(link);
  }

  function onResult(rank: Rank, message: Extract<ShimMessage, { type: "result" }>, body: Buffer): void {
    if (rank.state === "running") {
      rank.state = "returned";
      deps.onReturned(rank);
    }
    // Rank 0 keeps its result until it is stored; after a reconnection it comes again, under another stream.
    if (rank.number === 0 && !concluded && rank.state === "returned") result = { message, body: Buffer.from(body) };
    else if (rank.number > 0) toRank(rank, { type: "ack", ...me });
    succeedWhenAll();
  }

  function onError(rank: Rank, message: Extract<ShimMessage, { type: "error" }>, body: Buffer): void {
    toRank(rank, { type: "ack", ...me });
    if (rank.state !== "running") return;
    rank.state = "failed";
    fail({ ...whoIs(rank), how: { error: message.error, exception: Buffer.from(body) } });
  }

  function onRequest(rank: Rank, message: Extract<ShimMessage, { type: "request" }>, body: Buffer): void {
    if (attempt.state() === "running") {
      const request = rank.number * RANK_SHIFT + message.request;
      deps.ask(rank, links[rank.number]!, { ...message, request }, body);
      return;
    }
    const error = { code: "bad_request", message: "the attempt has ended" };
    toRank(rank, { type: "reply", request: message.request, ok: false, error });
  }

  const whoIs = (rank: Rank) => ({
    rank: rank.number,
    container: members[rank.node]!.id,
    lines: [...rank.lines],
  });

  function ended(rank: Rank, how: RankFailure["how"]): void {
    const before = rank.state;
    if (before === "ended") return;
    rank.state = "ended";
    // A long result is still with its rank, as a stream.
    const takesResult = rank.number === 0 && before === "returned" && result?.message.stream !== undefined;
    const failure = { ...whoIs(rank), how };
    if (takesResult && concluded && !released) tellFault(gangFault([failure], ranks.length));
    else if (before === "launched" || before === "running" || takesResult) fail(failure);
    succeedWhenAll();
    tellWhenOver();
  }

  const isOver = (): boolean => ranks.every(({ state }) => state === "ended" || state === "unborn");

  function tellWhenOver(): void {
    if (!released || told || !isOver()) return;
    told = true;
    stopTimer();
    deps.onOver();
  }

  function halt(): void {
    for (const member of members) member.send({ type: "halt", ...me });
    stopTimer();
    stopTimer = clock.after(END_MS, () => deps.giveUp(`ranks of ${me.id} did not end when they were killed`));
  }

  function stop(why: string): void {
    if (failures.length > 0) concludeFailed();
    conclude(() => {
      if (attempt.state() === "running") attempt.onContainerEnd({ again: why });
      else attempt.giveBack(why);
    });
  }

  function violate(what: string): void {
    const error = new FabricError("protocol_violation", `a rank sent ${what}`).toBody();
    conclude(() => {
      if (attempt.state() === "running") attempt.onContainerEnd({ fault: error });
      else attempt.fault(error);
    });
    deps.giveUp(error.message, error);
  }

  return {
    attempt,
    launch(launch) {
      for (const [node, member] of members.entries()) {
        const mine = rankEnvironments(launch, node).map(({ rank, localRank, env }) => ({
          rank,
          env: { ...env, FABRIC_SOCKET: member.socketOf(localRank) },
        }));
        for (const { rank } of mine) ranks[rank]!.state = "launched";
        if (!member.send({ type: "launch", ...me, ranks: mine }))
          return deps.giveUp(`${member.id} lost its connection before its ranks were launched`);
      }
    },

    onRank(node, local, message, body) {
      const rank = rankAt(node, local);
      if (message.type === "ready") return onReady(rank);
      if (message.type === "log" || message.type === "import_failed") return violate(`a ${message.type}`);
      // Of an earlier attempt, whose processes are gone: what was on its way.
      if (!isMine(message)) return;
      if (message.type === "result") onResult(rank, message, body);
      else if (message.type === "error") onError(rank, message, body);
      else if (message.type === "request" && message.request < RANK_SHIFT) onRequest(rank, message, body);
      else violate(`a ${message.type}`);
    },

    onLog(node, { rank: number }, body) {
      const rank = number === undefined ? undefined : ranks[number];
      if (rank?.node === node) rank.lines = tailOf(rank.lines, body);
    },

    onRankEnded(node, message) {
      const rank = ranks[message.rank];
      if (!isMine(message) || rank?.node !== node) return violate("the end of a rank that it does not have");
      ended(rank, { exit: message.code, outOfMemory: message.out_of_memory });
    },

    onMemberEnded(node, verdict) {
      for (const rank of ranks.filter((one) => one.node === node)) ended(rank, { verdict });
    },

    release() {
      if (released) return;
      released = true;
      const hasSucceeded = concluded && failures.length === 0 && ranks.every(({ state }) => state !== "running");
      concluded = true;
      if (hasSucceeded && result) {
        // It holds a copy of what is being stored.
        links[0]!.send({ type: "ack", ...me });
        stopTimer = clock.after(END_MS, halt);
      } else halt();
      tellWhenOver();
    },

    stop,
    isOver,
  };
}
