/** Builds image specs with Docker, one image per distinct spec. */
import { readFile } from "node:fs/promises";
import { pack } from "tar-stream";
import {
  askDocker,
  askDockerUnless,
  type DockerClient,
  dockerClient,
  dockerMessage,
} from "../../core/docker-client.ts";
import { FabricError, fail } from "../../core/errors.ts";
import type { BuildEvent, ImageBuilder } from "../../core/image-builder.ts";
import { claimImage, SHARED } from "../../core/image-names.ts";
import type { ImageSpec } from "../../core/spec.ts";
import { type BaseImage, type BaseImageOptions, baseImages } from "./base-image.ts";
import { readOutput } from "./build-output.ts";
import { checkedSpec } from "./checked-spec.ts";
import { type BuildSettings, dockerfile, SETTINGS, settingsFiles, specHash } from "./dockerfile.ts";
import { runPython } from "./run-python.ts";
import { sharedBuilds } from "./shared-build.ts";

export interface DockerImageBuilderOptions extends BaseImageOptions, BuildSettings {
  /** As DOCKER_HOST; absent: the daemon's usual socket. */
  dockerHost?: string;
  /** Network of build commands. Default "host": the one network on which a company's proxy and resolver always work. */
  buildNetwork?: string;
  /** Folder with fabric_sdk for `runPython`, asked for when first needed. */
  sdkDir?: () => Promise<string>;
}

const LAST_LINES = 20;

interface Built {
  ref: string;
  cached: boolean;
}

async function buildContext(text: string, settings: BuildSettings): Promise<NodeJS.ReadableStream> {
  const tar = pack();
  tar.entry({ name: "Dockerfile" }, text);
  const files = settingsFiles(settings);
  for (const [name, content] of Object.entries(files)) tar.entry({ name: `${SETTINGS.inContext}/${name}` }, content);
  if (settings.caBundle) tar.entry({ name: `${SETTINGS.inContext}/ca.crt` }, await readFile(settings.caBundle));
  tar.finalize();
  return tar as unknown as NodeJS.ReadableStream;
}

export function dockerImageBuilder(options: DockerImageBuilderOptions): ImageBuilder {
  const client = dockerClient(options);
  const base = baseImages(client, options);
  const shareBase = sharedBuilds<BaseImage>();
  const shareBuild = sharedBuilds<Built>();

  const baseOf: (python: string, tell: (event: BuildEvent) => void, signal: AbortSignal) => Promise<BaseImage> = (
    python,
    tell,
    signal,
  ) => shareBase(python, (each, until) => base(python, each, until), tell, signal);

  async function buildOn(
    docker: DockerClient,
    spec: ImageSpec,
    from: BaseImage,
    hash: string,
    tell: (event: BuildEvent) => void,
    signal: AbortSignal,
  ): Promise<Built> {
    const tag = hash.slice(0, 40);
    const name = `${SHARED.image}:${tag}`;
    const claim = async (id: string): Promise<boolean> =>
      !options.fabric || (await claimImage(docker, options.fabric, id, tag));
    const found = await askDockerUnless([404], () => docker.getImage(name).inspect());
    const isIt = found?.Config.Labels?.["fabric.image"] === hash;
    // Another fabric may have given it up just now.
    if (found && isIt && (await claim(found.Id))) return { ref: found.Id, cached: true };

    const context = await buildContext(dockerfile(spec, from.tag, options), options);
    const stream = await askDocker(() =>
      docker.buildImage(context, {
        // BuildKit: only its mounts keep the operator's CA bundle and index out of the image.
        version: "2",
        t: name,
        labels: { "fabric.image": hash, "fabric.python": spec.python },
        networkmode: options.buildNetwork ?? "host",
        abortSignal: signal,
      } as Parameters<DockerClient["buildImage"]>[1]),
    );
    const { failure, lines } = await readOutput(stream, tell, signal);
    if (failure) fail("image_build_failed", `${failure}\n${lines.slice(-LAST_LINES).join("\n")}`.trim());
    const built = await askDocker(() => docker.getImage(name).inspect());
    await claim(built.Id);
    return { ref: built.Id, cached: false };
  }

  return {
    async build(untrusted, onEvent, signal) {
      const spec = checkedSpec(untrusted);
      const docker = await client();
      try {
        const from = await baseOf(spec.python, onEvent, signal);
        if (spec.layers.length === 0) return { ref: from.id, cached: from.cached };
        const hash = specHash(spec, from.id);
        return await shareBuild(hash, (tell, until) => buildOn(docker, spec, from, hash, tell, until), onEvent, signal);
      } catch (thrown) {
        signal.throwIfAborted();
        if (thrown instanceof FabricError) throw thrown;
        throw new FabricError("image_build_failed", dockerMessage(thrown), undefined, { cause: thrown });
      }
    },

    async has(ref) {
      const docker = await client();
      return (await askDockerUnless([404], () => docker.getImage(ref).inspect())) !== undefined;
    },

    async runPython(python, files, args, signal) {
      const docker = await client();
      const { id } = await baseOf(python, () => {}, signal);
      const sdk = await options.sdkDir?.();
      return runPython(
        docker,
        { image: id, files, sdk, args, user: { uid: 10001, gid: 10001 }, dockerHost: options.dockerHost },
        signal,
      );
    },
  };
}
