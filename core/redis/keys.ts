/** Every Redis key and channel, by one prefix. */

import type { FunctionKey } from "../invocation.ts";
import type { QueuedEntry } from "../state-store.ts";

export function redisKeys(prefix: string) {
  const p = `${prefix}:`;
  return {
    recordPrefix: `${p}inv:`,
    record: (id: string) => `${p}inv:${id}`,
    outbox: `${p}outbox`,
    leases: `${p}leases`,
    queued: `${p}queued`,
    recent: `${p}recent`,
    sweep: `${p}sweep`,
    idempotency: (app: string, key: string) => `${p}idem:${app}:${key}`,
    work: `${p}work`,
    nodes: `${p}nodes`,
    alivePrefix: `${p}alive:`,
    alive: (node: string) => `${p}alive:${node}`,
    bookedPrefix: `${p}booked:`,
    booked: (node: string) => `${p}booked:${node}`,
    log: (app: string) => `${p}log:${app}`,
    series: (name: string) => `${p}series:${name}`,
    ephemeral: (app: string, version: string) => `${p}ephemeral:${app}:${version}`,
    channels: {
      work: `${p}ch:work`,
      donePrefix: `${p}ch:done:`,
      cancelPrefix: `${p}ch:cancel:`,
      app: `${p}ch:app`,
      log: (app: string) => `${p}ch:log:${app}`,
    },
  };
}

export type RedisKeys = ReturnType<typeof redisKeys>;

/** `<app>/<fn> <id> <generation>`, as the scripts write it. */
export const queuedMember = (entry: QueuedEntry): string => `${entry.key} ${entry.id} ${entry.generation}`;

export function parseQueuedMember(member: string): QueuedEntry {
  const [key, id, generation] = member.split(" ");
  return { key: key as FunctionKey, id: id!, generation: Number(generation) };
}

/** `<id> <generation>`. */
export function parseLeaseMember(member: string): { id: string; generation: number } {
  const [id, generation] = member.split(" ");
  return { id: id!, generation: Number(generation) };
}
