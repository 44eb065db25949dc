/** State, running.json, quoting and logs on disk. */
import { mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { dataDir, makeDataDir } from "../../../local/data-dir.ts";
import { identify, isAlive } from "../../../local/identity.ts";
import { lastLines, parseReady, rotate } from "../../../local/launch.ts";
import { offerToUser } from "../../../local/offer-to-user.ts";
import { claimRunning, dropRunning, readRunning, saveRunning } from "../../../local/running.ts";
import { openState, readState } from "../../../local/state.ts";
import { shellQuote } from "../../../local/status.ts";

const freshDir = () => dataDir(join(mkdtempSync(join(tmpdir(), "fabric-local-")), "data"));

it("makes ids and keys once and keeps them for the owner only", () => {
  const dir = freshDir();
  makeDataDir(dir);
  const made = openState(dir);
  expect(openState(dir)).toEqual(made);
  expect(statSync(dir.state).mode & 0o777).toBe(0o600);
  expect(statSync(dir.root).mode & 0o777).toBe(0o700);
});

it("does not replace a damaged state, because keys would be lost", () => {
  const dir = freshDir();
  makeDataDir(dir);
  writeFileSync(dir.state, "{");
  expect(() => readState(dir)).toThrow(/is damaged/);
});

it("lets one supervisor own a data directory, and a dead one none", async () => {
  const dir = freshDir();
  makeDataDir(dir);
  await claimRunning(dir);
  await expect(claimRunning(dir)).rejects.toThrow("another fabric is starting");
  writeFileSync(dir.running, JSON.stringify({ supervisor: { pid: process.pid, started: "1" }, children: {} }));
  expect((await claimRunning(dir)).supervisor.pid).toBe(process.pid);
  await dropRunning(dir);
  expect(readRunning(dir)).toBeUndefined();
});

it("knows a process by its start, not by its number alone", () => {
  const own = identify(process.pid);
  expect(isAlive(own)).toBe(true);
  if (own.started !== undefined) expect(isAlive({ ...own, started: "1" })).toBe(false);
  expect(isAlive({ pid: 2 ** 22 + 1 })).toBe(false);
});

it("quotes for the shell what needs it", () => {
  expect(shellQuote("http://127.0.0.1:7700")).toBe("http://127.0.0.1:7700");
  expect(shellQuote("a b")).toBe("'a b'");
  expect(shellQuote("it's; $(rm)")).toBe("'it'\\''s; $(rm)'");
  expect(shellQuote("")).toBe("''");
});

it("tells a ready line from other output", () => {
  expect(parseReady('{"ready":true,"port":1}')).toEqual({ ready: true, port: 1 });
  expect(parseReady("{not json")).toBeUndefined();
  expect(parseReady('{"ready":false}')).toBeUndefined();
  expect(parseReady("ready")).toBeUndefined();
});

it("keeps one old log and shows the last lines of the new one", () => {
  const log = join(mkdtempSync(join(tmpdir(), "fabric-log-")), "x.log");
  rotate(log);
  expect(lastLines(log)).toBe("");
  writeFileSync(log, "one\ntwo\nthree\n");
  expect(lastLines(log, 2)).toBe("two\nthree");
  rotate(log, 5);
  expect(readFileSync(`${log}.1`, "utf8")).toBe("one\ntwo\nthree\n");
});

it("lets the user's commands go on speaking to the first fabric while that one runs", async () => {
  const [first, second] = [freshDir(), freshDir()];
  const path = join(first.root, "config.json");
  const s3 = { endpoint: "http://127.0.0.1:2", region: "r", accessKeyId: "a", secretAccessKey: "b" };
  const facts = (dir: typeof first) => ({
    ...{ url: "http://127.0.0.1:1", token: "t", bucket: "fabric", engine: "process", notices: [], s3 },
    dataDir: dir.root,
  });
  const named = () => JSON.parse(readFileSync(path, "utf8")).dataDir;
  for (const dir of [first, second]) makeDataDir(dir);
  writeFileSync(path, "damaged");
  expect(offerToUser(path, facts(first))).toBe(undefined);
  expect(named()).toBe(first.root);
  saveRunning(first, { supervisor: identify(process.pid), children: {} });
  expect(offerToUser(path, facts(second))).toBe(first.root);
  expect(named()).toBe(first.root);
  await dropRunning(first);
  expect(offerToUser(path, facts(second))).toBe(undefined);
  expect(named()).toBe(second.root);
});
