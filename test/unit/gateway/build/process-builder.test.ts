/** Environments of the process engine: made once, complete or gone. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { runCommand } from "../../../../core/run-command.ts";
import type { ImageLayer } from "../../../../core/spec.ts";
import { processImageBuilder } from "../../../../gateway/build/process-builder.ts";

const dataDir = mkdtempSync(join(tmpdir(), "process-builder-"));
const never = new AbortController().signal;
const { stdout } = await runCommand("python3", ["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]);
const python = stdout.trim();

describe.skipIf(python === "")(`process image builder${python === "" ? " (skipped: no python3 on PATH)" : ""}`, () => {
  afterAll(() => rmSync(dataDir, { recursive: true, force: true }));
  const builder = processImageBuilder({ dataDir });
  const build = (layers: ImageLayer[], signal = never, onText: (text: string) => void = () => {}) =>
    builder.build({ python, layers }, ({ text }) => onText(text), signal);
  mkdirSync(join(dataDir, "images"));
  const left = () => readdirSync(join(dataDir, "images"));

  test("makes an environment with its variables, once", async () => {
    const layers: ImageLayer[] = [
      { kind: "env", variables: { GIVEN: "a 'b'\nc" } },
      {
        kind: "run",
        commands: [["python", "-c", "import os,sys; open('kept','w').write(sys.prefix + os.environ['GIVEN'])"]],
      },
    ];
    const [first, second] = await Promise.all([build(layers), build(layers)]);
    expect(first).toEqual(second);
    expect(first.cached).toBe(false);
    expect(await build(layers)).toEqual({ ref: first.ref, cached: true });
    expect(await builder.has(first.ref)).toBe(true);
    const { stdout: kept } = await runCommand("cat", [join(first.ref, "kept")]);
    expect(kept).toBe(`${first.ref}a 'b'\nc`);
  });

  test("a failing command is the user's error and leaves nothing", async () => {
    const before = left();
    const failing = build([{ kind: "run", commands: [["python", "-c", "raise SystemExit('no such luck')"]] }]);
    await expect(failing).rejects.toMatchObject({
      code: "image_build_failed",
      message: expect.stringContaining("no such luck"),
    });
    expect(left()).toEqual(before);
  });

  test("aborting leaves nothing", async () => {
    const before = left();
    const stop = new AbortController();
    const building = build(
      [{ kind: "run", commands: [["python", "-c", "import time; print('begun', flush=True); time.sleep(600)"]] }],
      stop.signal,
      (text) => text === "begun" && stop.abort(new Error("enough")),
    );
    await expect(building).rejects.toThrow("enough");
    expect(left()).toEqual(before);
  });

  test("apt layers and unknown versions are refused with the way out", async () => {
    await expect(build([{ kind: "apt", packages: ["git"] }])).rejects.toMatchObject({
      code: "image_build_failed",
      message: expect.stringContaining("docker engine"),
    });
    await expect(builder.build({ python: "3.99", layers: [] }, () => {}, never)).rejects.toMatchObject({
      code: "image_python_unavailable",
    });
    expect(await builder.has(join(dataDir, "images", "nothing"))).toBe(false);
  });

  test("runs a module of a folder", async () => {
    const files = join(dataDir, "files");
    mkdirSync(files);
    writeFileSync(join(files, "mod.py"), "import sys\nprint(sys.argv[1:])\nsys.exit(4)");
    expect(await builder.runPython(python, files, ["mod", "a b"], never)).toEqual({
      code: 4,
      stdout: "['a b']\n",
      stderr: "",
    });
  });
});
