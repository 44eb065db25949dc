/** Tricks a function may try with what it saves; none may reach outside its scratch. */
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runCommand } from "../../../core/run-command.ts";
import { filesBelow, openBelow, relativePath } from "../../../runner/open-below.ts";

let root: string;
let scratch: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "below-"));
  scratch = join(root, "scratch");
  await mkdir(join(scratch, "saved", "deep"), { recursive: true });
  await writeFile(join(scratch, "saved", "a.bin"), "a");
  await writeFile(join(scratch, "saved", "deep", "b.bin"), "b");
  await mkdir(join(root, "secret"));
  await writeFile(join(root, "secret", "key"), "secret");
});
afterEach(() => rm(root, { recursive: true, force: true }));

const refused = { code: "checkpoint_invalid" };

describe("open below", () => {
  it("finds and opens plain files", async () => {
    expect(await filesBelow(scratch, "saved")).toEqual(["a.bin", "deep/b.bin"]);
    const handle = await openBelow(scratch, "saved/deep/b.bin");
    expect((await handle.readFile()).toString()).toBe("b");
    await handle.close();
  });

  it("refuses a link to a file, a link to a folder, and a folder reached through a link", async () => {
    await symlink(join(root, "secret", "key"), join(scratch, "saved", "link"));
    await expect(filesBelow(scratch, "saved")).rejects.toMatchObject(refused);
    await expect(openBelow(scratch, "saved/link")).rejects.toMatchObject(refused);
    await symlink(join(root, "secret"), join(scratch, "out"));
    await expect(filesBelow(scratch, "out")).rejects.toMatchObject(refused);
    await expect(openBelow(scratch, "out/key")).rejects.toMatchObject(refused);
  });

  it("refuses pipes without waiting for a writer", async () => {
    await runCommand("mkfifo", [join(scratch, "saved", "pipe")]);
    await expect(filesBelow(scratch, "saved")).rejects.toMatchObject(refused);
    await expect(openBelow(scratch, "saved/pipe")).rejects.toMatchObject(refused);
  });

  it("refuses paths that lead up", () => {
    for (const path of ["../secret", "/etc", "a/../../b", "a\0b"]) expect(() => relativePath(path)).toThrow();
    expect(relativePath("saved/./deep/")).toBe("saved/deep");
  });

  it("never reads outside while a folder is being swapped for a link", async () => {
    const folder = join(scratch, "saved");
    let swapping = true;
    const swap = (async () => {
      while (swapping) {
        await rename(folder, join(scratch, "aside"));
        await symlink(join(root, "secret"), folder);
        await rm(folder);
        await rename(join(scratch, "aside"), folder);
      }
    })();
    for (let i = 0; i < 300; i++) {
      const handle = await openBelow(scratch, "saved/key").catch((error) => error as { code: string });
      expect(handle).toMatchObject(refused);
      const names = await filesBelow(scratch, "saved").catch((error: { code: string }) => error.code);
      expect(names).not.toContain("key");
    }
    swapping = false;
    await swap;
  });
});
