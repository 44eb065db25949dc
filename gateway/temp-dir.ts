/** The folder for uploads in progress, and the removal of those that killed gateways left behind. */
import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";

/** Other users (a container's) may pass through to what is opened to them, and list nothing. */
export async function makeTempDir(parent = tmpdir(), alive: (pid: number) => boolean = isAlive): Promise<string> {
  // gateways of several machines or containers may share the parent: only this host's process ids say something
  const ours = `fabric-gateway-${hostname()}-`;
  for (const name of await readdir(parent)) {
    const pid = ownerOf(name, ours);
    if (pid !== undefined && (pid === process.pid || !alive(pid)))
      await rm(join(parent, name), { recursive: true, force: true });
  }
  const dir = await mkdtemp(join(parent, `${ours}${process.pid}-`));
  await chmod(dir, 0o711);
  return dir;
}

function ownerOf(name: string, prefix: string): number | undefined {
  const pid = name.startsWith(prefix) ? /^(\d+)-[^-]+$/.exec(name.slice(prefix.length))?.[1] : undefined;
  return pid === undefined ? undefined : Number(pid);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
