/** The doctor's judgement, on machines that do not exist. */
import { expect, it } from "vitest";
import { loadConfig } from "../../../core/config.ts";
import { atLeast, type Probe, versionIn } from "../../../local/doctor/check.ts";
import { CHECKS } from "../../../local/doctor/checks.ts";
import { examine, isFit } from "../../../local/doctor/doctor.ts";

interface Machine {
  programs?: Record<string, string>;
  node?: string;
  environment?: Record<string, string>;
  freeBytes?: number;
  packages?: Record<string, string>;
}

const GOOD: Record<string, string> = {
  "redis-server": "Redis server v=7.0.15 sha=00000000:0",
  docker: "Docker version 28.2.2, build e6534b4",
  runc: "runc version 1.2.8",
  python3: "Python 3.11.2",
  "nvidia-smi": "NVIDIA A100",
  "nvidia-ctk": "NVIDIA Container Toolkit CLI version 1.17.8",
  aws: "aws-cli/2.13.0 Python/3.11",
};

const probe = ({
  programs = GOOD,
  node = "20.19.0",
  environment = {},
  freeBytes = 1e12,
  packages = {},
}: Machine): Probe => ({
  config: loadConfig(environment),
  nodeVersion: node,
  platform: "linux",
  run: async (command) => {
    const stdout = programs[command];
    return stdout === undefined ? undefined : { code: 0, stdout, stderr: "" };
  },
  exists: (path) => path !== "/nowhere.pem",
  freeBytes: async () => freeBytes,
  packageVersion: (name) => packages[name],
});

const verdicts = async (machine: Machine): Promise<Record<string, string>> =>
  Object.fromEntries((await examine(CHECKS, probe(machine))).map(({ name, verdict }) => [name, verdict]));

it("finds nothing to complain about on a good machine but the base image", async () => {
  const found = Object.entries(await verdicts({})).filter(([, verdict]) => verdict !== "ok");
  expect(found).toEqual([["base image", "warning"]]);
});

it("says for everything that is missing how to get it", async () => {
  const examined = await examine(CHECKS, probe({ programs: {} }));
  for (const one of examined) if (one.verdict !== "ok") expect(one.get, one.name).toBeTruthy();
  expect(examined.filter(({ verdict }) => verdict === "missing").map(({ name }) => name)).toEqual([
    "Redis server",
    "an engine (Docker or Python)",
  ]);
  expect(isFit(examined)).toBe(false);
});

it.each([
  ["Node", { node: "20.18.9" }, "missing"],
  ["Node", { node: "22.0.0" }, "ok"],
  ["Redis server", { programs: {}, environment: { FABRIC_REDIS_URL: "redis://elsewhere" } }, "ok"],
  ["Redis server", { programs: { "redis-server": "v=5.0.14" } }, "missing"],
  ["an engine (Docker or Python)", { programs: { python3: "Python 3.9.0" } }, "warning"],
  ["an engine (Docker or Python)", { programs: { python3: "Python 3.8.19" } }, "missing"],
  ["runc", { programs: { runc: "runc version 1.1.5+ds1" } }, "warning"],
  ["NVIDIA container toolkit", { programs: { "nvidia-ctk": "version 1.17.7" } }, "warning"],
  ["aws-cli", { programs: { aws: "aws-cli/2.9.19" } }, "warning"],
  ["aws-cli", { programs: { aws: "aws-cli/1.29.0" } }, "ok"],
  ["CA bundle", { environment: { FABRIC_CA_BUNDLE: "/nowhere.pem" } }, "missing"],
  ["fabric's dependencies", { packages: { hono: "4.13.4" } }, "warning"],
  ["free disk", { freeBytes: 1000 }, "missing"],
])("judges %s of %o: %s", async (name, machine, verdict) => {
  expect((await verdicts(machine as Machine))[name]).toBe(verdict);
});

it("compares versions by their numbers", () => {
  expect(atLeast("1.10", "1.9")).toBe(true);
  expect(atLeast("1.2.8", "1.2.8")).toBe(true);
  expect(atLeast("1.2", "1.2.8")).toBe(false);
  expect(versionIn("runc version 1.1.5+ds1\ncommit: x")).toBe("1.1.5");
});
