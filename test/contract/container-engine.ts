/** What every ContainerEngine promises, run against each of them; a promise an engine cannot keep is a skip with its reason. */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { ContainerEngine, ContainerSpec } from "../../core/engine.ts";
import { newId } from "../../core/ids.ts";

export interface EngineUnderTest {
  /** A new instance with the same identity, as after a restart of the runner. */
  make(): ContainerEngine;
  /** An image with `python` on its PATH, and a reference no image has. */
  image: string;
  missingImage: string;
  /** Sends a signal to the main process without the engine's help. */
  kill(engine: ContainerEngine, id: string, signal: "SIGKILL" | "SIGTERM"): Promise<void>;
  cleanUp?(): Promise<void>;
}

/** Each gap is a sentence that says why. */
export interface EngineGaps {
  readOnlyFolders?: string;
}

export function containerEngineContract(
  name: string,
  open: () => Promise<EngineUnderTest>,
  gaps: EngineGaps = {},
): void {
  describe(`${name} keeps the promises of ContainerEngine`, () => {
    let under: EngineUnderTest;
    let engine: ContainerEngine;
    const started: string[] = [];
    const folders: string[] = [];

    beforeAll(async () => {
      under = await open();
      engine = under.make();
      await engine.prepare();
    });
    afterEach(async () => {
      for (const id of started.splice(0)) await engine.remove(id);
      for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
    });
    afterAll(async () => {
      await engine?.close();
      await under?.cleanUp?.();
    });

    function specOf(code: string, more: Partial<ContainerSpec> = {}): ContainerSpec {
      const root = mkdtempSync(join(tmpdir(), "engine-"));
      folders.push(root);
      const [socketDir, bundleDir, sdkDir, scratchDir] = ["socket", "bundle", "sdk", "scratch"].map((part) => {
        mkdirSync(join(root, part), { mode: 0o755 });
        return join(root, part);
      }) as [string, string, string, string];
      const id = newId("con");
      started.push(id);
      return {
        id,
        labels: { "fabric.test": id },
        image: under.image,
        command: ["python", "-c", code],
        env: {},
        socketDir,
        bundleDir,
        sdkDir,
        scratchDir,
        network: "none",
        gpus: [],
        ...more,
      };
    }

    /** Runs code to its end and gives the exit with what it printed. */
    async function run(code: string, more: Partial<ContainerSpec> = {}) {
      const spec = specOf(code, more);
      await engine.start(spec);
      const exit = await engine.wait(spec.id);
      return { spec, exit, output: await engine.tail(spec.id, 10_000) };
    }

    /** Starts code that writes `ready` into scratch and waits until it did. */
    async function startReady(code: string, more: Partial<ContainerSpec> = {}): Promise<ContainerSpec> {
      const spec = specOf(`${code}\nopen('ready','w').close()\nimport time\nwhile True: time.sleep(1)`, more);
      await engine.start(spec);
      await expect.poll(() => existsSync(join(spec.scratchDir, "ready")), { timeout: 15_000 }).toBe(true);
      return spec;
    }

    test.each([0, 1, 42])("tells exit code %i", async (code) => {
      const { exit } = await run(`raise SystemExit(${code})`);
      expect(exit).toEqual({ code, outOfMemory: false });
    });

    test("tells a fatal signal as 128 + n", async () => {
      const { exit } = await run(
        "import ctypes,resource; resource.setrlimit(resource.RLIMIT_CORE,(0,0)); ctypes.string_at(0)",
      );
      expect(exit).toEqual({ code: 139, outOfMemory: false });
    });

    test("tells a kill from outside as 137, not as out of memory", async () => {
      const spec = await startReady("");
      const ended = engine.wait(spec.id);
      await under.kill(engine, spec.id, "SIGKILL");
      expect(await ended).toEqual({ code: 137, outOfMemory: false });
    });

    test("waits more than once, and after the end", async () => {
      const { spec, exit } = await run("raise SystemExit(3)");
      expect(exit?.code).toBe(3);
      expect(await engine.wait(spec.id)).toEqual(exit);
    });

    test("a wait can be given up, and the container lives on", async () => {
      const spec = await startReady("");
      const giveUp = new AbortController();
      const waiting = engine.wait(spec.id, giveUp.signal);
      giveUp.abort();
      await expect(waiting).rejects.toThrow();
      expect((await engine.list(spec.labels))[0]?.state).toBe("running");
    });

    test("nobody's id: wait gives undefined, stop and remove are no error, tail is empty", async () => {
      const id = newId("con");
      expect(await engine.wait(id)).toBeUndefined();
      await engine.stop(id, 100);
      await engine.remove(id);
      expect(await engine.tail(id, 100)).toBe("");
    });

    test("stop lets the process end by itself", async () => {
      const spec = await startReady("import signal,sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))");
      await engine.stop(spec.id, 10_000);
      expect(await engine.wait(spec.id)).toEqual({ code: 7, outOfMemory: false });
    });

    test("stop kills after the grace what ignores SIGTERM", async () => {
      const spec = await startReady("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)");
      const before = performance.now();
      await engine.stop(spec.id, 300);
      expect(performance.now() - before).toBeGreaterThanOrEqual(290);
      expect((await engine.wait(spec.id))?.code).toBe(137);
    });

    test("stop of one that ended changes nothing", async () => {
      const { spec } = await run("raise SystemExit(5)");
      await engine.stop(spec.id, 1000);
      expect((await engine.wait(spec.id))?.code).toBe(5);
    });

    test("remove kills, and twice is once", async () => {
      const spec = await startReady("");
      const ended = engine.wait(spec.id);
      await Promise.all([engine.remove(spec.id), engine.remove(spec.id)]);
      await engine.remove(spec.id);
      expect((await ended)?.code).toBe(137);
      expect(await engine.list(spec.labels)).toEqual([]);
      expect(await engine.wait(spec.id)).toBeUndefined();
    });

    test("lists by label, ended ones with their exit", async () => {
      const group = randomBytes(4).toString("hex");
      const running = await startReady("", { labels: { group, part: "a" } });
      const { spec: ended } = await run("raise SystemExit(9)", { labels: { group, part: "b" } });
      const found = await engine.list({ group });
      expect(found.map(({ id, state }) => [id, state]).sort()).toEqual(
        [
          [running.id, "running"],
          [ended.id, "exited"],
        ].sort(),
      );
      expect(found.find(({ id }) => id === ended.id)?.exit).toEqual({ code: 9, outOfMemory: false });
      expect((await engine.list({ group, part: "a" })).map(({ id }) => id)).toEqual([running.id]);
      expect((await engine.list({ group, part: "a" }))[0]?.labels).toMatchObject({ group, part: "a" });
    });

    test("a new instance adopts what an earlier one started", async () => {
      const first = under.make();
      await first.prepare();
      const spec = specOf(
        "import time\nwhile True:\n  time.sleep(0.05)\n  try: raise SystemExit(int(open('go').read()))\n  except (OSError, ValueError): pass",
      );
      await first.start(spec);
      await first.close();
      const second = under.make();
      await second.prepare();
      expect((await second.list(spec.labels)).map(({ id, state }) => [id, state])).toEqual([[spec.id, "running"]]);
      const ended = second.wait(spec.id);
      writeFileSync(join(spec.scratchDir, "go"), "11");
      expect(await ended).toEqual({ code: 11, outOfMemory: false });
      await second.close();
    });

    test("a missing image is image_missing and leaves nothing", async () => {
      const spec = specOf("", { image: under.missingImage });
      await expect(engine.start(spec)).rejects.toMatchObject({ code: "image_missing" });
      expect(await engine.list(spec.labels)).toEqual([]);
    });

    test("a missing program is container_start_failed and leaves nothing", async () => {
      const spec = specOf("", { command: ["no-such-program"] });
      await expect(engine.start(spec)).rejects.toMatchObject({ code: "container_start_failed" });
      expect(await engine.list(spec.labels)).toEqual([]);
    });

    test("a second start under a taken id fails and leaves the first alone", async () => {
      const spec = await startReady("");
      await expect(engine.start(spec)).rejects.toMatchObject({ code: "container_start_failed" });
      expect((await engine.list(spec.labels))[0]?.state).toBe("running");
    });

    test("tail has both streams, and is as short as asked for", async () => {
      const { output } = await run("import sys\nprint('out')\nprint('err', file=sys.stderr)");
      // Between the streams no order is promised.
      expect(output.split("\n").sort()).toEqual(["", "err", "out"]);
      const { spec } = await run("print('x' * 6000)\nprint('last words')");
      expect(await engine.tail(spec.id, 11)).toBe("last words\n");
    });

    test("scratch is HOME, TMPDIR and working directory, and writable", async () => {
      const { spec, exit, output } = await run(
        "import os,tempfile,pathlib\nassert os.getcwd() == os.environ['HOME'] == os.environ['TMPDIR'] == tempfile.gettempdir(), (os.getcwd(), os.environ)\npathlib.Path('kept').write_text('yes')",
      );
      expect(exit?.code, output).toBe(0);
      expect(readFileSync(join(spec.scratchDir, "kept"), "utf8")).toBe("yes");
    });

    test("the environment is the spec's, and nothing of the runner's", async () => {
      process.env.FABRIC_TEST_SECRET = "leak";
      const { output } = await run("import os\nprint(os.environ.get('GIVEN'), os.environ.get('FABRIC_TEST_SECRET'))", {
        env: { GIVEN: "a 'b' $c\nd" },
      });
      delete process.env.FABRIC_TEST_SECRET;
      expect(output).toBe("a 'b' $c\nd None\n");
    });

    test("arguments arrive as they are", async () => {
      const awkward = "a 'b' \"c\" $(touch x) `y` \n;z";
      const { output } = await run("", {
        command: ["python", "-c", "import sys,json; print(json.dumps(sys.argv[1:]))", awkward, ""],
      });
      expect(JSON.parse(output)).toEqual([awkward, ""]);
    });

    test("bundle and sdk are readable, and a socket in the socket folder can be reached", async () => {
      const spec = specOf("");
      writeFileSync(join(spec.bundleDir, "hello.txt"), "bundle");
      writeFileSync(join(spec.sdkDir, "hello.txt"), "sdk");
      const server = createServer((socket) => socket.end("hello"));
      await new Promise<void>((resolve) => server.listen(join(spec.socketDir, "s"), resolve));
      const at = engine.paths(spec);
      spec.command = [
        "python",
        "-c",
        "import socket,sys\nfor p in sys.argv[2:]: print(open(p + '/hello.txt').read())\ns=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1] + '/s'); print(s.recv(99).decode())",
        at.socket,
        at.bundle,
        at.sdk,
      ];
      await engine.start(spec);
      const exit = await engine.wait(spec.id);
      server.close();
      expect(await engine.tail(spec.id, 1000)).toBe("bundle\nsdk\nhello\n");
      expect(exit?.code).toBe(0);
    });

    test.each(["none", "egress"] as const)(
      "containers of a gang reach each other, with network %s",
      async (network) => {
        const gang = newId("gng");
        const serve =
          "import socket\ns=socket.create_server(('0.0.0.0', 23456))\nopen('ready','w').close()\ns.accept()[0].sendall(b'met')";
        const first = specOf(serve, { gang, network, shmBytes: 1 << 30 });
        await engine.start(first);
        await expect.poll(() => existsSync(join(first.scratchDir, "ready")), { timeout: 15_000 }).toBe(true);
        const address = await engine.addressOf(first.id);
        const { output } = await run(
          `import socket; print(socket.create_connection(('${address}', 23456), 10).recv(9))`,
          { gang, network },
        );
        expect(output).toBe("b'met'\n");
        // What is shared goes after its containers, also when nobody remembers the gang, and more than once.
        for (const id of started.splice(0)) await engine.remove(id);
        await engine.endGang(network === "none" ? gang : undefined);
        await engine.endGang(gang);
      },
    );

    test.skipIf(gaps.readOnlyFolders)(
      `bundle, sdk and socket folders are not writable${gaps.readOnlyFolders ? ` (${gaps.readOnlyFolders})` : ""}`,
      async () => {
        const { socket, bundle, sdk } = engine.paths(specOf(""));
        const { output } = await run(
          `for p in ${JSON.stringify([socket, bundle, sdk, "/", "/etc", "/usr/bin"])}:\n  try: open(p + '/x', 'w')\n  except OSError as e: print(e.errno in (13, 30))`,
        );
        expect(output.trim().split("\n")).toEqual(Array(6).fill("True"));
      },
    );
  });
}
