/** Says what an uploaded source tree defines, by importing it in a container without network: for clients without that Python. */
import { createReadStream, createWriteStream } from "node:fs";
import { chmod, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { extract } from "tar-stream";
import { z } from "zod";
import { ERRORS, type ErrorCode, fail } from "../core/errors.ts";
import type { GatewayDeps } from "./deps.ts";
import { withUploadedArchive } from "./receive-upload.ts";

type Deps = Pick<GatewayDeps, "builder" | "tempDir" | "limits">;

export async function describe(
  deps: Deps,
  request: Request,
  { path, python }: { path: string; python: string },
): Promise<unknown> {
  checkEntryPath(path);
  if (!/^3\.\d{1,2}$/.test(python)) fail("bad_request", "python is a minor version such as 3.11");
  const options = { tempDir: deps.tempDir, limitBytes: deps.limits.sourceBytes };
  return withUploadedArchive(request, options, async ({ dir, file }) => {
    const tree = join(dir, "tree");
    await unpack(file, tree);
    // The container's user is another one.
    await chmod(dir, 0o711);
    const { code, stdout, stderr } = await deps.builder.runPython(
      python,
      tree,
      ["fabric_sdk.describe", path],
      request.signal,
    );
    return readDescription(code, stdout, stderr);
  });
}

/** A file of the tree; never an option, never outside. */
function checkEntryPath(path: string): void {
  const isInside = path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
  if (!isInside || !/^[\w.][\w./-]*$/.test(path)) fail("bad_request", "path names a file or folder of the archive");
}

/** Only after `checkArchive`: names are below the root and no entry is a link. */
async function unpack(file: string, into: string): Promise<void> {
  const tar = extract();
  tar.on("entry", (header, body, next) => {
    const target = join(into, header.name);
    const write = async (): Promise<void> => {
      await mkdir(header.type === "directory" ? target : dirname(target), { recursive: true });
      const sink = header.type === "directory" ? discard() : createWriteStream(target, { flags: "wx", mode: 0o644 });
      await pipeline(body, sink);
    };
    write().then(() => next(), next);
  });
  await mkdir(into);
  await pipeline(createReadStream(file), createGunzip(), tar);
}

const discard = (): Writable => new Writable({ write: (_chunk, _encoding, done) => done() });

/** The describer's last line is its answer, also where it refuses: then with a code of our table. */
function readDescription(code: number, stdout: string, stderr: string): unknown {
  const last = stdout.trimEnd().split("\n").at(-1) ?? "";
  const told = parsed(last);
  const refused = refusal.safeParse(told);
  if (refused.success) {
    const { code: named, message } = refused.data.error;
    fail(Object.hasOwn(ERRORS, named) ? (named as ErrorCode) : "app_import_failed", message);
  }
  if (code !== 0) fail("app_import_failed", stderr.slice(-16_384) || `describing the app ended with code ${code}`);
  if (told === undefined) fail("app_import_failed", `describing the app did not end in JSON: ${last.slice(0, 500)}`);
  return told;
}

const refusal = z.object({ error: z.object({ code: z.string(), message: z.string().max(16_384) }) });

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
