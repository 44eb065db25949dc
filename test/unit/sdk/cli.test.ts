/** Command lines against a small HTTP server: what is sent, what is printed, and the exit code. */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { LocalCommands } from "../../../sdk/cli/program.ts";
import { runCli } from "../../../sdk/cli/run.ts";

type Answer = (request: IncomingMessage & { text: string }, response: ServerResponse) => void;

let server: Server;
let answers: Record<string, Answer>;
let asked: { line: string; headers: IncomingMessage["headers"]; text: string }[];

beforeEach(async () => {
  answers = {};
  asked = [];
  server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const line = `${request.method} ${request.url}`;
    asked.push({ line, headers: request.headers, text });
    const answer = answers[line] ?? answers[line.split("?")[0] ?? ""];
    if (answer) answer(Object.assign(request, { text }), response);
    else
      json({ error: { code: "route_not_found", message: `no ${line}`, retryable: false, fault: "user" } }, 404)(
        request as never,
        response,
      );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const json =
  (body: unknown, status = 200): Answer =>
  (_request, response) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  };
const lines =
  (...values: unknown[]): Answer =>
  (_request, response) => {
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    response.end(`\n${values.map((value) => JSON.stringify(value)).join("\n\n")}\n`);
  };
const url = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

async function fabric(argv: string[], environment: NodeJS.ProcessEnv = { FABRIC_URL: url(), FABRIC_TOKEN: "secret" }) {
  const output = { stdout: "", stderr: "" };
  const stream = (name: "stdout" | "stderr") => ({
    write: (text: string) => {
      output[name] += text;
    },
  });
  const code = await runCli({
    argv,
    environment: { PATH: process.env.PATH, ...environment },
    stdout: stream("stdout"),
    stderr: stream("stderr"),
    local: async () => ({ status: async () => false }) as unknown as LocalCommands,
  });
  return { code, ...output };
}

it("invokes with a token and prints the result", async () => {
  answers["POST /v1/apps/digits/functions/predict/invocations"] = json({
    id: "inv_1",
    state: "succeeded",
    result: { digit: 7 },
  });
  const { code, stdout, stderr } = await fabric(["invoke", "digits/predict", "--arg", "index=3", "--arg", "name=x y"]);
  expect({ code, stderr, result: JSON.parse(stdout) }).toEqual({ code: 0, stderr: "", result: { digit: 7 } });
  expect(asked[0]?.headers.authorization).toBe("Bearer secret");
  expect(asked[0]?.headers.prefer).toBe("wait=60");
  expect(JSON.parse(asked[0]?.text ?? "")).toEqual({ index: 3, name: "x y" });
});

it("prints nothing but the id of a call that it does not wait for", async () => {
  answers["POST /v1/apps/a/functions/f/invocations"] = json({ id: "inv_1", state: "queued" }, 202);
  expect(await fabric(["invoke", "a/f", "--async"])).toMatchObject({ code: 0, stdout: "inv_1\n", stderr: "" });
});

it("says what is wrong with FABRIC_URL", async () => {
  const { code, stderr } = await fabric(["app", "list"], { FABRIC_URL: "localhost", FABRIC_TOKEN: "secret" });
  expect(stderr).toContain("FABRIC_URL is 'localhost'; it must be a URL");
  expect(code).toBe(2);
});

it("goes on asking until a long call has ended", async () => {
  let looks = 0;
  answers["POST /v1/apps/a/functions/f/invocations"] = json({ id: "inv_1", state: "queued", reason: "building" }, 202);
  answers["GET /v1/invocations/inv_1/result"] = (request, response) => {
    looks += 1;
    if (looks < 3) json({ id: "inv_1", state: "running" }, 202)(request, response);
    else json({ id: "inv_1", state: "succeeded", result: 5 })(request, response);
  };
  expect(await fabric(["invoke", "a/f"])).toMatchObject({ code: 0, stdout: "5\n" });
});

it("gives up waiting when told to, with an exit code of its own", async () => {
  answers["POST /v1/apps/a/functions/f/invocations"] = json({ id: "inv_1", state: "queued" }, 202);
  const { code, stderr } = await fabric(["invoke", "a/f", "--wait", "0"]);
  expect(code).toBe(6);
  expect(stderr).toContain("fabric invocation result inv_1");
});

it.each([
  ["exception", 500, 1],
  ["function_not_found", 404, 4],
  ["unauthorized", 401, 5],
  ["redis_unavailable", 503, 3],
])("ends %s (%i) with exit code %i, in a line or two without a stack", async (errorCode, status, exitCode) => {
  const error = { code: errorCode, message: "ValueError: no such digit", retryable: false, fault: "user" };
  answers["POST /v1/apps/a/functions/f/invocations"] = json({ error }, status);
  const { code, stdout, stderr } = await fabric(["invoke", "a/f"]);
  expect(code).toBe(exitCode);
  expect(stdout).toBe("");
  expect(stderr).toContain(`error: ${errorCode}: ValueError: no such digit`);
  expect(stderr.trim().split("\n").length).toBeLessThanOrEqual(2);
});

it("shows the traceback of the user's function", async () => {
  const error = { code: "exception", message: "ValueError: no", details: { traceback: "File app.py, line 3\n" } };
  answers["POST /v1/apps/a/functions/f/invocations"] = json({ id: "inv_1", state: "failed", error }, 500);
  expect((await fabric(["invoke", "a/f"])).stderr).toBe("error: exception: ValueError: no\nFile app.py, line 3\n");
});

it("says so when no gateway answers", async () => {
  const { code, stderr } = await fabric(["app", "list"], { FABRIC_URL: "http://127.0.0.1:1", FABRIC_TOKEN: "x" });
  expect(code).toBe(3);
  expect(stderr).toContain("fabric_unreachable: No gateway answers at http://127.0.0.1:1");
});

it.each([
  [["bogus"]],
  [["invoke"]],
  [["invoke", "no-slash"]],
  [["invoke", "a/f", "--json", "{"]],
  [["invoke", "a/f", "--arg", "novalue"]],
  [["checkpoint", "show", "a:b:c"]],
  [["up", "--engine", "cloud"]],
  [["deploy", "/does/not/exist.py"]],
])("answers %j with the usage exit code", async (argv) => {
  expect((await fabric(argv)).code).toBe(2);
});

it("takes URL and token from the user's config, but sends that token to no other URL", async () => {
  const file = join(mkdtempSync(join(tmpdir(), "fabric-cli-")), "config.json");
  writeFileSync(file, JSON.stringify({ url: url(), token: "from-file" }));
  answers["GET /v1/apps"] = json({ apps: [] });
  expect((await fabric(["app", "list", "--json"], { FABRIC_CONFIG: file })).code).toBe(0);
  expect(asked[0]?.headers.authorization).toBe("Bearer from-file");
  const elsewhere = await fabric(["app", "list"], { FABRIC_CONFIG: file, FABRIC_URL: "http://127.0.0.1:1" });
  expect(elsewhere.code).toBe(5);
});

it("streams logs, heartbeats left out", async () => {
  const entry = (seq: number, text: string) => ({ seq, at: 0, fn: "f", source: "stdout", text });
  answers["GET /v1/apps/a/logs"] = lines(entry(1, "one"), entry(2, "two"));
  expect((await fabric(["logs", "a"])).stdout).toBe("00:00:00 f one\n00:00:00 f two\n");
});

it("pulls a checkpoint whole, verified, and never half", async () => {
  const target = join(mkdtempSync(join(tmpdir(), "fabric-pull-")), "best");
  const content: Record<string, string> = { "model.json": "{}", "deep/weights.bin": "0123" };
  const files = Object.entries(content).map(([path, text]) => ({
    path,
    size: text.length,
    sha256: createHash("sha256").update(text).digest("hex"),
  }));
  const manifest = (step: number, loss: number) => ({ series: "s", step, metrics: { loss }, files });
  answers["GET /v1/checkpoints/s"] = json({ checkpoints: [manifest(1, 0.5), manifest(2, 0.1), manifest(3, 0.3)] });
  for (const [path, text] of Object.entries(content))
    answers[`GET /v1/checkpoints/s/2/files/${path}`] = (_request, response) => response.end(text);
  const pulled = await fabric(["checkpoint", "pull", "s", target, "--best", "loss", "--json"]);
  expect(pulled).toMatchObject({ code: 0 });
  expect(JSON.parse(pulled.stdout)).toMatchObject({ step: 2, directory: target });
  expect(readFileSync(join(target, "deep/weights.bin"), "utf8")).toBe("0123");

  expect((await fabric(["checkpoint", "pull", "s", target, "--best", "loss"])).code).toBe(2);
  answers["GET /v1/checkpoints/s/2/files/model.json"] = (_request, response) => response.end("damaged");
  const damaged = await fabric(["checkpoint", "pull", "s", target, "--best", "loss", "--force"]);
  expect(damaged.code).toBe(3);
  expect(damaged.stderr).toContain("model.json arrived damaged");
  expect(readFileSync(join(target, "model.json"), "utf8")).toBe("{}");
});

it("refuses a manifest that names files outside its folder", async () => {
  const files = [{ path: "../escape", size: 1, sha256: "0" }];
  answers["GET /v1/checkpoints/s/1"] = json({ series: "s", step: 1, metrics: {}, files });
  const target = join(mkdtempSync(join(tmpdir(), "fabric-pull-")), "x");
  expect((await fabric(["checkpoint", "pull", "s:1", target])).stderr).toContain("checkpoint_invalid");
});

it("passes a question's negative answer on as exit code 1", async () => {
  expect((await fabric(["status"])).code).toBe(1);
});
