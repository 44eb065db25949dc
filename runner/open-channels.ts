/** The sockets of one container: its shim's, and in a gang those of its ranks. */
import { join } from "node:path";
import type { FabricError } from "../core/errors.ts";
import { type Channel, type ChannelOptions, createChannel, type ShimMessage } from "./channel.ts";
import type { MemberEvents } from "./container-contract.ts";
import { rankSocket, SOCKET_NAME } from "./dirs.ts";

export interface Channels {
  shim: Channel;
  /** By local rank. */
  ranks: Channel[];
  close(): Promise<void>;
}

/** What is said on the sockets of ranks concerns only a gang. */
export interface ChannelEvents {
  onMessage(message: ShimMessage, body: Buffer): void;
  onRank: MemberEvents["onRank"] | undefined;
  onRankStream: MemberEvents["onRankStream"] | undefined;
  onViolation(error: FabricError): void;
}

/** Before the container starts: what is made later it could not connect to. */
export async function openChannels(
  socketDir: string,
  start: ChannelOptions["start"],
  ranks: number,
  { onMessage, onRank, onRankStream, onViolation }: ChannelEvents,
): Promise<Channels> {
  const open = (name: string, events: Pick<ChannelOptions, "onMessage" | "onStream">): Channel =>
    createChannel({ socketPath: join(socketDir, name), start, ...events, onViolation });
  const shim = open(SOCKET_NAME, { onMessage });
  const ofRanks = Array.from({ length: ranks }, (_, local) =>
    open(rankSocket(local), {
      onMessage: (message, body) => onRank?.(local, message, body),
      onStream: (frame, body) => onRankStream?.(local, frame, body) ?? false,
    }),
  );
  const all = [shim, ...ofRanks];
  for (const one of all) await one.listen();
  return {
    shim,
    ranks: ofRanks,
    close: async () => void (await Promise.all(all.map((one) => one.close()))),
  };
}
