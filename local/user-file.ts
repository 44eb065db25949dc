/** Writes and reads the user's config file, through which the command line and the SDKs find a fabric on this machine. */

import { parseUserConfig, type UserConfig } from "../core/user-config.ts";
import { readIfThere, writePrivate } from "./data-dir.ts";
import { LocalFailure } from "./failure.ts";

export const writeUserConfig = (path: string, user: UserConfig): void =>
  writePrivate(path, `${JSON.stringify(user, null, 2)}\n`);

export function readUserConfig(path: string): UserConfig | undefined {
  const text = readIfThere(path);
  if (text === undefined) return undefined;
  const user = parseUserConfig(text);
  if (user) return user;
  throw new LocalFailure(`${path} is damaged`, "Delete it; `fabric up` writes it again.");
}
