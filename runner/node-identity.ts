/** Who this node is: ids from the configuration, or made at the first start and kept in the data directory. */
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { newId } from "../core/ids.ts";
import type { NodeIdentity } from "./container-plan.ts";

/** The runner's id follows from the node's, so that a restarted runner still owns its leases. */
export function nodeIdentity(config: { dataDir: string; fabricId: string; nodeId: string }): NodeIdentity {
  const fabric = config.fabricId || keptId(config.dataDir, "fabric-id", () => newId("fab"));
  const node = config.nodeId || keptId(config.dataDir, "node-id", () => newId("nod"));
  return { fabric, node, runner: `run-${node}` };
}

function keptId(dataDir: string, name: string, make: () => string): string {
  const path = join(dataDir, name);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, `${make()}\n`, { mode: 0o600 });
  try {
    linkSync(draft, path);
  } catch (thrown) {
    // The first one who wrote it decided.
    if ((thrown as NodeJS.ErrnoException).code !== "EEXIST") throw thrown;
  } finally {
    rmSync(draft);
  }
  return readFileSync(path, "utf8").trim();
}
