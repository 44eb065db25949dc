/**
 * Between the runners of a gang on several nodes: numbered messages by way of Redis, and what tells each that the other is gone.
 * A session is one gang between its lead, whose runner has the attempt, and one other node that hosts some of its containers.
 */
import type { Clock } from "../core/clock.ts";
import { doorbell } from "../core/doorbell.ts";
import { encodeFrame, frameDecoder } from "../core/frames.ts";
import type { Log } from "../core/log.ts";
import type { Letter, PostStore } from "../core/post-store.ts";
import { isOutage } from "../core/until-done.ts";
import { createOutbox, type LinkOutbox } from "./link-outbox.ts";
import type { Reach } from "./reach.ts";
import { leasesEnded, mustFence } from "./self-fence.ts";

export interface Session {
  readonly gang: string;
  readonly peer: string;
  send(header: object, body?: Buffer): void;
  /** Forgets it; what the peer still says is answered with the news that it has ended. */
  close(): void;
}

export interface SessionEvents {
  onMessage(header: unknown, body: Buffer): void;
  /** The other runner has forgotten it, or is gone; the session is closed. */
  onBroken(why: string): void;
}

export interface Link {
  open(peer: string, gang: string, events: SessionEvents): Session;
  /** Nodes whose runners were silent for a lease, until they are heard again or the ledger must know as well. */
  silent(): string[];
  /** `host` is told of gangs that another runner opens. */
  start(host: (session: Session) => SessionEvents): Promise<void>;
  /** After what is still to be sent. */
  stop(): Promise<void>;
}

export interface LinkDeps {
  posts: PostStore;
  node: string;
  leaseMs: number;
  clock: Clock;
  log: Log;
  probe(): Promise<Reach>;
}

/** `n` counts messages from 1; absent from signs of life (`beat`) and from the answer to what no session is known of (`gone`). */
interface Envelope {
  gang: string;
  from: string;
  n?: number;
  sign?: "beat" | "gone";
  message?: unknown;
}

interface Open {
  session: Session;
  events: SessionEvents;
  sent: number;
  taken: number;
  heardAt: number;
}

const LOOK_MS = 1_000;
/** Most of it are a shim's frames in an envelope; lists of files can be longer. */
const MOST = { headerBytes: 1024 * 1024, bodyBytes: 16 * 1024 * 1024 };
const BATCH = 256;
const RETRY_MS = 200;
const FLUSH_MS = 2_000;

export function createLink(deps: LinkDeps): Link {
  const { posts, node, leaseMs, clock, log } = deps;
  const sessions = new Map<string, Open>();
  const outboxes = new Map<string, LinkOutbox>();
  const stopped = new AbortController();
  const bell = doorbell(clock, stopped.signal);
  const silentSince = new Map<string, number>();
  let host: ((session: Session) => SessionEvents) | undefined;
  let lookedAt = clock.monotonic();
  let stopBeats = (): void => {};
  let forget = (): void => {};

  const nameOf = (gang: string, peer: string): string => `${gang} ${peer}`;

  function outboxOf(peer: string): LinkOutbox {
    let outbox = outboxes.get(peer);
    if (!outbox) {
      outbox = createOutbox({ posts, clock, log }, peer, () =>
        breakAll(peer, `the runner of ${peer} takes no messages`),
      );
      outboxes.set(peer, outbox);
    }
    return outbox;
  }

  const tell = (peer: string, envelope: Omit<Envelope, "from">, body?: Buffer): void =>
    outboxOf(peer).add(encodeFrame({ ...envelope, from: node }, body));

  function breakOne(name: string, why: string): void {
    const open = sessions.get(name);
    if (!sessions.delete(name)) return;
    log.warn({ gang: open!.session.gang, peer: open!.session.peer, why }, "a gang's other runner is lost");
    open!.events.onBroken(why);
  }

  function breakAll(peer: string, why: string): void {
    for (const [name, { session }] of [...sessions]) if (session.peer === peer) breakOne(name, why);
  }

  function add(gang: string, peer: string, eventsOf: (session: Session) => SessionEvents): Open {
    const name = nameOf(gang, peer);
    const session: Session = {
      gang,
      peer,
      send(header, body) {
        const open = sessions.get(name);
        if (open) tell(peer, { gang, n: ++open.sent, message: header }, body);
      },
      close: () => void sessions.delete(name),
    };
    const open: Open = { session, events: undefined!, sent: 0, taken: 0, heardAt: clock.monotonic() };
    sessions.set(name, open);
    open.events = eventsOf(session);
    return open;
  }

  function take({ bytes }: Letter): void {
    const [frame] = frameDecoder(MOST)(bytes);
    const { gang, from, n, sign, message } = frame!.header as Envelope;
    const name = nameOf(gang, from);
    silentSince.delete(from);
    if (sign === "gone") return void breakOne(name, `the runner of ${from} does not know the gang any more`);
    const open = sessions.get(name) ?? (n === 1 && host ? add(gang, from, host) : undefined);
    if (!open) return void tell(from, { gang, sign: "gone" });
    open.heardAt = clock.monotonic();
    // A letter may come twice: when it was not known whether it was stored, or dropped.
    if (n === undefined || n <= open.taken) return;
    if (n > open.taken + 1) breakOne(name, `messages of ${from} were lost`);
    else {
      open.taken = n;
      open.events.onMessage(message, frame!.body);
    }
  }

  /** Everything that is there. */
  async function look(): Promise<void> {
    for (;;) {
      const letters = await posts.look(node, BATCH);
      const now = clock.monotonic();
      // While we could not look, nobody was silent.
      if (now - lookedAt > leaseMs / 2) for (const open of sessions.values()) open.heardAt = now;
      lookedAt = now;
      for (const letter of letters) {
        try {
          take(letter);
        } catch (err) {
          log.error({ err }, "a message of another runner was not understood");
        }
      }
      await posts.drop(
        node,
        letters.map(({ id }) => id),
      );
      if (letters.length < BATCH) break;
    }
    for (const [name, { heardAt, session }] of [...sessions])
      if (leasesEnded(heardAt, leaseMs, clock.monotonic())) {
        silentSince.set(session.peer, clock.monotonic());
        breakOne(name, `the runner of ${session.peer} has not been heard of for ${leaseMs / 1000} s`);
      }
  }

  /** Only a cut between this node and Redis lets others take over meanwhile. */
  async function fence(): Promise<void> {
    if (sessions.size === 0 || !leasesEnded(lookedAt, leaseMs, clock.monotonic())) return;
    if (mustFence(await deps.probe()))
      for (const name of [...sessions.keys()]) breakOne(name, "this node was cut off from Redis for a whole lease");
  }

  async function run(): Promise<void> {
    while (!stopped.signal.aborted) {
      try {
        await look();
        await bell.wait(Math.min(LOOK_MS, leaseMs / 4));
      } catch (err) {
        if (!isOutage(err)) log.error({ err }, "messages of other runners could not be taken");
        await fence();
        await new Promise<void>((resolve) => clock.after(RETRY_MS, resolve));
      }
    }
  }

  function beat(): void {
    for (const { session } of sessions.values()) tell(session.peer, { gang: session.gang, sign: "beat" });
    for (const [peer, outbox] of outboxes)
      if (outbox.isEmpty() && ![...sessions.values()].some(({ session }) => session.peer === peer))
        outboxes.delete(peer);
    stopBeats = clock.after(leaseMs / 3, beat);
  }

  return {
    open: (peer, gang, events) => add(gang, peer, () => events).session,
    silent() {
      // A node counts as gone after two leases.
      for (const [peer, at] of silentSince) if (clock.monotonic() - at > 2 * leaseMs) silentSince.delete(peer);
      return [...silentSince.keys()];
    },
    async start(given) {
      // What was meant for the process before this one; whoever wrote it learns that nothing of it is known.
      await posts.clear(node);
      forget = await posts.onPost(node, bell.ring);
      host = given;
      beat();
      run().catch((err: unknown) => log.error({ err }, "messages of other runners are not taken any more"));
    },
    async stop() {
      host = undefined;
      stopBeats();
      const all = Promise.all([...outboxes.values()].map((one) => one.empty()));
      await Promise.race([all, new Promise<void>((resolve) => clock.after(FLUSH_MS, resolve))]);
      forget();
      stopped.abort();
    },
  };
}
