/** Packing a source tree: the same bytes for the same files, nothing ignored in it, nothing from outside. */
import { chmodSync, mkdirSync, mkdtempSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { extract } from "tar-stream";
import { expect, it } from "vitest";
import { type Bundle, pack } from "../../../sdk/cli/pack.ts";

function tree(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), "fabric-pack-"));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), content);
  }
  return root;
}

async function entries(
  bundle: Bundle,
): Promise<Record<string, { content: string; mode?: number; type?: string | null }>> {
  const found: Record<string, { content: string; mode?: number; type?: string | null }> = {};
  const reader = Readable.fromWeb(bundle.open() as never)
    .pipe(createGunzip())
    .pipe(extract());
  for await (const entry of reader) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    const { name, mode, type } = entry.header;
    found[name] = { content: Buffer.concat(chunks).toString(), mode, type };
  }
  await bundle.discard();
  return found;
}

it("makes the same bytes of the same files, whenever and wherever they lie", async () => {
  const files = { "b.py": "b", "a/x.py": "x", "a.py": "a" };
  const [one, two] = [tree(files), tree(files)];
  utimesSync(join(two, "b.py"), 1, 1);
  const [first, second] = [await pack(one), await pack(two)];
  expect(second.sha256).toBe(first.sha256);
  writeFileSync(join(two, "b.py"), "changed");
  expect((await pack(two)).sha256).not.toBe(first.sha256);
});

it("packs plain files with their executable bit", async () => {
  const root = tree({ "app.py": "print()", "bin/tool": "#!/bin/sh", empty: "" });
  chmodSync(join(root, "bin/tool"), 0o700);
  expect(await entries(await pack(root))).toEqual({
    "app.py": { content: "print()", mode: 0o644, type: "file" },
    "bin/tool": { content: "#!/bin/sh", mode: 0o755, type: "file" },
    empty: { content: "", mode: 0o644, type: "file" },
  });
});

it("leaves out what ignore files name, and what never belongs", async () => {
  const root = tree({
    "app.py": "",
    ".gitignore": "data/\n*.log",
    ".fabricignore": "notes.txt",
    "data/big": "",
    "x.log": "",
    "notes.txt": "",
    ".git/HEAD": "",
    "node_modules/x/index.js": "",
    "lib/__pycache__/a.pyc": "",
    "lib/a.py": "",
    "lib/.gitignore": "local.py",
    "lib/local.py": "",
    "local.py": "",
    ".venv/bin/python": "",
  });
  expect(Object.keys(await entries(await pack(root)))).toEqual([
    ".fabricignore",
    ".gitignore",
    "app.py",
    "lib/.gitignore",
    "lib/a.py",
    "local.py",
  ]);
});

it("packs links within the tree as what they point to", async () => {
  const root = tree({ "real/a.py": "a" });
  symlinkSync("real/a.py", join(root, "link.py"));
  symlinkSync("real", join(root, "folder"));
  const found = await entries(await pack(root));
  expect(Object.entries(found).map(([name, { content }]) => [name, content])).toEqual([
    ["folder/a.py", "a"],
    ["link.py", "a"],
    ["real/a.py", "a"],
  ]);
});

it.each([
  ["/etc/hostname", /outside/],
  ["../", /outside/],
  ["nowhere", /leads nowhere/],
  [".", /links to a folder it lies in/],
])("refuses a link to %s", async (target, message) => {
  const root = tree({ "app.py": "" });
  symlinkSync(target, join(root, "link"));
  await expect(pack(root)).rejects.toThrow(message);
});

it("adds files that exist only in memory", async () => {
  const found = await entries(await pack(tree({ "app.py": "" }), new Map([["main.pickle", Buffer.from("bytes")]])));
  expect(found["main.pickle"]?.content).toBe("bytes");
});

it("names a file that changes while it is packed", async () => {
  // The kernel's files hold more than the size they are listed with, as one does that is being written.
  await expect(pack("/proc/sys/kernel/random")).rejects.toMatchObject({
    code: "archive_invalid",
    message: expect.stringMatching(/^boot_id changed while it was packed: it had 0 bytes.*fabricignore/),
  });
});
