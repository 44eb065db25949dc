/** An image spec as a Dockerfile whose every command is an argument vector: no user's string is read by a shell or by Docker's parser. */
import { createHash } from "node:crypto";
import { FabricError } from "../../core/errors.ts";
import type { ImageLayer, ImageSpec } from "../../core/spec.ts";

/** Folder of the build context that holds the operator's settings; mounted during RUN, never part of a layer. */
export const SETTINGS = { inContext: "fabric-build", inBuild: "/run/fabric-build" };

/** Raised when the same spec must give another image than before. */
const RECIPE = 1;

/**
 * JSON without any character that means something to one of Docker's parsers (`$`, backquote, `<`, `#`, non-ASCII): those become
 * \u escapes, which only the JSON decoder reads.
 */
export function vector(args: string[]): string {
  return JSON.stringify(args).replace(/[^A-Za-z0-9 _.,:;=/@%+*!?()[\]{}"\\|&'~>^-]/gu, (character) =>
    [...Array(character.length).keys()]
      .map((i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`)
      .join(""),
  );
}

/** ENV has no JSON form: a quoted value in which Docker's own escapes are escaped, and nothing that cannot stand on a line. */
export function environmentValue(name: string, value: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (/[\u0000-\u001f\u007f]/.test(value)) {
    throw new FabricError(
      "image_spec_invalid",
      `The image variable ${name} holds a line break or another control character; pass it as a secret.`,
    );
  }
  return `"${value.replace(/[\\"$]/g, "\\$&")}"`;
}

const mounts = (caches: string[]): string =>
  [
    `--mount=type=bind,source=${SETTINGS.inContext},target=${SETTINGS.inBuild}`,
    ...caches.map((folder) => `--mount=type=cache,target=${folder},sharing=locked`),
  ].join(" ");

const PIP = ["python", "-m", "pip", "install", "--no-input", "--"];
/** A constant script; the packages are its positional arguments. */
const APT = 'apt-get update && apt-get install -y --no-install-recommends -- "$@" && rm -rf /var/lib/apt/lists/*';

function instructions(layer: ImageLayer): string[] {
  switch (layer.kind) {
    case "pip":
      return [`RUN ${mounts(["/root/.cache/pip"])} ${vector([...PIP, ...layer.packages])}`];
    case "apt":
      return [`RUN ${mounts([])} ${vector(["/bin/sh", "-c", APT, "sh", ...layer.packages])}`];
    case "run":
      return layer.commands.map((command) => `RUN ${mounts([])} ${vector(command)}`);
    case "env":
      return Object.entries(layer.variables).map(([name, value]) => `ENV ${name}=${environmentValue(name, value)}`);
  }
}

export interface BuildSettings {
  /** PEM file the build trusts, for networks whose TLS passes through a proxy. */
  caBundle?: string;
  pipIndexUrl?: string;
  npmRegistry?: string;
}

/** ARG values live while the image is built and are not in its environment; they name files, never what is in them. */
function buildArguments({ caBundle }: BuildSettings): string[] {
  const ca = `${SETTINGS.inBuild}/ca.crt`;
  const trusting = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "NPM_CONFIG_CAFILE",
    "GIT_SSL_CAINFO",
  ];
  return [
    "ARG DEBIAN_FRONTEND=noninteractive",
    `ARG PIP_CONFIG_FILE=${SETTINGS.inBuild}/pip.conf`,
    `ARG NPM_CONFIG_USERCONFIG=${SETTINGS.inBuild}/npmrc`,
    `ARG APT_CONFIG=${SETTINGS.inBuild}/apt.conf`,
    ...(caBundle ? trusting.map((name) => `ARG ${name}=${ca}`) : []),
  ];
}

const oneLine = (text: string): string => text.replace(/[\r\n]/g, "");

/** The files of SETTINGS, without the CA bundle itself. An index URL may hold a password, so it travels here and not in an ARG. */
export function settingsFiles(settings: BuildSettings): Record<string, string> {
  const ca = `${SETTINGS.inBuild}/ca.crt`;
  const pip = ["[global]", "disable-pip-version-check = true", "root-user-action = ignore", "progress-bar = off"];
  if (settings.caBundle) pip.push(`cert = ${ca}`);
  if (settings.pipIndexUrl) pip.push(`index-url = ${oneLine(settings.pipIndexUrl)}`);
  const npm = ["fund=false", "audit=false", "update-notifier=false"];
  if (settings.npmRegistry) npm.push(`registry=${oneLine(settings.npmRegistry)}`);
  const apt = settings.caBundle ? [`Acquire::https::CAInfo "${ca}";`] : [];
  return { "pip.conf": `${pip.join("\n")}\n`, npmrc: `${npm.join("\n")}\n`, "apt.conf": `${apt.join("\n")}\n` };
}

export function dockerfile(spec: ImageSpec, base: string, settings: BuildSettings): string {
  return [`FROM ${base}`, ...buildArguments(settings), ...spec.layers.flatMap(instructions), ""].join("\n");
}

/** Identity of a spec on a base: objects with sorted keys, layers in the user's order. */
export function specHash(spec: ImageSpec, baseId: string): string {
  const canonical = JSON.stringify(
    { recipe: RECIPE, baseId, python: spec.python, layers: spec.layers },
    (_key, value: unknown) =>
      typeof value === "object" && value !== null && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
        : value,
  );
  return createHash("sha256").update(canonical).digest("hex");
}
