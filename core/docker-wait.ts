/** Waits for the end of a container with a request of our own: dockerode's never settles when the daemon goes away after its headers. */
import { request } from "node:http";
import { type DockerOptions, dockerAddress } from "./docker-client.ts";
import { FabricError } from "./errors.ts";

const lost = (id: string, cause?: unknown): FabricError => {
  const reason = cause instanceof Error ? `: ${cause.message}` : "";
  return new FabricError("engine_unavailable", `Docker went away while ${id} was waited for${reason}`, undefined, {
    cause,
  });
};

/** The exit code; `undefined`: Docker knows no such container. Throws `engine_unavailable` when the connection does not last. */
export function waitForContainer(
  options: DockerOptions,
  id: string,
  condition: "not-running" | "removed",
  signal?: AbortSignal,
): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const fail = (cause?: unknown) => reject(signal?.aborted ? signal.reason : lost(id, cause));
    const path = `/containers/${encodeURIComponent(id)}/wait?condition=${condition}`;
    // No agent: a kept-alive connection may be a dead one, and this one lasts for hours.
    const asked = request(
      { ...dockerAddress(options.dockerHost), protocol: "http:", path, method: "POST", agent: false, signal },
      (answer) => {
        let body = "";
        answer.setEncoding("utf8");
        answer.on("data", (text: string) => {
          body += text;
        });
        answer.on("error", fail);
        answer.on("close", () => {
          if (!answer.complete) return fail();
          if (answer.statusCode === 404) return resolve(undefined);
          // Docker sends its 200 before it waits, so a daemon that stops may end the answer properly and empty.
          if (answer.statusCode !== 200 || body.trim() === "") return fail(new Error(body.trim() || "an empty answer"));
          resolve((JSON.parse(body) as { StatusCode: number }).StatusCode);
        });
      },
    );
    asked.on("error", fail);
    asked.end();
  });
}
