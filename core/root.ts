/** fabric's own folder, where what is no code lies: Lua scripts, the Python package, pages. The same from sources and from the bundle. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

const rootOf = (folder: string): string =>
  existsSync(join(folder, "package.json")) ? folder : rootOf(dirname(folder));

export const ROOT = rootOf(import.meta.dirname);
export const PYTHON_SDK = join(ROOT, "sdk", "python", "src");
