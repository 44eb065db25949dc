/** Reads BuildKit's progress stream: steps and lines for people, and whether it failed. */
import { createInterface } from "node:readline";
import { fail } from "../../core/errors.ts";
import type { BuildEvent } from "../../core/image-builder.ts";
import { type BuildStatus, readStatus } from "./buildkit-status.ts";

/** A line of the stream: BuildKit's status (base64 in `aux`), or a message of the daemon's own. */
interface Message {
  id?: string;
  aux?: unknown;
  error?: string;
}

const TRACE = "moby.buildkit.trace";

export interface BuildOutcome {
  /** What the daemon said about the failure; a failed RUN does not reject the request. */
  failure?: string;
  /** The commands' output. */
  lines: string[];
}

/** Turns statuses into events; remembers which steps were told, and the half line at the end of each piece of output. */
export function eventReader(): (status: BuildStatus) => BuildEvent[] {
  const told = new Set<string>();
  let rest = "";
  return ({ steps, output }) => {
    const events: BuildEvent[] = [];
    for (const { digest, name, started } of steps) {
      // Steps of BuildKit's own ("[internal] load build context") are not numbered.
      if (!started || told.has(digest) || !/^\[(stage-\d+ +)?\d+\/\d+\]/.test(name)) continue;
      told.add(digest);
      // The mounts of a RUN are ours, the command is the user's.
      events.push({ kind: "step", text: name.replace(/--mount=\S+ /g, "") });
    }
    for (const piece of output) {
      const lines = (rest + piece).split(/\r?\n|\r/);
      rest = lines.pop()!;
      for (const text of lines) if (text.trim()) events.push({ kind: "log", text });
    }
    return events;
  };
}

type Destroyable = NodeJS.ReadableStream & { destroy(error?: Error): void };

export async function readOutput(
  stream: NodeJS.ReadableStream,
  tell: (event: BuildEvent) => void,
  signal: AbortSignal,
): Promise<BuildOutcome> {
  const events = eventReader();
  const lines: string[] = [];
  let failure: string | undefined;
  // Closing the connection is how BuildKit learns that nobody wants the image any more.
  const reader = createInterface({ input: stream });
  const abort = () => {
    (stream as Destroyable).destroy();
    reader.close();
  };
  signal.addEventListener("abort", abort, { once: true });
  // A daemon that goes away closes the stream without ending it, which readline does not notice.
  let broken: Error | undefined;
  stream.once("error", (error) => {
    broken = error;
  });
  stream.once("close", () => reader.close());
  try {
    for await (const line of reader) {
      if (!line.trim()) continue;
      const { id, aux, error }: Message = JSON.parse(line);
      if (error) failure = error;
      if (id !== TRACE || typeof aux !== "string") continue;
      for (const event of events(readStatus(Buffer.from(aux, "base64")))) {
        if (event.kind === "log") lines.push(event.text);
        tell(event);
      }
    }
  } catch (thrown) {
    // What the abort did to the stream is not news; its reason is.
    signal.throwIfAborted();
    if (thrown !== broken) throw thrown;
  } finally {
    signal.removeEventListener("abort", abort);
  }
  signal.throwIfAborted();
  if (broken) fail("engine_unavailable", `Docker went away during the build: ${broken.message}`);
  return { failure, lines };
}
