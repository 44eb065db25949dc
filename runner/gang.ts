/**
 * A gang: containers that start and end together, for one input at a time. To its pool it is like one container with one slot;
 * its processes, the ranks, are forked anew for each attempt by the shims inside, which stay.
 */
import type { NodeFacts } from "../core/capacity-ledger.ts";
import { asFabricError, type ErrorBody, FabricError } from "../core/errors.ts";
import { procsOf } from "../core/gang.ts";
import type { LiveAttempt } from "./attempt.ts";
import { createContainer } from "./container.ts";
import {
  type Container,
  type ContainerDeps,
  type ContainerEvents,
  type ContainerPhase,
  type MemberContainer,
  type MemberEvents,
  type MemberLife,
  PHASES_AFTER,
  type StartFailure,
} from "./container-contract.ts";
import type { ContainerPlan, GangPlan } from "./container-plan.ts";
import type { Far } from "./far.ts";
import { createFarHost, type FarHost } from "./far-host.ts";
import type { GangNetwork } from "./gang-networks.ts";
import { meetingPort } from "./gang-port.ts";
import { createGangRun, type GangRun } from "./gang-run.ts";
import { masterAddress } from "./meeting.ts";

export interface GangDeps extends ContainerDeps {
  far: Pick<Far, "link" | "networks">;
  nodes(): Promise<NodeFacts[]>;
}

export function createGang(deps: GangDeps, plan: GangPlan, events: ContainerEvents): Container {
  const { engine, clock, log } = deps;
  const created = clock.monotonic();
  let phase: ContainerPhase = "booked";
  let run: GangRun | undefined;
  let leaving = false;
  let address: string | undefined;
  let port: number | undefined;
  let failure: StartFailure | undefined;
  let killed: string | undefined;
  let idleSince = created;
  let readySince = created;
  let bootMs = 0;
  /** Whose lines may still come. */
  let latest: LiveAttempt | undefined;

  let network: GangNetwork | undefined;

  const members: MemberContainer[] = [];
  const hosts = new Map<string, FarHost>();
  const spans = plan.members.some(({ at }) => at !== deps.identity.node);
  for (const [node, { id, at, gpus }] of plan.members.entries()) {
    const procs = procsOf(plan.fn, gpus.length);
    const firstRank = members.reduce((sum, one) => sum + one.plan.member!.procs, 0);
    const member = { gang: plan.id, node, firstRank, procs, spans };
    members.push(createMember(at, { id, gpus, fn: plan.fn, manifest: plan.manifest, member }));
  }

  function createMember(at: string, own: ContainerPlan): MemberContainer {
    const { node } = own.member!;
    const life = memberLife(node);
    const ofGang: MemberEvents = {
      attempts: () => (latest ? [latest] : []),
      onLog: (message, body) => run?.onLog(node, message, body),
      onRankEnded: (message) => run?.onRankEnded(node, message),
      onRank: (local, message, body) => run?.onRank(node, local, message, body),
    };
    if (at === deps.identity.node) return createContainer(deps, own, asEvents(life), ofGang);
    const host = hosts.get(at) ?? createFarHost(deps.far.link, plan.id, at, onLeaving);
    hosts.set(at, host);
    return host.add(own, life, ofGang);
  }
  const gone = Promise.all(members.map((one) => one.ended)).then(async () => {
    network?.end();
    try {
      await engine.endGang(plan.id);
    } catch (err) {
      // The next reconcile finds and removes what is left.
      log.error({ err, gang: plan.id }, "what a gang shared could not be removed");
    }
  });

  function move(next: ContainerPhase): void {
    if (!PHASES_AFTER[phase].includes(next))
      throw new FabricError("internal", `a gang cannot go from ${phase} to ${next}`);
    phase = next;
  }

  /** A node that it is on is being stopped: first what runs may end, then it has to go. */
  function onLeaving(now: boolean): void {
    if (now) end("a node of its gang is being stopped");
    else self.drain();
  }

  function memberLife(node: number): MemberLife {
    return {
      onReady: whenAllReady,
      onEnded(startFailure, verdict) {
        const code = verdict?.code ?? "container_killed";
        const message = verdict?.message ?? "The container was removed from outside.";
        run?.onMemberEnded(node, new FabricError(code, message).toBody());
        failure ??= startFailure;
        end(`${plan.members[node]!.id} of the gang has ended`);
        if (members.every((one) => one.phase() === "ended")) allEnded();
      },
    };
  }

  function whenAllReady(): void {
    if (phase !== "starting" || !members.every((one) => one.phase() === "ready")) return;
    bootMs = Math.round(clock.monotonic() - created);
    readySince = clock.monotonic();
    idleSince = readySince;
    move("ready");
    events.onReady(self, []);
  }

  function allEnded(): void {
    if (phase === "ended") return;
    const wasUnready = phase === "booked" || phase === "starting";
    move("ended");
    events.onEnded(self, wasUnready ? failure : undefined);
  }

  /** One for all: without the others a container of a gang is worth nothing. */
  function end(why: string, error?: ErrorBody): void {
    if (killed !== undefined || phase === "ended") return;
    killed = why;
    if (error) failure ??= { error };
    run?.stop(why);
    for (const one of members) one.kill(why);
  }

  /** What was killed before ends instead. */
  function startAll(): void {
    for (const one of members) one.start();
  }

  function onOver(): void {
    run = undefined;
    leaving = false;
    if (phase === "draining") drainAll();
    else if (killed === undefined) events.onFree(self);
  }

  function drainAll(): void {
    for (const one of members) one.drain();
  }

  async function launch(mine: GangRun): Promise<void> {
    port = await meetingPort(port);
    address ??= await masterAddress(engine, { id: members[0]!.id, containers: members.length }, await nodesOf(plan));
    const { attempt } = mine;
    if (attempt.state() !== "waiting") return mine.release();
    mine.launch({
      ...{ id: attempt.id, generation: attempt.generation, restarts: attempt.claimed.record.attempts - 1 },
      containers: members.map((one) => ({ id: one.id, procs: one.plan.member!.procs })),
      master: { address, port },
    });
  }

  async function nodesOf({ members: planned }: GangPlan): Promise<NodeFacts[]> {
    if (hosts.size === 0) return [];
    const known = await deps.nodes();
    return [...new Set(planned.map(({ at }) => at))].flatMap((at) => known.filter(({ id }) => id === at));
  }

  const self: Container = {
    plan,
    id: plan.id,
    slots: 1,
    phase: () => phase,
    freeSlots: () => (phase === "ready" && !run && killed === undefined ? 1 : 0),
    // While the last ranks end the next attempt waits for this gang: it is warm, and free in a moment.
    busy: () => (run && !leaving ? 1 : 0),
    idleSince: () => idleSince,
    ready: () => ({ since: readySince, bootMs }),
    begin(attempt) {
      latest = attempt;
      const mine = createGangRun(
        {
          ...{ clock, members, onOver, giveUp: end },
          container: { id: plan.id, bootMs: () => bootMs, enterMs: () => 0 },
          onReturned: (rank) => deps.operations.rankReturned(attempt, rank.number),
          ask: (rank, link, message, body) =>
            deps.operations.answer(
              {
                ...{ attempt, plan: members[rank.node]!.plan, link },
                scratch: deps.dirs.scratchDir(members[rank.node]!.id),
                rank: { rank: rank.number, worldSize: members.reduce((sum, one) => sum + one.plan.member!.procs, 0) },
              },
              message,
              body,
            ),
        },
        attempt,
      );
      run = mine;
      launch(mine).catch((err: unknown) => {
        log.error({ err, gang: plan.id, id: attempt.id }, "ranks could not be launched");
        mine.stop(`its ranks could not be launched: ${(err as Error).message}`);
      });
    },
    // After a restart of the runner gangs are fenced.
    adoptAttempt: (attempt) => attempt.giveBack("a gang is not taken over"),
    adopt: () => end("a gang is not taken over"),
    release(attempt) {
      if (run?.attempt !== attempt) return;
      leaving = true;
      idleSince = clock.monotonic();
      run.release();
    },
    forget() {},
    start() {
      move("starting");
      if (hosts.size === 0) return startAll();
      deps.far.networks.make(plan.id).then(
        (made) => {
          network = made;
          startAll();
        },
        (thrown: unknown) => {
          end("its network could not be made", asFabricError(thrown).toBody());
          startAll();
        },
      );
    },
    drain() {
      if (phase === "booked") end("not needed any more");
      if (phase !== "starting" && phase !== "ready") return;
      move("draining");
      if (!run) drainAll();
    },
    kill: (why) => end(why),
    ended: gone,
  };
  return self;
}

/** A container of this node has more to tell than its gang asks for. */
const asEvents = ({ onReady, onEnded }: MemberLife): ContainerEvents => ({
  onReady,
  onFree() {},
  onStray: () => undefined,
  onCrash() {},
  onEnded: (_container, failure, verdict) => onEnded(failure, verdict),
});
