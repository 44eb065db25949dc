/** A machine without Python: the docker engine brings its own, also for reading app files. */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { whyNoDocker } from "../docker/fixture.ts";
import { run, startFabric, type TestFabric } from "../support/fabric.ts";

const noDocker = await whyNoDocker();

/** A folder with links to every program of PATH but Python. */
async function pathWithoutPython(folder: string): Promise<string> {
  await mkdir(folder);
  for (const place of (process.env.PATH ?? "").split(delimiter).filter((one) => existsSync(one)))
    for (const name of await readdir(place))
      if (!/^(python|pypy|pip|uv)/.test(name) && !existsSync(join(folder, name)))
        await symlink(join(place, name), join(folder, name)).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== "EEXIST") throw error; // a link that leads nowhere was there before
        });
  return folder;
}

describe.skipIf(noDocker)(`without Python on PATH${noDocker ? ` (${noDocker})` : ""}`, () => {
  let folder: string;
  let fabric: TestFabric;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "fab-nopy-"));
    await mkdir(join(folder, "apps"));
    fabric = await startFabric({ engine: "docker", env: { PATH: await pathWithoutPython(join(folder, "bin")) } });
  });
  afterAll(async () => {
    await fabric?.close();
    await rm(folder, { recursive: true, force: true });
  });

  test("there is none", async () => {
    expect((await run("sh", ["-c", "command -v python3 || echo none"], fabric.env)).stdout).toBe("none\n");
  });

  test("an app is deployed, called and saves checkpoints", async () => {
    const deployed = await fabric.json<{ version: string }>("deploy", "test/apps/probe.py");
    expect(deployed.version).toBe("1");
    expect((await fabric.call("add", { a: 1, b: 2 })).body).toBe(3);
    const id = await fabric.spawn("trains", { epochs: 1 });
    expect(await fabric.ended(id)).toMatchObject({ state: "succeeded" });
  });

  test("a package is deployed from its folder, under its own name", async () => {
    await mkdir(join(folder, "apps", "shop"));
    await writeFile(join(folder, "apps", "shop", "prices.py"), "PRICE = 7\n");
    await writeFile(
      join(folder, "apps", "shop", "__init__.py"),
      [
        "import fabric_sdk as fabric",
        "from .prices import PRICE",
        'app = fabric.App("shop", image=fabric.Image.python("3.11"), memory=128, network="none")',
        "@app.function()",
        "def price() -> int:",
        "    return PRICE",
        "",
      ].join("\n"),
    );
    await fabric.json("deploy", join(folder, "apps", "shop"));
    const reply = await fabric.fetch("/f/shop/price", { method: "POST", body: "{}" });
    expect(await reply.json()).toBe(7);
  });

  test("an app file that does not import is told with its traceback and exit code", async () => {
    await writeFile(join(folder, "apps", "broken.py"), "import nowhere_to_be_found\n");
    const { code, stderr } = await fabric.cli("deploy", join(folder, "apps", "broken.py"));
    expect(code).toBeGreaterThan(0);
    expect(stderr).toContain("app_import_failed");
    expect(stderr).toContain("No module named 'nowhere_to_be_found'");
  });

  test("a file without an app is refused by the same code as elsewhere", async () => {
    await writeFile(join(folder, "apps", "empty.py"), "x = 1\n");
    const { stderr } = await fabric.cli("deploy", join(folder, "apps", "empty.py"));
    expect(stderr).toContain("app_not_defined");
  });
});
