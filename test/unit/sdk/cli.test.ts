/** Command lines against a small HTTP server: what is sent, what is printed, and the exit code. */
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { sinceMoment } from "../../../sdk/cli/commands/invocation.ts";
import type { LocalCommands } from "../../../sdk/cli/program.ts";
import { runCli } from "../../../sdk/cli/run.ts";
import { createClient } from "../../../sdk/typescript/client.ts";
import { bytesOf } from "../../../sdk/typescript/upload.ts";

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

it("prints what a generator yields, also through a lost connection, and its result if it is something", async () => {
  const refusal = { code: "generator_needs_stream", message: "m", retryable: false, fault: "user" };
  answers["POST /v1/apps/a/functions/f/invocations"] = ({ headers }, response) =>
    headers.prefer === "respond-async"
      ? json({ id: "inv_1", state: "queued" }, 202)({} as never, response)
      : json({ error: refusal }, 406)({} as never, response);
  const chunk = (n: number) => ({ type: "chunk", id: `1-${n}`, value: { n } });
  const end = { type: "end", id: "inv_1", state: "succeeded", result: null };
  answers["GET /v1/invocations/inv_1/events"] = (request, response) =>
    request.headers["last-event-id"] === "1-1"
      ? lines(chunk(2), end)(request, response)
      : lines({ type: "state", id: "inv_1", state: "running", reason: "r" }, chunk(0), chunk(1))(request, response);
  expect(await fabric(["invoke", "a/f"])).toMatchObject({ code: 0, stdout: '{"n":0}\n{"n":1}\n{"n":2}\n', stderr: "" });
  answers["GET /v1/invocations/inv_1/events"] = lines(
    ...[chunk(0), { type: "restart", generation: 2 }, { ...end, result: "whole" }],
  );
  const again = await fabric(["invoke", "a/f"]);
  expect(again).toMatchObject({ code: 0, stdout: '{"n":0}\n"whole"\n' });
  expect(again.stderr).toContain("starts over");
  const error = { code: "exception", message: "ValueError: no", retryable: false, fault: "user" };
  answers["GET /v1/invocations/inv_1/events"] = lines(chunk(0), { type: "end", id: "inv_1", state: "failed", error });
  expect(await fabric(["invoke", "a/f"])).toMatchObject({ code: 1, stdout: '{"n":0}\n' });
});

it("sends a call's options as headers, and refuses what are no seconds", async () => {
  answers["POST /v1/apps/a/functions/f/invocations"] = json({ id: "inv_1", state: "queued" }, 202);
  const options = ["--delay", "1.5", "--ttl", "60", "--idempotency-key", "k"];
  expect((await fabric(["invoke", "a/f", "--async", ...options])).code).toBe(0);
  const further = ["--key", "v", "--webhook", "https://a/b", "--priority", "-60"];
  await fabric(["invoke", "a/f", "--async", "--debounce", "5", "--debounce-key", "u", ...further]);
  expect(asked[0]!.headers).toMatchObject({ "fabric-delay": "1.5", "fabric-ttl": "60", "idempotency-key": "k" });
  expect(asked[1]!.headers).toMatchObject({
    "fabric-debounce": "5",
    "fabric-debounce-key": "u",
    "fabric-key": "v",
    "fabric-webhook": "https://a/b",
  });
  expect(asked[1]!.headers).not.toHaveProperty("fabric-delay");
  expect(asked[1]!.headers).toMatchObject({ "fabric-priority": "-60" });
  expect((await fabric(["invoke", "a/f", "--delay", "soon"])).code).toBe(2);
  expect((await fabric(["invoke", "a/f", "--priority", "-soon"])).code).toBe(2);
});

it("sends a class' parameters as a query", async () => {
  answers["POST /v1/apps/a/functions/M.f/invocations"] = json({ id: "inv_1", state: "succeeded", result: 1 });
  expect(await fabric(["invoke", "a/M.f", "--parameter", "size=x y", "layers=2"])).toMatchObject({ code: 0 });
  expect(asked[0]!.line).toBe("POST /v1/apps/a/functions/M.f/invocations?size=x+y&layers=2");
  expect((await fabric(["invoke", "a/M.f", "--parameter", "size"])).code).toBe(2);
});

it("uploads a large input in parts, tries a part again, and calls with what it uploaded", async () => {
  const text = JSON.stringify({ x: "y".repeat(9_000_000) });
  const file = join(mkdtempSync(join(tmpdir(), "fabric-cli-")), "input.json");
  writeFileSync(file, `\n ${text}`);
  answers["POST /v1/uploads"] = (request, response) => {
    const { size } = JSON.parse(request.text);
    const sizes = [5_000_000, size - 5_000_000];
    const parts = sizes.map((one, i) => ({ number: i + 1, size: one, url: `${url()}/bucket/${i + 1}?signed=1` }));
    json({ id: "upl_1", upload: "u", parts }, 201)(request, response);
  };
  const put: string[] = [];
  let failures = 1;
  for (const number of [1, 2])
    answers[`PUT /bucket/${number}`] = (request, response) => {
      if (number === 2 && failures-- > 0) return void response.writeHead(500).end("not now");
      put[number - 1] = request.text;
      response.writeHead(200, { etag: `"e${number}"` }).end();
    };
  answers["POST /v1/uploads/upl_1/complete"] = json({ id: "upl_1" });
  answers["POST /v1/apps/a/functions/f/invocations"] = json({ id: "inv_1", state: "succeeded", result: 1 });
  expect(await fabric(["invoke", "a/f", "--json", `@${file}`])).toMatchObject({ code: 0, stdout: "1\n" });
  expect(JSON.parse(put.join(""))).toEqual({ args: [], kwargs: JSON.parse(text) });
  const complete = asked.find(({ line }) => line.endsWith("/complete"))!;
  const etags = [1, 2].map((number) => ({ number, etag: `"e${number}"` }));
  expect(JSON.parse(complete.text)).toEqual({ upload: "u", parts: etags });
  expect(asked.at(-1)).toMatchObject({ text: "", headers: { "fabric-input": "upl_1", "fabric-body": "call" } });
  expect(asked.some(({ line, headers }) => line.startsWith("PUT") && headers.authorization)).toBe(false);
});

it("sends a large input through the gateway where the bucket is out of reach", async () => {
  const text = JSON.stringify(["z".repeat(9_000_000)]);
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  answers["POST /v1/uploads"] = (request, response) => {
    const parts = [{ number: 1, size: JSON.parse(request.text).size, url: `http://127.0.0.1:${port}/` }];
    json({ id: "upl_1", parts }, 201)(request, response);
  };
  answers["POST /v1/apps/a/functions/f/invocations"] = json({ id: "inv_1", state: "succeeded", result: 1 });
  const client = createClient({ url: url(), token: "secret" });
  expect(await client.invoke("a", "f", text)).toMatchObject({ result: 1 });
  expect(asked.at(-1)!.text).toBe(text);
  const asBytes = client.upload(bytesOf(text));
  await expect(asBytes).rejects.toMatchObject({ code: "storage_unavailable" });
  await expect(client.upload(bytesOf("7"))).rejects.toMatchObject({ code: "invalid_json" });
});

it("redrives named invocations and says what became of each", async () => {
  answers["POST /v1/invocations/inv_1/redrive"] = json({ id: "inv_2", redrivenFrom: "inv_1", created: true }, 202);
  answers["POST /v1/invocations/inv_3/redrive"] = json({ id: "inv_4", redrivenFrom: "inv_3", created: false }, 202);
  const { code, stdout } = await fabric(["invocation", "redrive", "inv_1", "inv_3", "inv_5"]);
  expect(code).toBe(1);
  expect(stdout).toBe(
    "inv_1 -> inv_2\ninv_3 -> inv_4 (redriven before)\ninv_5 not redriven: no POST /v1/invocations/inv_5/redrive\n",
  );
});

it("redrives what failed, by function and time, less what was redriven before", async () => {
  answers["GET /v1/invocations"] = json({ invocations: [{ id: "inv_1" }, { id: "inv_0", redrivenAs: "inv_1" }] });
  answers["POST /v1/invocations/inv_1/redrive"] = json({ id: "inv_2", redrivenFrom: "inv_1", created: true }, 202);
  const filter = ["--app", "a", "--function", "f", "--since", "2020-01-02"];
  expect(await fabric(["invocation", "redrive", ...filter])).toMatchObject({ code: 0, stdout: "inv_1 -> inv_2\n" });
  expect(asked[0]!.line).toBe(
    "GET /v1/invocations?app=a&function=f&state=failed&since=2020-01-02T00%3A00%3A00.000Z&limit=1000",
  );
  expect((await fabric(["invocation", "redrive"])).code).toBe(2);
  expect((await fabric(["invocation", "redrive", "--since", "soon"])).code).toBe(2);
});

it("reads how long ago", () => {
  expect(sinceMoment("1.5h", 7_200_000)).toBe(new Date(1_800_000).toISOString());
  expect(sinceMoment("90s", 90_000)).toBe(new Date(0).toISOString());
});

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

it("waits through the death of its gateway, under one key", async () => {
  const { port } = server.address() as AddressInfo;
  const revived = createServer((request, response) => {
    asked.push({ line: `${request.method} ${request.url}`, headers: request.headers, text: "" });
    if (asked.length === 2)
      json({ error: { code: "redis_unavailable", message: "starting" } }, 503)(request as never, response);
    else json({ id: "inv_1", state: "succeeded", result: 7 })(request as never, response);
  });
  answers["POST /v1/apps/a/functions/f/invocations"] = () => {
    server.close(() => revived.listen(port, "127.0.0.1"));
    server.closeAllConnections();
  };
  const { code, stdout } = await fabric(["invoke", "a/f"]);
  revived.closeAllConnections();
  await new Promise((resolve) => revived.close(resolve));
  expect([code, stdout]).toEqual([0, "7\n"]);
  const keys = asked.map(({ headers }) => headers["idempotency-key"]);
  expect(keys).toHaveLength(3);
  expect(new Set(keys).size).toBe(1);
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

it("says so when an app or function without lines does not exist", async () => {
  answers["GET /v1/apps/a/logs"] = lines();
  answers["GET /v1/apps/b/logs"] = lines();
  answers["GET /v1/apps/a"] = json({ app: "a", functions: [{ name: "f" }] });
  expect(await fabric(["logs", "a/f"])).toMatchObject({ code: 0, stdout: "", stderr: "" });
  const missing = await fabric(["logs", "a/g"]);
  expect(missing).toMatchObject({ code: 4, stdout: "" });
  expect(missing.stderr).toContain("app 'a' has no function 'g'; it has f");
  expect((await fabric(["logs", "b"])).code).toBe(4);
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
  const unknown = await fabric(["checkpoint", "pull", "s", `${target}2`, "--best", "speed"]);
  expect(unknown).toMatchObject({ code: 2 });
  expect(unknown.stderr).toContain("no checkpoint has a number called 'speed'; there are: loss");
  answers["GET /v1/checkpoints/s/2/files/model.json"] = (_request, response) => response.end("damaged");
  const damaged = await fabric(["checkpoint", "pull", "s", target, "--best", "loss", "--force"]);
  expect(damaged.code).toBe(3);
  expect(damaged.stderr).toContain("model.json arrived damaged");
  expect(readFileSync(join(target, "model.json"), "utf8")).toBe("{}");
});

it("pulls large files in ranges, and goes on where a pull broke off", async () => {
  const folder = mkdtempSync(join(tmpdir(), "fabric-pull-"));
  const whole = Buffer.alloc(40 * 1024 * 1024);
  for (let i = 0; i < whole.length; i += 4096) whole.writeUInt32LE(i, i);
  const sha256 = createHash("sha256").update(whole).digest("hex");
  const files = [
    { path: "w.bin", size: whole.length, sha256 },
    { path: "empty", size: 0, sha256: createHash("sha256").digest("hex") },
  ];
  answers["GET /v1/checkpoints/big/latest"] = json({ series: "big", step: 3, metrics: {}, files });
  answers["GET /v1/checkpoints/big/3/files/empty"] = (_request, response) => response.end();
  let refused = 2;
  answers["GET /v1/checkpoints/big/3/files/w.bin"] = (request, response) => {
    const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range!)!.map(Number);
    response.writeHead(206, { "content-length": String(end! - start! + 1) });
    const part = whole.subarray(start, end! + 1);
    if (start! > 0 && refused-- > 0) response.write(part.subarray(0, 1000), () => response.destroy());
    else response.end(part);
  };
  const broken = await fabric(["checkpoint", "pull", "big", join(folder, "out")]);
  expect(broken.code).not.toBe(0);
  expect(broken.stderr).toContain("goes on from there");
  expect(existsSync(join(folder, "out"))).toBe(false);
  asked = [];
  expect(await fabric(["checkpoint", "pull", "big", join(folder, "out")])).toMatchObject({ code: 0 });
  expect(readFileSync(join(folder, "out", "w.bin")).equals(whole)).toBe(true);
  const ranges = asked.flatMap(({ headers }) => headers.range ?? []);
  expect(ranges.sort()).toEqual(["bytes=16777216-33554431", "bytes=33554432-41943039"]);
  expect(readdirSync(folder)).toEqual(["out"]);
  expect(readdirSync(join(folder, "out")).sort()).toEqual(["empty", "w.bin"]);
});

it("shows a series' metrics as a table and as curves, and where a checkpoint comes from", async () => {
  const row = (step: number) => ({
    step,
    at: "2026-01-01T00:00:00Z",
    metrics: { loss: 1 / (step + 1) },
    checkpoint: !step,
  });
  answers["GET /v1/checkpoints/s/metrics"] = lines(row(0), row(1), row(2));
  answers["GET /v1/checkpoints/s/best"] = json({
    ...{
      series: "s",
      step: 2,
      createdAt: "2026-01-01T00:00:00Z",
      invocation: "inv_1",
      generation: 2,
      app: "a",
      fn: "f",
    },
    ...{ version: "3", metrics: { loss: 0.3 }, files: [], parents: [{ series: "base", step: 9 }] },
    arguments: { sha256: "x", bytes: 9, encoding: "json", json: { args: [3] } },
  });
  const metrics = (await fabric(["checkpoint", "metrics", "s"])).stdout;
  expect(metrics.split("\n")[0]).toMatch(/^STEP +AT +SAVED +LOSS$/);
  expect(metrics).toMatch(/\n1 .* - +0\.5\n/);
  expect(JSON.parse((await fabric(["checkpoint", "metrics", "s", "--json"])).stdout).rows).toHaveLength(3);
  answers["GET /v1/checkpoints/s/metrics?rank=all"] = lines({ rank: 0, ...row(0) }, { rank: 3, ...row(0) });
  const ofAll = (await fabric(["checkpoint", "metrics", "s", "--rank", "all"])).stdout;
  expect(ofAll).toMatch(/^STEP +RANK +AT +SAVED +LOSS\n0 +0 .*\n0 +3 /);
  const shown = (await fabric(["checkpoint", "show", "s:best", "--plot"])).stdout;
  expect(shown).toMatch(/function +a\/f\n.*version +3\n.*attempt +2\n.*arguments +{"args":\[3\]}\n.*from +base:9\n/);
  expect(shown).toMatch(/\nloss\n +1 ┤[\u2801-\u28ff]/);
  expect((await fabric(["checkpoint", "show", "s:best", "--metric", "speed"])).code).toBe(2);
});

it("tags checkpoints, shows tags, and takes them away", async () => {
  const manifest = (step: number) => ({ series: "s", step, metrics: { loss: 1 / step }, files: [] });
  answers["GET /v1/checkpoints/s"] = json({
    checkpoints: [manifest(1), manifest(2)],
    tags: [{ name: "live", step: 2, movedAt: "" }],
  });
  answers["GET /v1/checkpoints/s/staging"] = json(manifest(1));
  answers["PUT /v1/checkpoints/s/tags/live"] = json({ name: "live", step: 1, previous: 2, movedAt: "" });
  answers["DELETE /v1/checkpoints/s/tags/live"] = json({ deleted: true });
  expect((await fabric(["checkpoint", "list", "s"])).stdout).toMatch(/TAGS.*\n1 .* - .*\n2 .* live /);
  expect((await fabric(["checkpoint", "tag", "s:staging", "live", "--from", "2"])).stdout).toBe(
    "s:live -> s:1 (before: 2)\n",
  );
  expect(JSON.parse(asked.at(-1)!.text)).toEqual({ step: 1, from: 2 });
  await fabric(["checkpoint", "tag", "s:1", "live", "--from", "none"]);
  expect(JSON.parse(asked.at(-1)!.text)).toEqual({ step: 1, from: null });
  expect((await fabric(["checkpoint", "untag", "s:live"])).code).toBe(0);
  expect((await fabric(["checkpoint", "untag", "s"])).code).toBe(2);
  expect((await fabric(["checkpoint", "rm", "s"])).code).toBe(2);
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
