/** The image every Python image starts from: pulled when a registry answers, otherwise made from Debian packages. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { askDocker, askDockerUnless, type DockerClient, dockerMessage } from "../../core/docker-client.ts";
import { FabricError, fail } from "../../core/errors.ts";
import type { BuildEvent } from "../../core/image-builder.ts";
import { claimImage, SHARED } from "../../core/image-names.ts";
import { ROOT } from "../../core/root.ts";
import { runCommand } from "../../core/run-command.ts";

export interface BaseImage {
  id: string;
  /** A name that always means this id: BuildKit starts from names only. */
  tag: string;
  /** Was it there already? */
  cached: boolean;
}

export interface BaseImageOptions {
  dataDir: string;
  /** Whose claim the images get; absent: nobody's. */
  fabric?: string;
  /** Debian mirror for bases made from packages. */
  debianMirror?: string;
  /** How long a registry may take to begin with its answer. */
  registryTimeoutMs?: number;
}

/** The Debian release whose `python3` is that version. */
export const DEBIAN_RELEASES: Record<string, string> = { "3.9": "bullseye", "3.11": "bookworm", "3.13": "trixie" };

const SCRIPT = join(ROOT, "images", "base", "debootstrap.sh");
const PATH_VARIABLE = "PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** Without it debootstrap, a shell script, would find other tools than Debian's. */
const SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
const LAST_LINES = 20;

type Tell = (event: BuildEvent) => void;

const inspect = (docker: DockerClient, name: string) => askDockerUnless([404], () => docker.getImage(name).inspect());
const idOf = async (docker: DockerClient, name: string): Promise<string | undefined> =>
  (await inspect(docker, name))?.Id;

/** What a base made from packages follows from, besides the packages themselves. */
const changes = (python: string): string[] => [`ENV ${PATH_VARIABLE}`, 'CMD ["python"]', `LABEL fabric.base=${python}`];
const recipe = async (python: string): Promise<string> =>
  createHash("sha256")
    .update(JSON.stringify([await readFile(SCRIPT, "utf8"), changes(python), DEBIAN_RELEASES[python]]))
    .digest("hex")
    .slice(0, 12);

/** Made from packages, by a fabric that made it in another way. */
const isOutdated = ({ Labels }: { Labels?: Record<string, string> }, current: string): boolean =>
  Labels?.["fabric.base"] !== undefined && Labels["fabric.recipe"] !== current;

const tagOf = (python: string, id: string): string => `${python}-${id.replace(/^sha256:/, "").slice(0, 12)}`;

async function claim(docker: DockerClient, id: string, python: string, { fabric }: BaseImageOptions): Promise<void> {
  if (fabric) await claimImage(docker, fabric, id, `base-${tagOf(python, id)}`);
}

async function tagged(docker: DockerClient, id: string, python: string, cached: boolean): Promise<BaseImage> {
  const tag = tagOf(python, id);
  for (const name of [python, tag]) {
    if ((await idOf(docker, `${SHARED.base}:${name}`)) !== id)
      await askDocker(() => docker.getImage(id).tag({ repo: SHARED.base, tag: name }));
  }
  return { id, tag: `${SHARED.base}:${tag}`, cached };
}

/** Gives up when the registry has not begun to answer in time; once it has, the download may take as long as it takes. */
async function pull(
  docker: DockerClient,
  image: string,
  timeoutMs: number,
  tell: Tell,
  signal: AbortSignal,
): Promise<void> {
  const slow = new AbortController();
  const timer = setTimeout(() => slow.abort(new Error(`no answer from the registry in ${timeoutMs} ms`)), timeoutMs);
  const either = AbortSignal.any([signal, slow.signal]);
  try {
    const stream = await docker.pull(image, { abortSignal: either });
    either.addEventListener("abort", () =>
      (stream as NodeJS.ReadableStream & { destroy(e: Error): void }).destroy(either.reason),
    );
    await new Promise<void>((resolve, reject) => {
      const done = (error: Error | null) => (error ? reject(error) : resolve());
      docker.modem.followProgress(stream, done, (event: { status?: string; error?: string; progress?: string }) => {
        clearTimeout(timer);
        if (event.error) reject(new Error(event.error));
        else if (event.status && !event.progress) tell({ kind: "log", text: event.status });
      });
    });
  } finally {
    clearTimeout(timer);
  }
}

/** Packs the folder with tar and streams it into an image. */
async function importFolder(docker: DockerClient, root: string, python: string, signal: AbortSignal): Promise<string> {
  const tar = spawn("tar", ["-C", root, "--exclude=./proc/*", "--exclude=./sys/*", "--exclude=./dev/*", "-c", "."], {
    stdio: ["ignore", "pipe", "inherit"],
    signal,
  });
  const packed = new Promise<void>((resolve, reject) => {
    tar.on("error", reject);
    tar.on("close", (code) => (code === 0 ? resolve() : reject(new Error(`tar ended with exit code ${code}`))));
  });
  const made = [...changes(python), `LABEL fabric.recipe=${await recipe(python)}`];
  const imported = docker.importImage(tar.stdout, { fromSrc: "-", changes: made }).then(
    (answer) =>
      new Promise<string>((resolve, reject) => {
        docker.modem.followProgress(answer, (error: Error | null, events: { status?: string; error?: string }[]) => {
          const failed = events.find((event) => event.error);
          if (error ?? failed) reject(error ?? new Error(failed?.error));
          else resolve(events.at(-1)?.status ?? "");
        });
      }),
  );
  const [id] = await Promise.all([imported, packed]);
  return id;
}

async function makeFromPackages(
  docker: DockerClient,
  python: string,
  options: BaseImageOptions,
  why: string,
  tell: Tell,
  signal: AbortSignal,
): Promise<string> {
  const suite = DEBIAN_RELEASES[python];
  if (!suite) {
    const made = Object.keys(DEBIAN_RELEASES).join(", ");
    fail(
      "image_python_unavailable",
      `No image of Python ${python}: ${why}. From Debian packages fabric can make ${made}.`,
    );
  }
  if (process.getuid?.() !== 0) {
    fail(
      "image_python_unavailable",
      `No image of Python ${python}: ${why}. Making one from Debian packages takes root (debootstrap); or load python:${python}-slim into Docker.`,
    );
  }
  const work = join(options.dataDir, "build");
  await mkdir(work, { recursive: true });
  const folder = await mkdtemp(join(work, `base-${python}-`));
  try {
    tell({ kind: "step", text: `base image of Python ${python} from Debian packages (${suite}), about a minute` });
    const lines: string[] = [];
    const mirror = options.debianMirror ? [options.debianMirror] : [];
    const { code } = await runCommand("sh", [SCRIPT, suite, join(folder, "root"), ...mirror], {
      extraEnv: { PATH: SYSTEM_PATH, LC_ALL: "C" },
      signal,
      onLine(text) {
        lines.push(text);
        tell({ kind: "log", text });
      },
    });
    if (code !== 0) {
      fail(
        "image_python_unavailable",
        `Making the base image of Python ${python} failed (${why}):\n${lines.slice(-LAST_LINES).join("\n")}`,
      );
    }
    tell({ kind: "step", text: "importing the base image" });
    return await importFolder(docker, join(folder, "root"), python, signal);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A function that gives the base image of a Python version, made at most once; a registry that did not answer is not asked again. */
export function baseImages(docker: () => Promise<DockerClient>, options: BaseImageOptions) {
  let registryFailed: string | undefined;

  /** Answers its id. */
  async function make(client: DockerClient, python: string, tell: Tell, signal: AbortSignal): Promise<string> {
    const official = `python:${python}-slim`;
    if (!registryFailed) {
      tell({ kind: "step", text: `pulling ${official}` });
      try {
        await pull(client, official, options.registryTimeoutMs ?? 5_000, tell, signal);
        const pulled = await idOf(client, official);
        if (pulled) return pulled;
        registryFailed = `${official} was pulled and is not there`;
      } catch (thrown) {
        signal.throwIfAborted();
        if (thrown instanceof FabricError) throw thrown;
        registryFailed = `no registry gave ${official} (${dockerMessage(thrown)})`;
        tell({ kind: "log", text: registryFailed });
      }
    }
    return makeFromPackages(client, python, options, registryFailed, tell, signal);
  }

  async function obtain(client: DockerClient, python: string, tell: Tell, signal: AbortSignal): Promise<BaseImage> {
    const found = await inspect(client, `${SHARED.base}:${python}`);
    const isOld = found !== undefined && isOutdated(found.Config, await recipe(python));
    if (found && !isOld) return tagged(client, found.Id, python, true);
    // Claimed, so that it is collected once nothing needs it.
    if (found) await claim(client, found.Id, python, options);
    const loaded = await idOf(client, `python:${python}-slim`);
    if (loaded) return tagged(client, loaded, python, true);
    if (!found) return tagged(client, await make(client, python, tell, signal), python, false);
    tell({ kind: "log", text: `the base image of Python ${python} was made by another version of fabric` });
    try {
      return await tagged(client, await make(client, python, tell, signal), python, false);
    } catch (thrown) {
      if (!(thrown instanceof FabricError) || thrown.code !== "image_python_unavailable") throw thrown;
      tell({ kind: "log", text: `it stays in use, since no new one can be had: ${thrown.message}` });
      return tagged(client, found.Id, python, true);
    }
  }

  return async (python: string, tell: Tell, signal: AbortSignal): Promise<BaseImage> => {
    const client = await docker();
    const base = await obtain(client, python, tell, signal);
    await claim(client, base.id, python, options);
    return base;
  };
}
