/** What fabric is compared with: a BullMQ job handed to a Python process over a unix socket, its end awaited by events. */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Queue, QueueEvents, Worker } from "bullmq";
import { until } from "../support/redis.ts";

const PYTHON = `
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen(1)
connection, _ = server.accept()
pending = b""
while chunk := connection.recv(65536):
    *lines, pending = (pending + chunk).split(b"\\n")
    if lines:
        connection.sendall(b"".join(line + b"\\n" for line in lines))
`;

export async function startBullmqEcho(url: string) {
  const dir = await mkdtemp(join(tmpdir(), "fabric-bench-"));
  const path = join(dir, "s");
  const python = spawn("python3", ["-c", PYTHON, path], { stdio: ["ignore", "ignore", "inherit"] });
  const socket = await until(() => connect(path), 10_000, "the Python process listens");
  const waiting = new Map<string, () => void>();
  let pending = "";
  socket.on("data", (data) => {
    const lines = (pending + data).split("\n");
    pending = lines.pop()!;
    for (const line of lines) waiting.get(line)?.();
  });
  const connection = { url, maxRetriesPerRequest: null };
  const queue = new Queue("echo", { connection });
  const events = new QueueEvents("echo", { connection });
  const worker = new Worker(
    "echo",
    (job) =>
      new Promise<void>((resolve) => {
        waiting.set(job.id!, resolve);
        socket.write(`${job.id}\n`);
      }).finally(() => waiting.delete(job.id!)),
    { connection, concurrency: 32 },
  );
  for (const emitter of [queue, events]) emitter.setMaxListeners(0); // waitUntilFinished listens once a call
  await Promise.all([queue.waitUntilReady(), events.waitUntilReady(), worker.waitUntilReady()]);
  return {
    async roundTrip() {
      const job = await queue.add("echo", {}, { removeOnComplete: { count: 1000 } });
      await job.waitUntilFinished(events);
    },
    async close() {
      await Promise.all([worker.close(), events.close(), queue.close()]);
      socket.destroy();
      python.kill();
      await rm(dir, { recursive: true });
    },
  };
}

function connect(path: string): Promise<Socket | false> {
  return new Promise((resolve) => {
    const socket = createConnection(path, () => resolve(socket));
    socket.on("error", () => resolve(false));
  });
}
