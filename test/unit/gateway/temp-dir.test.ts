/** A gateway's temporary folder, and what becomes of those of gateways that were killed. */
import { mkdir, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { makeTempDir } from "../../../gateway/temp-dir.ts";

it("removes what dead gateways of this host left, and nothing else", async () => {
  const parent = await mkdtemp(join(tmpdir(), "temp-dir-"));
  const own = `fabric-gateway-${hostname()}-`;
  const kept = [`${own}11-abcdef`, "fabric-gateway-elsewhere.example-12-abcdef", "fabric-gateway-abcdef", "other"];
  const dead = [`${own}12-abcdef`, `${own}${process.pid}-abcdef`];
  for (const name of [...kept, ...dead]) await mkdir(join(parent, name, "upload-1"), { recursive: true });
  const made = await makeTempDir(parent, (pid) => pid === 11);
  expect((await readdir(parent)).map((name) => join(parent, name)).sort()).toEqual(
    [...kept.map((name) => join(parent, name)), made].sort(),
  );
  expect((await stat(made)).mode & 0o777).toBe(0o711);
  await rm(parent, { recursive: true });
});
