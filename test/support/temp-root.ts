/** One folder for all temporary files of a test run, also of the processes it starts and kills; removed when it ends. */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

export function setup(): () => void {
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
