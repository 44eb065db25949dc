/** Every Redis key and channel, by one prefix. */

import type { FunctionKey } from "../invocation.ts";
import type { Offer, QueuedEntry } from "../state-store.ts";

export function redisKeys(prefix: string) {
  const p = `${prefix}:`;
  return {
    recordPrefix: `${p}inv:`,
    record: (id: string) => `${p}inv:${id}`,
    /** Chunks of a generator: the latest, and where the ones before are in the bucket. Their names are lua/lib's, too. */
    chunkTail: (id: string) => `${p}inv:${id}:tail`,
    chunkSegments: (id: string) => `${p}inv:${id}:segments`,
    /** Beside a map's record; its slices are records under `<map>.<n>`. lua/lib derives the same names. */
    blocks: (map: string) => `${p}inv:${map}:blocks`,
    left: (map: string) => `${p}inv:${map}:left`,
    page: (map: string, first: number) => `${p}inv:${map}:page:${first}`,
    /** Ids of the calls an invocation made: the latest, and those that have not ended. */
    calls: (id: string) => `${p}inv:${id}:calls`,
    live: (id: string) => `${p}inv:${id}:live`,
    outbox: `${p}outbox`,
    leases: `${p}leases`,
    queued: `${p}queued`,
    delayed: `${p}delayed`,
    ageing: `${p}ageing`,
    /** Calls that go before their entry's turn; lua/lib derives the same name. */
    ahead: (key: FunctionKey) => `${p}ahead:${key}`,
    /** Keys with something parked, by when they were looked at; what belongs to each, lua/lib names. */
    limited: `${p}limited`,
    /** Maps that may get more inputs, by when they got the last ones. */
    feeding: `${p}feeding`,
    failed: `${p}failed`,
    /** Methods of a class share its queue, not their debounced calls. */
    debounce: (key: FunctionKey, method: string, name: string) => `${p}debounce:${key}:${method}:${name}`,
    recent: `${p}recent`,
    sweep: `${p}sweep`,
    idempotency: (app: string, key: string) => `${p}idem:${app}:${key}`,
    work: `${p}work`,
    nodes: `${p}nodes`,
    alivePrefix: `${p}alive:`,
    alive: (node: string) => `${p}alive:${node}`,
    bookedPrefix: `${p}booked:`,
    booked: (node: string) => `${p}booked:${node}`,
    /** Letters for the runner of a node. */
    post: (node: string) => `${p}post:${node}`,
    earmark: `${p}earmark`,
    log: (app: string) => `${p}log:${app}`,
    logFactsPrefix: `${p}logfacts:`,
    logFacts: (app: string) => `${p}logfacts:${app}`,
    logLease: (app: string) => `${p}loglease:${app}`,
    load: (runner: string) => `${p}load:${runner}`,
    pace: `${p}pace`,
    logsOpen: `${p}logsopen`,
    series: (name: string) => `${p}series:${name}`,
    ephemeral: (app: string, version: string) => `${p}ephemeral:${app}:${version}`,
    webhooks: `${p}webhooks`,
    images: `${p}images`,
    image: (ref: string) => ({
      claim: `${p}image:${ref}:claim`,
      lack: `${p}image:${ref}:lack`,
      failure: `${p}image:${ref}:failure`,
    }),
    upload: (id: string) => `${p}upload:${id}`,
    expiring: `${p}expiring`,
    collect: `${p}collect`,
    schedule: (key: FunctionKey) => `${p}schedule:${key}`,
    schedules: {
      all: `${p}schedules`,
      due: `${p}schedules:due`,
      taken: `${p}schedules:taken`,
      unsaved: `${p}schedules:unsaved`,
      looked: `${p}schedules:looked`,
    },
    channels: {
      work: `${p}ch:work`,
      due: `${p}ch:due`,
      donePrefix: `${p}ch:done:`,
      cancelPrefix: `${p}ch:cancel:`,
      map: (id: string) => `${p}ch:map:${id}`,
      app: `${p}ch:app`,
      image: `${p}ch:image`,
      log: (app: string) => `${p}ch:log:${app}`,
      post: (node: string) => `${p}ch:post:${node}`,
      follow: (id: string) => `${p}ch:follow:${id}`,
    },
  };
}

export type RedisKeys = ReturnType<typeof redisKeys>;

/** `<app>/<fn> <id> <generation>`, with a `~` at its end where the entry is `behind`, as the scripts write it. */
export const queuedMember = ({ key, id, generation, behind }: QueuedEntry): string =>
  `${key} ${id} ${generation}${behind ? "~" : ""}`;

export function parseQueuedMember(member: string): QueuedEntry {
  const [key, id, last] = member.split(" ");
  const generation = Number.parseInt(last!, 10);
  return { key: key as FunctionKey, id: id!, generation, ...(last!.endsWith("~") ? { behind: true } : {}) };
}

/** `<queued member> <version>`, as accept.lua tells it; a function's key alone means that its queue has work. */
export function parseOffer(message: string): Offer | undefined {
  const at = message.lastIndexOf(" ");
  const member = message.slice(0, at);
  return member.includes(" ") ? { ...parseQueuedMember(member), version: message.slice(at + 1) } : undefined;
}

/** `<id> <generation>`. */
export function parseLeaseMember(member: string): { id: string; generation: number } {
  const [id, generation] = member.split(" ");
  return { id: id!, generation: Number(generation) };
}
