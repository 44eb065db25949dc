/** Stores a source bundle under the hash of its bytes, once it has been checked. */
import { createReadStream } from "node:fs";
import { fail } from "../core/errors.ts";
import type { GatewayDeps } from "./deps.ts";
import { withUploadedArchive } from "./receive-upload.ts";

const SHA256 = /^[0-9a-f]{64}$/;

export function sourceKey(sha256: string): string {
  if (!SHA256.test(sha256)) fail("bad_request", "a source is named by its sha256: 64 hexadecimal digits in lower case");
  return `sources/${sha256}.tar.gz`;
}

type Deps = Pick<GatewayDeps, "objects" | "tempDir" | "limits">;

export const hasSource = async ({ objects }: Pick<Deps, "objects">, sha256: string): Promise<boolean> =>
  (await objects.head(sourceKey(sha256))) !== undefined;

/** `created: false`: these bytes were there already. */
export async function uploadSource(
  deps: Deps,
  sha256: string,
  request: Request,
): Promise<{ created: boolean; size: number }> {
  const key = sourceKey(sha256);
  const options = { tempDir: deps.tempDir, limitBytes: deps.limits.sourceBytes };
  return withUploadedArchive(request, options, async (archive) => {
    if (archive.sha256 !== sha256)
      fail("bad_request", `the body's sha256 is ${archive.sha256}, the URL says ${sha256}`, { sha256: archive.sha256 });
    const { created } = await deps.objects.put(key, createReadStream(archive.file), {
      size: archive.size,
      ifNoneMatch: true,
      contentType: "application/gzip",
    });
    return { created, size: archive.size };
  });
}
