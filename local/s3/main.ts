/** The S3 endpoint as a process of its own: `node dist/s3.js --dir DIR [--port N] [--host H] [--region R]`. */
import { parseArgs } from "node:util";
import { startS3 } from "./server.ts";

const print = (line: Record<string, unknown>): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

function stop(message: string): never {
  process.stderr.write(`s3: ${message}\n`);
  process.exit(1);
}

const { values } = parseArgs({
  options: {
    dir: { type: "string" },
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "0" },
    region: { type: "string", default: "us-east-1" },
  },
});
const accessKeyId = process.env.FABRIC_S3_ACCESS_KEY_ID;
const secretAccessKey = process.env.FABRIC_S3_SECRET_ACCESS_KEY;
if (!values.dir) stop("--dir is missing");
if (!accessKeyId || !secretAccessKey) stop("FABRIC_S3_ACCESS_KEY_ID and FABRIC_S3_SECRET_ACCESS_KEY must be set");

const running = await startS3({
  dir: values.dir,
  host: values.host,
  port: Number(values.port),
  region: values.region,
  credentials: { accessKeyId, secretAccessKey },
  onError: (error, { method, url }) =>
    print({
      level: "error",
      what: `${method} ${url.split("?")[0]}`,
      error: error instanceof Error ? error.stack : String(error),
    }),
}).catch((error: Error) => stop(error.message));

const { objects, sweptBlobs, damaged } = running.opened;
for (const path of damaged) print({ level: "error", what: "damaged meta file, its object is missing", path });

let stopping = false;
for (const signal of ["SIGTERM", "SIGINT"] as const)
  process.on(signal, () => {
    if (stopping) return;
    stopping = true;
    void running.close().then(() => process.exit(0));
  });

print({ ready: true, port: running.port, objects, sweptBlobs });
