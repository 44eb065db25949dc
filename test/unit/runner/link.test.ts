/** What runners of one gang tell each other: in order and once, through outages, and not for longer than both are there. */
import pino from "pino";
import { describe, expect, it } from "vitest";
import { manualClock } from "../../../core/clock.ts";
import { FabricError } from "../../../core/errors.ts";
import type { Letter, PostStore } from "../../../core/post-store.ts";
import { createLink, type Session } from "../../../runner/link.ts";
import type { Reach } from "../../../runner/reach.ts";

const LEASE_MS = 3_000;
const log = pino({ level: "silent" });

/** Boxes that can be away, also after they stored a letter. */
function boxes() {
  const all = new Map<string, Letter[]>();
  const listeners = new Map<string, () => void>();
  let id = 0;
  const store = {
    away: false,
    losesAnswers: false,
    all,
    posts: {
      async post(node, letters) {
        check();
        all.set(node, [...(all.get(node) ?? []), ...letters.map((bytes) => ({ id: String(++id), bytes }))]);
        listeners.get(node)?.();
        if (store.losesAnswers) throw new FabricError("redis_unavailable", "away");
        return true;
      },
      async look(node, limit) {
        check();
        return (all.get(node) ?? []).slice(0, limit);
      },
      async drop(node, ids) {
        check();
        all.set(
          node,
          (all.get(node) ?? []).filter((one) => !ids.includes(one.id)),
        );
      },
      async clear(node) {
        all.delete(node);
      },
      async onPost(node, listener) {
        listeners.set(node, listener);
        return () => void listeners.delete(node);
      },
    } satisfies PostStore,
  };
  function check(): void {
    if (store.away) throw new FabricError("redis_unavailable", "away");
  }
  return store;
}

async function world() {
  const clock = manualClock();
  const store = boxes();
  let reach: Reach = "connected";
  const told: string[] = [];
  const host: { session?: Session } = {};
  const start = async (node: string) => {
    const link = createLink({ posts: store.posts, node, leaseMs: LEASE_MS, clock, log, probe: async () => reach });
    await link.start((session) => {
      host.session = session;
      return eventsOf(node);
    });
    return link;
  };
  const eventsOf = (node: string) => ({
    onMessage: (message: unknown) => void told.push(`${node} ${JSON.stringify(message)}`),
    onBroken: (why: string) => void told.push(`${node} broken: ${why}`),
  });
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 50; i++) await Promise.resolve();
  };
  const pass = async (ms: number): Promise<void> => {
    for (let gone = 0; gone < ms; gone += 100) {
      clock.advance(100);
      await settle();
    }
  };
  const setReach = (now: Reach): void => {
    reach = now;
  };
  const lead = await start("lead");
  const other = await start("host");
  const session = lead.open("host", "gng_1", eventsOf("lead"));
  return { clock, store, told, host, start, other, session, pass, setReach };
}

describe("the link between runners", () => {
  it("brings messages both ways, in order", async () => {
    const { session, host, told, pass } = await world();
    session.send({ n: 1 });
    session.send({ n: 2 });
    await pass(1_000);
    host.session!.send({ n: 3 });
    await pass(1_000);
    expect(told).toEqual(['host {"n":1}', 'host {"n":2}', 'lead {"n":3}']);
  });

  it("brings each once, though nobody knew whether it was stored", async () => {
    const { session, told, pass, store } = await world();
    store.losesAnswers = true;
    session.send({ n: 1 });
    session.send({ n: 2 });
    await pass(1_000);
    store.losesAnswers = false;
    session.send({ n: 3 });
    await pass(2_000);
    expect(told).toEqual(['host {"n":1}', 'host {"n":2}', 'host {"n":3}']);
  });

  it("outlives an outage of Redis that is longer than a lease", async () => {
    const { session, told, pass, store } = await world();
    session.send({ n: 1 });
    await pass(1_000);
    store.away = true;
    session.send({ n: 2 });
    await pass(3 * LEASE_MS);
    store.away = false;
    await pass(2 * LEASE_MS);
    expect(told).toEqual(['host {"n":1}', 'host {"n":2}']);
  });

  it("breaks at once when the other runner was started anew", async () => {
    const { session, told, pass, start, other } = await world();
    session.send({ n: 1 });
    await pass(1_000);
    await Promise.race([other.stop(), pass(3_000)]);
    await start("host");
    await pass(LEASE_MS / 2);
    expect(told).toEqual(['host {"n":1}', "lead broken: the runner of host does not know the gang any more"]);
  });

  it("breaks within a lease when the other runner is silent, or messages were lost", async () => {
    const { session, told, pass, other, store, host } = await world();
    session.send({ n: 1 });
    await pass(1_000);
    store.all.clear();
    host.session!.send({ n: 2 });
    await Promise.resolve();
    store.all.clear();
    host.session!.send({ n: 3 });
    await pass(1_000);
    expect(told).toContain("lead broken: messages of host were lost");
    const again = await world();
    again.session.send({ n: 1 });
    await again.pass(1_000);
    await Promise.race([again.other.stop(), again.pass(3_000)]);
    await again.pass(LEASE_MS + 1_000);
    expect(again.told.at(-1)).toBe("lead broken: the runner of host has not been heard of for 3 s");
    await other.stop();
  });

  it("breaks when this node alone is cut off from Redis", async () => {
    const { session, told, pass, store, setReach } = await world();
    session.send({ n: 1 });
    await pass(1_000);
    store.away = true;
    setReach("unreachable");
    await pass(LEASE_MS + 1_000);
    expect(told).toContain("host broken: this node was cut off from Redis for a whole lease");
  });
});
