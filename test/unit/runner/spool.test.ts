/** A streamed result on its way to disk. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { expect, it } from "vitest";
import { spool } from "../../../runner/publish.ts";

it("is taken whole, and no more of it than allowed", async () => {
  const dir = await mkdtemp(join(tmpdir(), "fabric-spool-"));
  const body = () => Readable.from([Buffer.alloc(600), Buffer.alloc(400)]);
  const file = join(dir, "result");
  expect(await spool(body(), file, "json", 1000)).toEqual({ encoding: "json", file, size: 1000 });
  await rm(file);
  await expect(spool(body(), file, "json", 999)).rejects.toMatchObject({ code: "result_too_large" });
  expect(await readdir(dir)).toEqual([]);
  await rm(dir, { recursive: true });
});
