/** Brings files of the bucket into a container: the reply names their streams, the bytes follow. */
import { fail } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { ContainerLink } from "./container-contract.ts";
import type { Patience } from "./patience.ts";
import { steady } from "./steady.ts";

export interface BringDeps {
  objects: ObjectStore;
  link: Pick<ContainerLink, "send" | "streams" | "far">;
  log: Log;
  patience: Patience;
}

export interface Wanted {
  /** As the container names it. */
  path: string;
  size: number;
  key: string;
}

/** Streams that are open; `begin` starts them, once the reply that names them is sent. */
export interface Bringing {
  files: { path: string; size: number; stream: number }[];
  begin(): void;
}

/** Nothing without a connection. */
export async function bring(deps: BringDeps, wanted: readonly Wanted[]): Promise<Bringing | undefined> {
  const { far } = deps.link;
  if (!far) return bringHere(deps, wanted);
  const opened = await far.ask("bring", { wanted: [...wanted] });
  if (!opened) return undefined;
  const begin = (): void =>
    void far
      .ask("begin", { number: opened.number })
      .catch((err: unknown) => deps.log.warn({ err }, "files could not be brought to another node's rank"));
  return { files: opened.files, begin };
}

/** From this node. */
export function bringHere(
  { objects, link, log, patience }: BringDeps,
  wanted: readonly Wanted[],
): Bringing | undefined {
  const streams = link.streams();
  if (!streams) return undefined;
  const files = wanted.map(({ path, size }) => ({ path, size, stream: streams.reserve() }));

  async function send({ key, path, size }: Wanted, stream: number): Promise<void> {
    let etag: string | undefined;
    const open = async (from: number) => {
      const object = await objects.get(key, from === 0 ? {} : { range: { start: from } });
      if (!object) fail("checkpoint_not_found", `${key} is gone`);
      etag ??= object.etag;
      if (object.etag === etag) return object.body;
      object.body.destroy();
      return fail("dataset_unreadable", `${key} was written anew while it was read`);
    };
    await streams!.send(stream, path, steady(size, open, patience));
  }

  async function sendAll(): Promise<void> {
    for (const [i, { stream }] of files.entries()) await send(wanted[i]!, stream);
  }

  const begin = (): void =>
    void sendAll().catch((thrown: unknown) => {
      // The shim waits for streams that will not come: what is left is opened broken, so that it learns why.
      log.warn({ err: thrown, keys: wanted.map(({ key }) => key).slice(0, 8) }, "files could not be brought");
      const reason = String((thrown as Error).message).slice(0, 1024);
      for (const { stream } of files) link.send({ type: "stream.cancel", stream, reason });
    });
  return { files, begin };
}
