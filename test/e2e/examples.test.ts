/** Every example does what its own text says: the commands in it are run as they stand, in its folder. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { findAws } from "../contract/tools.ts";
import { whyNoDocker } from "../docker/fixture.ts";
import { type CliResult, run, startFabric, type TestFabric } from "../support/fabric.ts";

const EXAMPLES = fileURLToPath(new URL("../../sdk/examples/", import.meta.url));
const CLI = fileURLToPath(new URL("../../bin/fabric.js", import.meta.url));
const noDocker = await whyNoDocker();
const aws = await findAws();
const names = (await readdir(EXAMPLES)).filter((name) => name.endsWith(".py"));
/** What needs more than this machine may have. */
const skips: Record<string, string | undefined> = {
  "digits.py": noDocker,
  "finetune_bert.py": "its image with torch takes minutes to build and gigabytes",
};

let fabric: TestFabric;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fab-examples-"));
  fabric = await startFabric({ engine: noDocker ? "process" : "docker" });
});
afterAll(async () => {
  await fabric?.close();
  await rm(folder, { recursive: true, force: true });
});

/** The words of each `fabric deploy|invoke|run ...` in a text, without the quotes of a shell. */
function commands(text: string): string[][] {
  const found = text.match(/\bfabric (?:deploy|invoke|run)(?: (?:'[^'\n]*'|[^\s,'"`]+))+/g) ?? [];
  return found.map((line) => (line.match(/'[^']*'|\S+/g) ?? []).slice(1).map((word) => word.replaceAll("'", "")));
}

const well = ({ code, stdout, stderr }: CliResult): string => {
  expect(code, stdout + stderr).toBe(0);
  return stdout;
};
const inExamples = (words: string[]) => run(process.execPath, [CLI, ...words], fabric.env, EXAMPLES);

for (const name of names)
  test.skipIf(skips[name])(`${name}${skips[name] ? ` (${skips[name]})` : ""}`, async () => {
    const told = commands(await readFile(join(EXAMPLES, name), "utf8"));
    const verbs = told.map(([verb]) => verb);
    for (const verb of ["deploy", "invoke", "run"]) expect(verbs, `${name} tells how to ${verb} it`).toContain(verb);
    // what is invoked has to be deployed before
    told.sort(([a], [b]) => Number(b === "deploy") - Number(a === "deploy"));
    for (const words of told) expect(well(await inExamples(words)), words.join(" ")).not.toBe("");
  });

test.skipIf(noDocker)(
  "the digits' best checkpoint is fetched by fabric, and the same by aws s3 sync",
  async (context) => {
    const best = JSON.parse(well(await inExamples(["invoke", "digits/predict", "--json", '{"index": 3}'])));
    expect(best).toMatchObject({ digit: 3 });
    const pulled = join(folder, "pulled");
    well(await inExamples(["checkpoint", "pull", "digits", "--best", "accuracy", pulled]));
    expect((await readdir(pulled)).sort()).toEqual(["model.pkl", "progress.json"]);
    if (!aws) return context.skip("no aws-cli of 1.29, 2.13 or newer here; scripts/setup.sh --tests installs one");
    const synced = join(folder, "synced");
    const step = String(best.checkpoint).padStart(8, "0");
    const source = `s3://${fabric.env.FABRIC_BUCKET}/checkpoints/digits/${step}/`;
    well(await run(aws, ["s3", "sync", source, synced], fabric.env));
    expect((await readdir(synced)).sort()).toEqual(["manifest.json", "model.pkl", "progress.json"]);
    for (const file of await readdir(pulled))
      expect(await readFile(join(synced, file))).toEqual(await readFile(join(pulled, file)));
  },
);
