/** Builds image specs as virtual environments of this machine's Python, for the process engine. */
import { randomBytes } from "node:crypto";
import { access, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FabricError, fail } from "../../core/errors.ts";
import type { BuildEvent, ImageBuilder } from "../../core/image-builder.ts";
import { runCommand } from "../../core/run-command.ts";
import type { ImageLayer, ImageSpec } from "../../core/spec.ts";
import { checkedSpec } from "./checked-spec.ts";
import { type BuildSettings, specHash } from "./dockerfile.ts";
import { type HostPython, hostPython } from "./host-python.ts";
import { pythonArguments } from "./run-python.ts";
import { sharedBuilds } from "./shared-build.ts";

export interface ProcessImageBuilderOptions extends BuildSettings {
  dataDir: string;
  /** Interpreters to try before those on PATH. */
  pythons?: string[];
  /** Folder with fabric_sdk for `runPython`, asked for when first needed. */
  sdkDir?: () => Promise<string>;
}

/** Written last: a folder without it is what an interrupted build left. Environments hold absolute paths, so they are made in place. */
const COMPLETE = ".complete";
const LAST_LINES = 20;
const SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin";

interface Built {
  ref: string;
  cached: boolean;
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

function settingsEnvironment({ caBundle, pipIndexUrl, npmRegistry }: BuildSettings): Record<string, string> {
  return {
    PIP_DISABLE_PIP_VERSION_CHECK: "1",
    PIP_PROGRESS_BAR: "off",
    ...(caBundle
      ? { PIP_CERT: caBundle, SSL_CERT_FILE: caBundle, REQUESTS_CA_BUNDLE: caBundle, NODE_EXTRA_CA_CERTS: caBundle }
      : {}),
    ...(pipIndexUrl ? { PIP_INDEX_URL: pipIndexUrl } : {}),
    ...(npmRegistry ? { NPM_CONFIG_REGISTRY: npmRegistry } : {}),
  };
}

/** The commands of a layer, to be run with the environment's bin first on PATH. */
function commandsOf(layer: ImageLayer, folder: string): string[][] {
  switch (layer.kind) {
    case "pip":
      return [[join(folder, "bin", "python"), "-m", "pip", "install", "--no-input", "--", ...layer.packages]];
    case "run":
      return layer.commands;
    case "apt":
      return fail(
        "image_build_failed",
        `The process engine cannot install Debian packages (${layer.packages.join(" ")}): it would change this machine. Use the docker engine.`,
      );
    case "env":
      return [];
  }
}

export function processImageBuilder(options: ProcessImageBuilderOptions): ImageBuilder {
  const root = join(options.dataDir, "images");
  const share = sharedBuilds<Built>();

  async function buildIn(
    folder: string,
    spec: ImageSpec,
    python: HostPython,
    tell: (event: BuildEvent) => void,
    signal: AbortSignal,
  ): Promise<Built> {
    if (await exists(join(folder, COMPLETE))) return { ref: folder, cached: true };
    await rm(folder, { recursive: true, force: true });
    await mkdir(root, { recursive: true });
    const variables: Record<string, string> = {};
    const run = async ([program, ...args]: string[]): Promise<void> => {
      const lines: string[] = [];
      tell({ kind: "step", text: [program, ...args].join(" ") });
      const { code } = await runCommand(program!, args, {
        cwd: folder,
        env: {
          PATH: `${folder}/bin:${SYSTEM_PATH}`,
          HOME: folder,
          TMPDIR: tmpdir(),
          LANG: "C.UTF-8",
          ...settingsEnvironment(options),
          ...variables,
        },
        signal,
        onLine(text) {
          lines.push(text);
          tell({ kind: "log", text });
        },
      });
      if (code !== 0)
        fail(
          "image_build_failed",
          [`${program} ${args.join(" ")} ended with exit code ${code}`, ...lines.slice(-LAST_LINES)].join("\n"),
        );
    };
    try {
      await mkdir(folder);
      // Putting pip into an environment takes seconds; one that only runs what is there does without.
      const wantsPip = spec.layers.some(({ kind }) => kind === "pip" || kind === "run");
      await run([python.path, "-m", "venv", ...(wantsPip ? [] : ["--without-pip"]), folder]);
      for (const layer of spec.layers) {
        for (const command of commandsOf(layer, folder)) await run(command);
        if (layer.kind === "env") Object.assign(variables, layer.variables);
      }
      await writeFile(join(folder, "variables.json"), JSON.stringify(variables));
      await writeFile(join(folder, COMPLETE), "");
      return { ref: folder, cached: false };
    } catch (thrown) {
      // Out of the way first: a child that still writes there must not be met by the next build of this spec.
      const aside = `${folder}.${randomBytes(4).toString("hex")}`;
      await rename(folder, aside);
      await rm(aside, { recursive: true, force: true });
      signal.throwIfAborted();
      if (thrown instanceof FabricError) throw thrown;
      throw new FabricError(
        "image_build_failed",
        thrown instanceof Error ? thrown.message : String(thrown),
        undefined,
        { cause: thrown },
      );
    }
  }

  return {
    async build(untrusted, onEvent, signal) {
      const spec = checkedSpec(untrusted);
      for (const layer of spec.layers) commandsOf(layer, root);
      const python = await hostPython(spec.python, options.pythons);
      const folder = join(root, specHash(spec, `${python.path} ${python.version}`).slice(0, 32));
      return share(folder, (tell, until) => buildIn(folder, spec, python, tell, until), onEvent, signal);
    },

    has: (ref) => exists(join(ref, COMPLETE)),

    async runPython(python, files, args, signal) {
      const { path } = await hostPython(python, options.pythons);
      const sdk = await options.sdkDir?.();
      return runCommand(path, pythonArguments(args), {
        cwd: files,
        env: {
          PATH: SYSTEM_PATH,
          HOME: tmpdir(),
          TMPDIR: tmpdir(),
          LANG: "C.UTF-8",
          PYTHONDONTWRITEBYTECODE: "1",
          ...(sdk ? { PYTHONPATH: sdk } : {}),
        },
        signal,
      });
    },
  };
}
