/** Run once after a fabric's processes have ended: removes what is left of this node's containers, network and cgroup. */
import { loadConfig } from "../../core/config.ts";
import { asFabricError } from "../../core/errors.ts";
import { clearFolders, clearNode } from "../clear-node.ts";
import { runnerDirs } from "../dirs.ts";
import { type DockerEngineOptions, dockerEngine, removeDockerTraces } from "../engine/docker.ts";
import { processEngine } from "../engine/process.ts";
import { nodeIdentity } from "../node-identity.ts";

const config = loadConfig();
const identity = nodeIdentity(config);

async function clearDocker(): Promise<string[]> {
  const { fabric, node } = identity;
  const options: DockerEngineOptions = { fabric, node, dockerHost: config.dockerHost || undefined };
  try {
    const removed = await clearNode(dockerEngine(options), identity);
    await removeDockerTraces(options);
    return removed;
  } catch (thrown) {
    // Where no daemon was asked for, one that does not answer has nothing of ours.
    if (config.engine === "auto" && asFabricError(thrown).code === "engine_unavailable") return [];
    throw thrown;
  }
}

const removed = await clearNode(processEngine({ dataDir: config.dataDir }), identity);
if (config.engine !== "process") removed.push(...(await clearDocker()));
await clearFolders(runnerDirs(config.dataDir));
process.stdout.write(`${JSON.stringify({ removed })}\n`);
process.exit(0);
