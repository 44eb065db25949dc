/** One container: from its booking to its end. `move` is the only place where its state changes, and never back. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { ContainerExit } from "../core/engine.ts";
import { asFabricError, type ErrorBody, FabricError } from "../core/errors.ts";
import { slotsOf } from "../core/spec.ts";
import type { Attempt } from "../core/state-store.ts";
import { untilDone } from "../core/until-done.ts";
import type { LiveAttempt } from "./attempt.ts";
import type { ShimMessage } from "./channel.ts";
import { classifyExit, type ExitVerdict } from "./classify-exit.ts";
import {
  type Container,
  type ContainerDeps,
  type ContainerEvents,
  type ContainerLink,
  type ContainerPhase,
  type MemberContainer,
  type MemberEvents,
  PHASES_AFTER,
} from "./container-contract.ts";
import { type ContainerPlan, containerSpec, startFrame } from "./container-plan.ts";
import { containerPrints } from "./container-prints.ts";
import { deliver, isAboutAttempt } from "./deliver.ts";
import { foldersOf, rankSocket } from "./dirs.ts";
import { watchDisk } from "./disk-watch.ts";
import { endingOf } from "./ending-of.ts";
import { type Channels, openChannels } from "./open-channels.ts";
import { removeTraces } from "./remove-traces.ts";

const STOP_GRACE_MS = 5_000;
/** For a class' @exit methods. */
const EXIT_GRACE_MS = 30_000;
/** A shim that reconnected resends what it holds at once; what it does not name after this long never reached it. */
const RESEND_MS = 2_000;
/** A timer may not be longer. */
const MAX_TIMER_MS = 2_000_000_000;
const TAIL_BYTES = 4_096;
type Ready = Extract<ShimMessage, { type: "ready" }>;
const keyOf = ({ id, generation }: Attempt): string => `${id} ${generation}`;

export function createContainer(
  deps: ContainerDeps,
  plan: ContainerPlan,
  events: ContainerEvents,
  ofGang?: MemberEvents,
): Container & MemberContainer {
  const { engine, clock, log, dirs } = deps;
  const { id } = plan;
  const folders = { ...foldersOf(dirs, id), sdkDir: deps.sdkDir };
  const slots = slotsOf(plan.fn);
  const known = new Map<string, LiveAttempt>();
  const prints = containerPrints(deps.logs, plan, ofGang?.attempts ?? (() => known.values()));
  const running = new Set<LiveAttempt>();
  const created = clock.monotonic();
  const booting = new AbortController();
  let phase: ContainerPhase = "booked";
  let channels: Channels | undefined;
  let sockets = "";
  let idleSince = created;
  let bootMs = 0;
  let readySince = created;
  let enterMs = 0;
  let alone = false;
  let connected = false;
  let workersEnded = 0;
  let failure: ErrorBody | undefined;
  let killed: string | undefined;
  let bootTimer = (): void => {};
  let stopDiskWatch = (): void => {};
  let markEnded = (): void => {};
  const ended = new Promise<void>((resolve) => (markEnded = resolve));

  function move(next: ContainerPhase): void {
    if (!PHASES_AFTER[phase].includes(next))
      throw new FabricError("internal", `a container cannot go from ${phase} to ${next}`);
    phase = next;
  }

  const link: ContainerLink = {
    id,
    send: (header, body) => channels?.shim.send(header, body) ?? false,
    streams: () => channels?.shim.streams(),
    batches: (method) =>
      (plan.fn.class?.methods.find(({ name }) => name === method)?.batched ?? plan.fn.batched) !== undefined,
    kill: (why) => kill(why),
    bootMs: () => bootMs,
    enterMs: () => enterMs,
  };

  function kill(why: string, error?: ErrorBody): void {
    if (phase === "ended" || killed !== undefined) return;
    killed = why;
    failure ??= error;
    log.info({ container: id, why }, "stopping a container");
    if (phase === "booked") booting.abort(new FabricError("container_start_failed", why));
    else engine.stop(id, 0).catch((err: unknown) => log.error({ err, container: id }, "stop failed"));
  }

  async function listen(): Promise<void> {
    await mkdir(folders.socketDir, { recursive: true });
    const paths = engine.paths({ ...folders, bundleDir: await deps.bundles.get(plan.manifest.source) });
    sockets = paths.socket;
    channels = await openChannels(folders.socketDir, startFrame(plan, paths), plan.member?.procs ?? 0, {
      onMessage: receive,
      ...{ onRank: ofGang?.onRank, onRankStream: ofGang?.onRankStream },
      onViolation: (error) => kill(error.message, error.toBody()),
    });
  }

  async function boot(): Promise<void> {
    const bundleDir = await untilDone(() => deps.bundles.get(plan.manifest.source), booting.signal);
    const all = { ...folders, bundleDir };
    await mkdir(folders.scratchDir, { recursive: true });
    await listen();
    booting.signal.throwIfAborted();
    // Before the start: its shim may report sooner than the engine answers.
    move("starting");
    await engine.start(containerSpec(plan, deps.identity, all, engine.paths(all)));
    if (killed !== undefined) await engine.stop(id, 0);
  }

  function armBoot(): void {
    // A class' @enter methods, which load models, may take as long as an input.
    const ms = deps.bootTimeoutMs + (plan.fn.class ? plan.fn.timeout * 1000 : 0);
    bootTimer = clock.after(Math.min(ms, MAX_TIMER_MS), () => {
      const message = `the container did not report within ${ms / 1000} s`;
      kill(message, new FabricError("shim_unresponsive", message).toBody());
    });
  }

  async function watch(): Promise<void> {
    const limitMiB = plan.fn.ephemeral_disk;
    if (limitMiB !== null) {
      const onFull = (error: FabricError): void => kill(error.message, error.toBody());
      stopDiskWatch = watchDisk({ folder: folders.scratchDir, limitBytes: limitMiB * 1024 * 1024, clock, log, onFull });
    }
    const exit = await engine.wait(id);
    const tail = exit && exit.code !== 0 ? await engine.tail(id, TAIL_BYTES) : "";
    await end(exit, tail);
  }

  async function end(exit: ContainerExit | undefined, tail: string): Promise<void> {
    if (phase === "ended") return;
    const unready = phase === "booked" || phase === "starting";
    move("ended");
    bootTimer();
    stopDiskWatch();
    const verdict = classifyExit(exit, tail);
    const inside = [...running];
    if (killed === undefined && unready)
      failure ??= new FabricError(
        "container_start_failed",
        `The container ended before it was ready. ${verdict.message}`,
      ).toBody();
    conclude(inside, verdict);
    const how = killed === undefined ? `container ended: ${verdict.message}` : `container stopped: ${killed}`;
    if (exit?.code !== 0) prints.system(how);
    events.onEnded(self, unready && failure ? { error: failure } : undefined, verdict);
    await removeTraces(deps, id, folders, channels);
    markEnded();
  }

  function conclude(inside: LiveAttempt[], { code, message }: ExitVerdict): void {
    const guilty = failure ?? (killed === undefined ? new FabricError(code, message).toBody() : undefined);
    const { ending, isShared } = endingOf(inside.length, guilty, killed);
    if (isShared) events.onCrash(self, inside);
    for (const attempt of inside) attempt.onContainerEnd(ending);
  }

  function onReady(message: Ready): void {
    connected = true;
    if (phase === "starting") {
      bootTimer();
      bootMs = Math.round(clock.monotonic() - created);
      enterMs = Math.round(message.import_ms);
      readySince = clock.monotonic();
      idleSince = readySince;
      move("ready");
    }
    const there = new Set(message.running.map(keyOf));
    const missing = [...running].filter((attempt) => !there.has(keyOf(attempt)));
    if (message.after && message.after.count > workersEnded) onWorkerEnd(message.after, missing);
    else if (missing.length > 0) clock.after(RESEND_MS, () => giveBack(missing));
    events.onReady(self, message.running);
  }

  function giveBack(missing: LiveAttempt[]): void {
    for (const attempt of missing) if (running.has(attempt)) attempt.giveBack("its input did not reach the container");
  }

  /** The container goes on with another process. */
  function onWorkerEnd({ count, code, out_of_memory }: NonNullable<Ready["after"]>, inside: LiveAttempt[]): void {
    workersEnded = count;
    const verdict = classifyExit({ code, outOfMemory: out_of_memory });
    prints.system(`process replaced: ${verdict.message}`);
    conclude(inside, verdict);
  }

  function receive(message: ShimMessage, body: Buffer): void {
    if (isAboutAttempt(message)) {
      const ack = deliver(known.get(keyOf(message)) ?? events.onStray(self, message), message, body);
      if (ack) link.send(ack);
    } else if (message.type === "trimmed") known.get(keyOf(message))?.onTrimmed?.(message);
    else if (message.type === "log") {
      ofGang?.onLog(message, body);
      prints.print(message, body);
    } else if (message.type === "rank_ended") ofGang?.onRankEnded(message);
    else if (message.type === "ready") onReady(message);
    else if (message.type === "request") ask(message, body);
    else {
      const text = `${message.message}\n${message.traceback}`;
      failure = new FabricError(message.code, text, { traceback: message.traceback }).toBody();
      clock.after(RESEND_MS, () => kill("its code could not be loaded"));
    }
  }

  function ask(message: Extract<ShimMessage, { type: "request" }>, body: Buffer): void {
    const attempt = known.get(keyOf(message));
    if (attempt?.state() !== "running") {
      const error = { code: "bad_request", message: "no such attempt runs in this container" };
      return void link.send({ type: "reply", request: message.request, ok: false, error });
    }
    deps.operations.answer({ attempt, plan, link, scratch: dirs.scratchDir(id) }, message, body);
  }

  function stopWhenEmpty(): void {
    if (phase !== "draining" || running.size > 0 || killed !== undefined) return;
    killed = "not needed any more";
    link.send({ type: "shutdown" });
    engine
      .stop(id, plan.fn.class ? EXIT_GRACE_MS : STOP_GRACE_MS)
      .catch((err: unknown) => log.error({ err, container: id }, "stop failed"));
  }

  const lost = (err: unknown): void => {
    if (phase === "ended") return;
    if (killed === undefined) failure ??= asFabricError(err).toBody();
    log.warn({ err, container: id }, "a container could not be started or watched");
    void end(undefined, "");
  };

  const self: Container & MemberContainer = {
    plan,
    id,
    slots,
    phase: () => phase,
    freeSlots: () => (phase === "ready" && connected && !alone && killed === undefined ? slots - running.size : 0),
    busy: () => running.size,
    idleSince: () => idleSince,
    ready: () => ({ since: readySince, bootMs }),
    begin(attempt, isAlone = false) {
      alone = isAlone;
      known.set(keyOf(attempt), attempt);
      running.add(attempt);
      attempt.begin(link);
    },
    adoptAttempt(attempt) {
      known.set(keyOf(attempt), attempt);
      running.add(attempt);
      attempt.adopt(link);
    },
    release(attempt) {
      if (!running.delete(attempt)) return;
      alone = false;
      if (running.size === 0) idleSince = clock.monotonic();
      if (phase === "draining") stopWhenEmpty();
      else events.onFree(self);
    },
    forget: (attempt) => void known.delete(keyOf(attempt)),
    start() {
      armBoot();
      boot().then(() => watch().catch(lost), lost);
    },
    adopt() {
      prints.gap("the runner was restarted; what was on its way to Redis is lost");
      move("starting");
      armBoot();
      listen().then(() => watch().catch(lost), lost);
    },
    drain() {
      if (phase === "booked") kill("not needed any more");
      if (phase !== "starting" && phase !== "ready") return;
      move("draining");
      stopWhenEmpty();
    },
    kill: (why) => kill(why),
    ended,
    send: (header) => link.send(header),
    rank: (local) => channels!.ranks[local]!,
    socketOf: (local) => join(sockets, rankSocket(local)),
  };
  return self;
}
