/** Makes the base image of a Python version ahead of the first deploy: `node dist/base-image.js 3.11`. */
import { loadConfig } from "../../core/config.ts";
import { asFabricError } from "../../core/errors.ts";
import { dockerImageBuilder } from "../../gateway/build/docker-builder.ts";

const python = process.argv[2] ?? "3.11";
const { dataDir, dockerHost } = loadConfig();
const stop = new AbortController();
process.once("SIGINT", () => stop.abort(new Error("interrupted")));

try {
  const { ref, cached } = await dockerImageBuilder({ dataDir, dockerHost }).build(
    { python, layers: [] },
    ({ kind, text }) => console.log(kind === "step" ? `==> ${text}` : `    ${text}`),
    stop.signal,
  );
  console.log(`Base image of Python ${python}: ${ref.slice(0, 19)}${cached ? " (there already)" : ""}`);
} catch (thrown) {
  console.error(asFabricError(thrown).message);
  process.exitCode = 1;
}
