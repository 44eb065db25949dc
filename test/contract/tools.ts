/** Where tests find programs that are not ours: the test tools' venv first, then PATH. */
import { execFile } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export async function findTool(program: string): Promise<string | undefined> {
  const venv = process.env.FABRIC_TEST_TOOLS || "/opt/fabric-test-tools";
  for (const dir of [join(venv, "bin"), ...(process.env.PATH ?? "").split(delimiter)]) {
    const path = join(dir, program);
    if (await works(access(path, constants.X_OK))) return path;
  }
  return undefined;
}

/** A Python that has the module. */
export async function findPython(module: string): Promise<string | undefined> {
  const python = await findTool("python3");
  return python && (await works(run(python, ["-c", `import ${module}`]))) ? python : undefined;
}

/** `aws` from 2.13 or 1.29: older ones do not know AWS_ENDPOINT_URL. */
export async function findAws(): Promise<string | undefined> {
  const aws = await findTool("aws");
  if (!aws) return undefined;
  const { stdout } = await run(aws, ["--version"]);
  const [major, minor] = (/aws-cli\/(\d+)\.(\d+)/.exec(stdout) ?? []).slice(1).map(Number) as [number, number];
  return major > 2 || (major === 2 && minor >= 13) || (major === 1 && minor >= 29) ? aws : undefined;
}

const works = (attempt: Promise<unknown>): Promise<boolean> =>
  attempt.then(
    () => true,
    () => false,
  );
