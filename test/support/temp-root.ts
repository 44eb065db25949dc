/** Makes the programs that tests start, and one folder for all temporary files, also of processes that are killed; removed at the end. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

export function setup(): () => void {
  execFileSync(process.execPath, ["bin/bundle.js"]);
  const before = process.env.TMPDIR;
  const root = mkdtempSync(join(tmpdir(), "ft-")); // short: sockets lie below it
  chmodSync(root, 0o755); // other users' processes have files below it too
  process.env.TMPDIR = root;
  process.env.FABRIC_TEST_KEPT = dirname(root);
  return () => {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
    // Processes that were killed a moment ago may still be writing.
    rmSync(root, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  };
}
