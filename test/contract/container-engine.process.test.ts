/** The process engine against the contract, with a virtual environment of this machine's Python. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "../../core/run-command.ts";
import { processEngine } from "../../runner/engine/process.ts";
import { containerEngineContract } from "./container-engine.ts";

containerEngineContract(
  "process engine",
  async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "process-engine-"));
    const image = join(dataDir, "image");
    const { code, stderr } = await runCommand("python3", ["-m", "venv", "--without-pip", image]);
    if (code !== 0) throw new Error(`python3 -m venv: ${stderr}`);
    return {
      make: () => processEngine({ dataDir }),
      image,
      missingImage: join(dataDir, "nothing"),
      async kill(_engine, id, signal) {
        const [pid] = readFileSync(join(dataDir, "processes", id, "pid"), "utf8").split(" ");
        process.kill(-Number(pid), signal);
      },
      async cleanUp() {
        rmSync(dataDir, { recursive: true, force: true });
      },
    };
  },
  { readOnlyFolders: "the process engine runs as the runner's own user and cannot forbid writing" },
);
