/** Who this node is: ids from the configuration, or made at the first start and kept in the data directory. */
import { newId } from "../core/ids.ts";
import { fabricIdOf, keptId } from "../core/kept-id.ts";
import type { NodeIdentity } from "./container-plan.ts";

/** The runner's id follows from the node's, so that a restarted runner still owns its leases. */
export function nodeIdentity(config: { dataDir: string; fabricId: string; nodeId: string }): NodeIdentity {
  const node = config.nodeId || keptId(config.dataDir, "node-id", () => newId("nod"));
  return { fabric: fabricIdOf(config), node, runner: `run-${node}` };
}
