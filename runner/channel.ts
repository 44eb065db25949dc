/** The runner's end of one container's unix socket: listens, speaks frames, and survives reconnections of the shim. */
import { chownSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { coalesceWrites } from "../core/coalesce.ts";
import { asFabricError, type FabricError } from "../core/errors.ts";
import { encodeFrame, frameDecoder } from "../core/frames.ts";
import type { FromShim, ToShim } from "../core/protocol.ts";
import { parseMessage } from "./parse-message.ts";
import { createStreams, type StreamFrame, type Streams } from "./streams.ts";

export type ShimMessage = Exclude<FromShim, StreamFrame>;

export interface ChannelOptions {
  /** Under 107 bytes. */
  socketPath: string;
  /** First frame of every connection. */
  start: Extract<ToShim, { type: "start" }>;
  onMessage(message: ShimMessage, body: Buffer): void;
  /** Frames of streams that are another runner's: true for those taken. */
  onStream?(frame: StreamFrame, body: Buffer): boolean;
  /** Something outside the protocol arrived; the connection is closed already. */
  onViolation(error: FabricError): void;
}

export interface Channel {
  listen(): Promise<void>;
  /** False when no shim is connected; the frame is then not sent. An `ack` goes with the next frame, or by itself a little later. */
  send(header: ToShim, body?: Buffer): boolean;
  /** Streams of the current connection. */
  streams(): Streams | undefined;
  close(): Promise<void>;
}

interface Link {
  socket: Socket;
  streams: Streams;
  /** Acknowledgements that wait for a frame to go with: alone, each would wake the shim for nothing it can act on. */
  acks: Buffer[];
  /** They are sent by themselves soon. */
  isTimed: boolean;
}

const ACK_DELAY_MS = 20;

export function createChannel(options: ChannelOptions): Channel {
  let link: Link | undefined;
  let server: Server | undefined;

  function drop(which: Link, why: string): void {
    if (link === which) link = undefined;
    which.streams.close(new Error(why));
    which.socket.destroy();
  }

  function receive(which: Link, decode: ReturnType<typeof frameDecoder>, chunk: Buffer): void {
    try {
      for (const { header, body } of decode(chunk)) {
        const message = parseMessage(header);
        if (message.type.startsWith("stream.")) {
          const frame = message as StreamFrame;
          if (!options.onStream?.(frame, body)) which.streams.accept(frame, body);
        } else options.onMessage(message as ShimMessage, body);
      }
    } catch (thrown) {
      drop(which, "protocol violation");
      options.onViolation(asFabricError(thrown));
    }
  }

  function sendAcks(which: Link): void {
    which.isTimed = false;
    if (which.acks.length === 0 || which.socket.destroyed) return;
    which.socket.write(Buffer.concat(which.acks.splice(0)));
  }

  function keepAck(which: Link, ack: Buffer): void {
    which.acks.push(ack);
    if (which.isTimed) return;
    which.isTimed = true;
    setTimeout(sendAcks, ACK_DELAY_MS, which).unref();
  }

  function adopt(socket: Socket): void {
    // The newest connection is the shim's: an older one is a leftover of before it reconnected.
    if (link) drop(link, "the shim connected again");
    const mine: Link = {
      socket,
      acks: [],
      isTimed: false,
      streams: createStreams((header, body) => write(socket, header, body)),
    };
    link = mine;
    const decode = frameDecoder();
    coalesceWrites(socket);
    socket.on("data", (chunk) => receive(mine, decode, chunk));
    socket.on("error", (error) => drop(mine, error.message));
    socket.on("close", () => drop(mine, "the shim's connection closed"));
    socket.write(encodeFrame(options.start));
  }

  return {
    async listen() {
      const owner = ownerOf(options.socketPath);
      await rm(options.socketPath, { force: true });
      server = createServer(adopt);
      await new Promise<void>((resolve, reject) => {
        server!.once("error", reject).listen(options.socketPath, resolve);
      });
      // A socket made again after a restart of ours must stay the container's user's to connect to.
      if (owner) chownSync(options.socketPath, owner.uid, owner.gid);
    },

    send(header, body) {
      if (!link) return false;
      const frame = encodeFrame(header, body);
      if (header.type === "ack") keepAck(link, frame);
      else link.socket.write(link.acks.length === 0 ? frame : Buffer.concat([...link.acks.splice(0), frame]));
      return true;
    },

    streams: () => link?.streams,

    async close() {
      if (link) drop(link, "closed");
      if (server) await new Promise<void>((resolve) => server!.close(() => resolve()));
      await rm(options.socketPath, { force: true });
    },
  };
}

async function write(socket: Socket, header: ToShim, body?: Buffer): Promise<void> {
  if (socket.destroyed || socket.write(encodeFrame(header, body))) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      socket.off("drain", done);
      socket.off("close", done);
      resolve();
    };
    socket.on("drain", done).on("close", done);
  });
}

function ownerOf(path: string): { uid: number; gid: number } | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat && process.getuid?.() === 0 ? { uid: stat.uid, gid: stat.gid } : undefined;
}
