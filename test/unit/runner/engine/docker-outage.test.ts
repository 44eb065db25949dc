/** A Docker daemon that goes away while somebody waits: a small HTTP server on a unix socket plays its part. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { dockerEngine } from "../../../../runner/engine/docker.ts";

const folder = mkdtempSync(join(tmpdir(), "outage-"));
const socket = join(folder, "d.sock");
const servers: Server[] = [];

function daemon(onWait: (answer: { head(): void; end(code: number): void; cut(): void }) => void): Promise<Server> {
  const server = createServer((request, response) => {
    if (request.url?.includes("/wait")) {
      return onWait({
        head: () => response.writeHead(200, { "content-type": "application/json" }).flushHeaders(),
        end: (code) => response.end(JSON.stringify({ StatusCode: code })),
        cut: () => response.destroy(),
      });
    }
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ State: { Status: "exited", ExitCode: 7, OOMKilled: false } }));
  });
  servers.push(server);
  return new Promise((resolve) => server.listen(socket, () => resolve(server)));
}

afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections();
  rmSync(socket, { force: true });
});

test("a wait whose connection breaks after the headers is asked again", async () => {
  let waits = 0;
  await daemon((answer) => {
    waits += 1;
    answer.head();
    if (waits === 1) setImmediate(() => answer.cut());
    else answer.end(7);
  });
  const engine = dockerEngine({ fabric: "fab_x", node: "nod_x", dockerHost: socket });
  expect(await engine.wait("con_x")).toEqual({ code: 7, outOfMemory: false });
  expect(waits).toBe(2);
});

test("a wait for a daemon that stays away can be given up", async () => {
  const engine = dockerEngine({ fabric: "fab_x", node: "nod_x", dockerHost: join(folder, "nobody.sock") });
  await expect(engine.wait("con_x", AbortSignal.timeout(400))).rejects.toThrow();
});
