/** Runs Python once over a folder of files nobody has checked, in a container with nothing but that folder. */
import { chmod } from "node:fs/promises";
import { askDocker, type DockerClient } from "../../core/docker-client.ts";
import { waitForContainer } from "../../core/docker-wait.ts";
import { fail } from "../../core/errors.ts";

export interface RunPythonRequest {
  image: string;
  /** Host folder, readable as the working directory. */
  files: string;
  /** Host folder with fabric_sdk, on the module path. */
  sdk?: string;
  args: string[];
  user: { uid: number; gid: number };
  /** As DOCKER_HOST, for waiting. */
  dockerHost?: string;
}

export interface PythonResult {
  code: number;
  stdout: string;
  stderr: string;
}

const FILES = "/fabric/bundle";
const SDK = "/fabric/sdk";
const MEMORY_BYTES = 1024 * 1024 * 1024;
/** Of either stream; describing an app prints far less. */
const MAX_OUTPUT_CHARS = 16 * 1024 * 1024;

/** A module's name with its arguments, or Python's own options first. */
export const pythonArguments = (args: string[]): string[] => (args[0]?.startsWith("-") ? args : ["-m", ...args]);

/** The two streams of Docker's framed log answer. */
function streams(frames: Buffer): { stdout: string; stderr: string } {
  const parts: [Buffer[], Buffer[]] = [[], []];
  for (let at = 0; at + 8 <= frames.length; ) {
    const length = frames.readUInt32BE(at + 4);
    parts[frames[at] === 2 ? 1 : 0].push(frames.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  const [stdout, stderr] = parts.map((part) => Buffer.concat(part).toString("utf8").slice(-MAX_OUTPUT_CHARS));
  return { stdout: stdout!, stderr: stderr! };
}

export async function runPython(
  docker: DockerClient,
  request: RunPythonRequest,
  signal: AbortSignal,
): Promise<PythonResult> {
  const { image, files, sdk, args, user, dockerHost } = request;
  signal.throwIfAborted();
  // Temporary folders are their maker's alone; the container runs as somebody else.
  await chmod(files, 0o755);
  const container = await askDocker(() =>
    docker.createContainer({
      Image: image,
      Entrypoint: [],
      Cmd: ["python", ...pythonArguments(args)],
      Env: ["HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1", `PYTHONPATH=${sdk ? SDK : ""}`],
      User: `${user.uid}:${user.gid}`,
      WorkingDir: FILES,
      Labels: { "fabric.purpose": "describe" },
      HostConfig: {
        Binds: [`${files}:${FILES}:ro`, ...(sdk ? [`${sdk}:${SDK}:ro`] : [])],
        NetworkMode: "none",
        ReadonlyRootfs: true,
        Tmpfs: { "/tmp": "rw,nosuid,size=256m,mode=1777" },
        CapDrop: ["ALL"],
        SecurityOpt: ["no-new-privileges"],
        PidsLimit: 512,
        Memory: MEMORY_BYTES,
        MemorySwap: MEMORY_BYTES,
        LogConfig: { Type: "json-file", Config: { "max-size": "32m", "max-file": "1" } },
      },
    }),
  );
  try {
    await askDocker(() => container.start());
    const code = await waitForContainer({ dockerHost }, container.id, "not-running", signal);
    if (code === undefined) fail("engine_unavailable", "The container was removed while it ran.");
    return { code, ...streams(await container.logs({ stdout: true, stderr: true, follow: false })) };
  } catch (thrown) {
    signal.throwIfAborted();
    throw thrown;
  } finally {
    await askDocker(() => container.remove({ force: true, v: true }));
  }
}
