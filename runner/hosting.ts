/** Containers of gangs whose lead is another node's runner: started, watched and ended here, for as long as that one is there. */
import { asFabricError, FabricError } from "../core/errors.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { Registry } from "../core/registry.ts";
import type { StateStore } from "../core/state-store.ts";
import { untilDone } from "../core/until-done.ts";
import { servedFunction } from "../core/variant.ts";
import { createContainer } from "./container.ts";
import type { Container, ContainerDeps, MemberContainer, Printer, StartFailure } from "./container-contract.ts";
import type { ContainerPlan } from "./container-plan.ts";
import type { HostPlan, ToHost, ToLead } from "./far-message.ts";
import { tailOf } from "./gang-ranks.ts";
import { createHostAnswers } from "./host-answers.ts";
import type { Session, SessionEvents } from "./link.ts";
import { FAR_STREAMS, type StreamFrame } from "./streams.ts";

export interface HostingDeps extends ContainerDeps {
  leaseMs: number;
  state: Pick<StateStore, "capacity">;
  registry: Pick<Registry, "version">;
  objects: ObjectStore;
  patienceMs: number;
}

export interface Hosting {
  /** A gang of another runner's. */
  host(session: Session): SessionEvents;
  containers(): Container[];
  start(): void;
  /** The node is being stopped: tells the leads, which let what runs end, unless it has to go `now`. */
  leave(now: boolean): void;
}

type Hosted = Container & MemberContainer;

export function createHosting(deps: HostingDeps): Hosting {
  const { clock, log, engine, identity, state, leaseMs } = deps;
  const all = new Map<string, Hosted>();
  const gangs = new Set<(message: ToLead) => void>();
  /** Booked by others and unknown here, when we last looked. */
  let strange = new Set<string>();
  let leaving = false;
  let stopTidying = (): void => {};

  function host(session: Session): SessionEvents {
    const mine = new Map<string, Hosted>();
    /** What ranks printed last. */
    const lines = new Map<number, string[]>();
    const answers = createHostAnswers({
      ...deps,
      isHosted: (id) => mine.has(id),
      tell: (...message) => tell(...message),
    });
    let printer: Printer | undefined;
    let closed = false;
    const tell = (message: ToLead, body?: Buffer): void => {
      if (!closed) session.send(message, body);
    };
    gangs.add(tell);

    async function start(plan: HostPlan): Promise<void> {
      const plans = await plansOf(plan);
      for (const one of plans) {
        const container = create(one);
        mine.set(one.id, container);
        all.set(one.id, container);
      }
      for (const one of mine.values()) one.start();
      if (closed) endAll("its lead is lost");
      else if (leaving) tell({ type: "leaving", now: true });
    }

    function create(plan: ContainerPlan): Hosted {
      const container = plan.id;
      const { firstRank, procs } = plan.member!;
      /** Before what its rank's end is told by: only then anybody asks for them. */
      const tellLines = (rank: number): void => {
        const last = lines.get(rank);
        lines.delete(rank);
        if (last)
          tell(
            { type: "shim", container, message: { type: "log", source: "stdout", rank } },
            Buffer.from(last.join("\n")),
          );
      };
      const made = createContainer(
        deps,
        plan,
        {
          onReady() {
            const sockets = Array.from({ length: procs }, (_, local) => made.socketOf(local));
            tell({ type: "ready", container, sockets });
          },
          onFree() {},
          onStray: () => undefined,
          onCrash() {},
          onEnded(_one, failure, verdict) {
            for (let local = 0; local < procs; local++) tellLines(firstRank + local);
            tell({ type: "ended", container, failure, verdict });
            remove(made).catch((err: unknown) => log.error({ err, container }, "a booking could not be released"));
          },
        },
        {
          attempts: () => (printer ? [printer] : []),
          onLog({ rank }, body) {
            if (rank !== undefined) lines.set(rank, tailOf(lines.get(rank) ?? [], body));
          },
          onRankEnded(message) {
            tellLines(message.rank);
            tell({ type: "shim", container, message });
          },
          onRank(local, message, body) {
            if (message.type === "error") tellLines(firstRank + local);
            tell({ type: "rank", container, local, message }, body);
          },
          onRankStream(local, frame, body) {
            if (!isOfLead(frame)) return false;
            tell({ type: "rank", container, local, message: frame }, body);
            return true;
          },
        },
      );
      return made;
    }

    async function remove(one: Hosted): Promise<void> {
      await one.ended;
      if ([...mine.values()].every((other) => other.phase() === "ended")) await engine.endGang(session.gang);
      await untilDone(() => state.capacity.release(identity.node, [one.id]));
      all.delete(one.id);
      mine.delete(one.id);
      tell({ type: "removed", container: one.id });
      if (mine.size > 0) return;
      gangs.delete(tell);
      closed = true;
      session.close();
    }

    function endAll(why: string): void {
      for (const one of mine.values()) one.kill(why);
    }

    function refuse({ members }: HostPlan, thrown: unknown): void {
      log.warn({ err: thrown, gang: session.gang }, "containers of another node's gang could not be started");
      const error = asFabricError(thrown).toBody();
      const failure: StartFailure = { error };
      for (const { id } of members) {
        tell({ type: "ended", container: id, failure });
        tell({ type: "removed", container: id });
      }
      gangs.delete(tell);
      session.close();
    }

    return {
      onMessage(header, body) {
        const message = header as ToHost;
        if (message.type === "host") return void start(message.plan).catch((err) => refuse(message.plan, err));
        if (message.type === "stop_asking") return answers.stop(message.ask);
        const one = mine.get(message.container);
        if (!one) return;
        if (message.type === "drain") one.drain();
        else if (message.type === "kill") one.kill(message.why);
        else if (message.type === "rank") one.rank(message.local).send(message.header, body);
        else if (message.type === "ask") answers.answer(one, message, body);
        else {
          printer = message.printer ?? printer;
          if (message.header.type === "launch") for (const { rank } of message.header.ranks) lines.delete(rank);
          one.send(message.header);
        }
      },
      onBroken(why) {
        closed = true;
        answers.close();
        gangs.delete(tell);
        endAll(why);
      },
    };
  }

  async function plansOf({ app, version, fn: name, members }: HostPlan): Promise<ContainerPlan[]> {
    const booked = await untilDone(() => state.capacity.bookings(identity.node));
    const strangers = members.filter(({ id }) => !booked.some(({ container }) => container === id));
    if (strangers.length > 0)
      throw new FabricError("container_start_failed", `${strangers[0]!.id} is not booked on ${identity.node} any more`);
    const manifest = await untilDone(() => deps.registry.version(app, version));
    const spec = manifest?.functions.find((one) => one.name === name);
    const fn = spec && servedFunction(spec, name);
    if (!manifest || !fn) throw new FabricError("version_not_found", `no version ${version} of ${app}/${name}`);
    return members.map(({ id, gpus, member }) => ({ id, gpus, member, fn, manifest }));
  }

  /** Gives back what other runners booked here for gangs that never came: who booked it may have died. */
  async function tidy(): Promise<void> {
    const booked = await state.capacity.bookings(identity.node);
    const unknown = booked.filter(({ lead, container }) => lead !== undefined && !all.has(container));
    const left = unknown.map(({ container }) => container).filter((id) => strange.has(id));
    strange = new Set(unknown.map(({ container }) => container));
    if (left.length > 0) log.warn({ left }, "giving back what was booked for gangs that did not come");
    await state.capacity.release(identity.node, left);
  }

  function tidyLater(): void {
    stopTidying = clock.after(leaseMs, () => {
      tidy().catch((err: unknown) => log.warn({ err }, "what was booked here by others was not looked through"));
      tidyLater();
    });
  }

  return {
    host,
    containers: () => [...all.values()],
    start: tidyLater,
    leave(now) {
      leaving = true;
      stopTidying();
      for (const tell of gangs) tell({ type: "leaving", now });
      if (now) for (const one of all.values()) one.kill("its node is being stopped");
    },
  };
}

/** What the shim opens is for the lead, and so is what the lead opened. */
const isOfLead = ({ stream }: StreamFrame): boolean => stream % 2 === 1 || stream > FAR_STREAMS;
