/** One dockerode client, made on first use, whose failures to reach the daemon carry the code `engine_unavailable`. */
import type Docker from "dockerode";
import { FabricError, fail } from "./errors.ts";

export type DockerClient = Docker;

export interface DockerOptions {
  /** As DOCKER_HOST: `unix:///path`, `tcp://host:port` or a socket's path; empty or absent: the daemon's usual socket. */
  dockerHost?: string;
}

export const DOCKER_SOCKET = "/var/run/docker.sock";

/** Where a DOCKER_HOST value points, in dockerode's words. */
export function dockerAddress(
  dockerHost = "",
): { socketPath: string } | { host: string; port: number; protocol: "http" } {
  if (dockerHost === "") return { socketPath: DOCKER_SOCKET };
  if (dockerHost.startsWith("/")) return { socketPath: dockerHost };
  const url = URL.canParse(dockerHost) ? new URL(dockerHost) : undefined;
  if (url?.protocol === "unix:") return { socketPath: url.pathname };
  if (url?.protocol === "tcp:" || url?.protocol === "http:")
    return { host: url.hostname, port: Number(url.port || 2375), protocol: "http" };
  return fail("engine_unavailable", `DOCKER_HOST=${dockerHost} is neither unix:///path nor tcp://host:port.`);
}

/** Loads dockerode only when somebody talks to Docker: importing it costs about 100 ms. */
export function dockerClient(options: DockerOptions = {}): () => Promise<DockerClient> {
  let client: Promise<DockerClient> | undefined;
  return () => {
    client ??= import("dockerode").then(({ default: Client }) => new Client(dockerAddress(options.dockerHost)));
    return client;
  };
}

const UNREACHABLE = new Set(["ECONNREFUSED", "ECONNRESET", "ENOENT", "EACCES", "EPIPE", "ETIMEDOUT"]);

const field = (thrown: unknown, name: string): unknown =>
  typeof thrown === "object" && thrown !== null ? (thrown as Record<string, unknown>)[name] : undefined;

/** The HTTP status of Docker's answer, when it answered. */
export function dockerStatus(thrown: unknown): number | undefined {
  const status = field(thrown, "statusCode");
  return typeof status === "number" ? status : undefined;
}

/** What Docker said, without dockerode's "(HTTP code 409) unexpected - " in front. */
export function dockerMessage(thrown: unknown): string {
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return message.replace(/^\(HTTP code \d+\) [^-]*- /, "").trim();
}

/** Did the daemon not answer at all, as opposed to answering with an error? */
export function isUnreachable(thrown: unknown): boolean {
  if (thrown instanceof FabricError) return thrown.code === "engine_unavailable";
  return dockerStatus(thrown) === undefined && UNREACHABLE.has(String(field(thrown, "code")));
}

/** Runs one call to Docker; a daemon that does not answer becomes `engine_unavailable`, everything else is rethrown. */
export async function askDocker<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (thrown) {
    if (!isUnreachable(thrown) || thrown instanceof FabricError) throw thrown;
    throw new FabricError("engine_unavailable", `Docker does not answer: ${dockerMessage(thrown)}`, undefined, {
      cause: thrown,
    });
  }
}

/** As `askDocker`, but an answer with one of `statuses` is expected and gives `undefined`. */
export async function askDockerUnless<T>(statuses: number[], call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await askDocker(call);
  } catch (thrown) {
    const status = dockerStatus(thrown);
    if (status !== undefined && statuses.includes(status)) return undefined;
    throw thrown;
  }
}
