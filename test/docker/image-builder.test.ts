/** Images of real specs, built by Docker with packages from the operator's indexes. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { type DockerClient, dockerClient } from "../../core/docker-client.ts";
import type { BuildEvent } from "../../core/image-builder.ts";
import type { ImageLayer } from "../../core/spec.ts";
import { dockerImageBuilder } from "../../gateway/build/docker-builder.ts";
import { builderOptionsForTests, runIn, whyNoDocker } from "./fixture.ts";

const reason = await whyNoDocker();
const never = new AbortController().signal;
/** Makes a spec nobody built before. */
const unique = (): ImageLayer => ({ kind: "env", variables: { UNIQUE: `${Date.now()}-${Math.random()}` } });

describe.skipIf(reason)("docker image builder", () => {
  const builder = dockerImageBuilder(builderOptionsForTests());
  let docker: DockerClient;
  beforeAll(async () => {
    docker = await dockerClient()();
    await builder.build({ python: "3.11", layers: [] }, () => {}, never);
  });
  const build = (layers: ImageLayer[], onEvent: (event: BuildEvent) => void = () => {}, signal = never) =>
    builder.build({ python: "3.11", layers }, onEvent, signal);

  test("a spec without layers is the base image", async () => {
    const { ref, cached } = await build([]);
    expect(ref).toMatch(/^sha256:/);
    expect(cached).toBe(true);
    expect(await builder.has(ref)).toBe(true);
    expect(await builder.has(`sha256:${"0".repeat(64)}`)).toBe(false);
    expect((await runIn(ref, ["python", "-c", "import sys; print(sys.version_info[:2])"])).output).toBe("(3, 11)\n");
  });

  test("installs pip packages, runs commands, sets variables, in order", async () => {
    const events: BuildEvent[] = [];
    const layers: ImageLayer[] = [
      unique(),
      { kind: "pip", packages: ["six==1.17.0"] },
      { kind: "env", variables: { AWKWARD: `a "b" $HOME \\n \${x} 'c' #d \`e\` ü` } },
      {
        kind: "run",
        commands: [
          [
            "python",
            "-c",
            "import os,sys; open('/kept','w').write(os.environ['AWKWARD'] + sys.argv[1])",
            "$HOME <<EOF \\ \" ü ' `x` #",
          ],
        ],
      },
    ];
    const first = await build(layers, (event) => events.push(event));
    expect(first.cached).toBe(false);
    expect(await build(layers)).toEqual({ ref: first.ref, cached: true });
    const { output } = await runIn(first.ref, [
      "python",
      "-c",
      "import six; print(six.__version__, open('/kept').read())",
    ]);
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the text that must not be expanded
    expect(output).toBe("1.17.0 a \"b\" $HOME \\n ${x} 'c' #d `e` ü$HOME <<EOF \\ \" ü ' `x` #\n");
    expect(events.some(({ kind, text }) => kind === "step" && text.includes("six==1.17.0"))).toBe(true);
    expect(events.some(({ kind, text }) => kind === "log" && text.includes("Successfully installed six"))).toBe(true);
  });

  test("leaves nothing of the operator's settings in the image", async () => {
    const { ref } = await build([unique(), { kind: "pip", packages: ["six"] }]);
    const { Config } = await docker.getImage(ref).inspect();
    expect(Config.Env?.map((entry) => entry.split("=")[0]).sort()).toEqual(["PATH", "UNIQUE"]);
    const found = await runIn(ref, ["sh", "-c", "ls -A /run/fabric-build 2>/dev/null; ls -A /root"]);
    expect(found.output).not.toMatch(/ca\.crt|pip\.conf|npmrc/);
  });

  test("installs apt packages", async () => {
    const { ref } = await build([unique(), { kind: "apt", packages: ["hello"] }]);
    expect((await runIn(ref, ["hello"])).output).toContain("Hello, world!");
  });

  test("a failing pip install is the user's error, with the log's last lines", async () => {
    const failing = build([{ kind: "pip", packages: ["six==0.0.0.1"] }]);
    await expect(failing).rejects.toMatchObject({
      code: "image_build_failed",
      message: expect.stringContaining("No matching distribution found for six==0.0.0.1"),
    });
  });

  test("a bad spec is refused before Docker sees it", async () => {
    await expect(build([{ kind: "pip", packages: ["six\nRUN touch /x"] }])).rejects.toMatchObject({
      code: "image_spec_invalid",
    });
    await expect(build([{ kind: "pip", packages: ["--index-url=http://evil"] }])).rejects.toMatchObject({
      code: "image_spec_invalid",
    });
    await expect(build([{ kind: "env", variables: { A: "b\nRUN x" } }])).rejects.toMatchObject({
      code: "image_spec_invalid",
    });
  });

  test("the same spec at the same time is built once, and both hear of it", async () => {
    const layers: ImageLayer[] = [unique(), { kind: "run", commands: [["python", "-c", "print('once')"]] }];
    const heard: string[][] = [[], []];
    const results = await Promise.all(heard.map((lines) => build(layers, ({ text }) => lines.push(text))));
    expect(results[0]).toEqual(results[1]);
    for (const lines of heard) expect(lines.filter((text) => text === "once")).toHaveLength(1);
  });

  test("aborting leaves no image behind", async () => {
    const stop = new AbortController();
    const label = `${Date.now()}`;
    const layers: ImageLayer[] = [
      {
        kind: "run",
        commands: [["python", "-c", `print('begun', flush=True); import time; time.sleep(600); '${label}'`]],
      },
    ];
    const before = (await docker.listImages({ filters: { label: ["fabric.image"] } })).length;
    const building = build(layers, ({ text }) => text === "begun" && stop.abort(new Error("enough")), stop.signal);
    await expect(building).rejects.toThrow("enough");
    expect((await docker.listImages({ filters: { label: ["fabric.image"] } })).length).toBe(before);
  });

  test("runs Python over a folder, without network", async () => {
    const files = mkdtempSync(join(tmpdir(), "describe-"));
    writeFileSync(
      join(files, "mod.py"),
      "import sys,socket\nprint('args', sys.argv[1:], [n for _, n in socket.if_nameindex()])\nsys.stderr.write('err')\nsys.exit(4)",
    );
    const result = await builder.runPython("3.11", files, ["mod", "a b"], never);
    expect(result).toEqual({ code: 4, stdout: "args ['a b'] ['lo']\n", stderr: "err" });
    expect(await builder.runPython("3.11", files, ["-c", "print(1)"], never)).toMatchObject({ code: 0, stdout: "1\n" });
  });
});
