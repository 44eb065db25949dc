/** Hands host folders to the user a container runs as. */
import { chmod, lchown, readdir } from "node:fs/promises";
import { join } from "node:path";

export interface Owner {
  uid: number;
  gid: number;
}

/** Who functions run as unless somebody says otherwise: a runner that is not root could not give its folders away. */
export const defaultUser = (): Owner => {
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
  return uid === 0 ? { uid: 10001, gid: 10001 } : { uid, gid };
};

/** Links are owned, never followed. */
export async function giveTree(folder: string, { uid, gid }: Owner): Promise<void> {
  await lchown(folder, uid, gid);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await giveTree(path, { uid, gid });
    else await lchown(path, uid, gid);
  }
}

/** A socket that exists already gets the container's user as owner: connecting takes the right to write. */
export async function giveSockets(folder: string, { uid, gid }: Owner): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isSocket()) await lchown(join(folder, entry.name), uid, gid);
  }
}
