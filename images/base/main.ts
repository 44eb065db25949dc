/** Makes the base image of a Python version ahead of the first deploy: `node --import tsx images/base/main.ts 3.11`. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { asFabricError } from "../../core/errors.ts";
import { dockerImageBuilder } from "../../gateway/build/docker-builder.ts";

const python = process.argv[2] ?? "3.11";
const stop = new AbortController();
process.once("SIGINT", () => stop.abort(new Error("interrupted")));

const builder = dockerImageBuilder({ dataDir: process.env.FABRIC_DATA_DIR ?? join(tmpdir(), "fabric-base") });
try {
  const { ref, cached } = await builder.build(
    { python, layers: [] },
    ({ kind, text }) => console.log(kind === "step" ? `==> ${text}` : `    ${text}`),
    stop.signal,
  );
  console.log(`Base image of Python ${python}: ${ref.slice(0, 19)}${cached ? " (there already)" : ""}`);
} catch (thrown) {
  console.error(asFabricError(thrown).message);
  process.exitCode = 1;
}
