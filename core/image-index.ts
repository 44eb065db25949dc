/** How an image lies in the bucket: an index, written last, and its layers, which images have in common. */
import { z } from "zod";
import { fail } from "./errors.ts";

const memberSchema = z.object({
  /** As in the tar that the engine wrote. */
  name: z.string(),
  type: z.enum(["file", "directory", "symlink"]),
  mode: z.number().int(),
  linkname: z.string().optional(),
  size: z.number().int(),
  /** Of a small file, in base64. */
  content: z.string().optional(),
  /** Of a large one: its layer's object. */
  layer: z.string().optional(),
  /** Bytes of that object. */
  storedBytes: z.number().int().optional(),
});
export type ImageMember = z.infer<typeof memberSchema>;

export const imageIndexSchema = z.object({
  image: z.string(),
  members: z.array(memberSchema),
});
export type ImageIndex = z.infer<typeof imageIndexSchema>;

export const IMAGES = "images/";
export const LAYERS = `${IMAGES}layers/`;

export const imageIndexKey = (ref: string): string =>
  `${IMAGES}${/^sha256:([0-9a-f]{64})$/.exec(ref)?.[1] ?? fail("image_missing", `${ref} is no image's digest`)}.json`;

/** By what the engine calls the file in its tar: a digest that stands for the layer and those below, or for its content. */
export const layerOf = (name: string): string =>
  /[0-9a-f]{64}/.exec(name)?.[0] ?? fail("internal", `an image holds a large file without a digest: ${name}`);

export const layerKey = (layer: string): string => `${LAYERS}${layer}.tar.gz`;

/** Names of the members that hold layers which one of these images has, too: as many as both have from the bottom up. Pure. */
export function layersThere({ members }: ImageIndex, there: string[][]): Set<string> {
  // A link's target has to be in the tar.
  if (members.some(({ type }) => type === "symlink")) return new Set();
  const read = (name: string): unknown => {
    const content = members.find((one) => one.name === name)?.content;
    return content === undefined ? undefined : JSON.parse(Buffer.from(content, "base64").toString("utf8"));
  };
  const [manifest] = (read("manifest.json") ?? []) as { Config: string; Layers: string[] }[];
  const config = manifest && (read(manifest.Config) as { rootfs: { diff_ids: string[] } } | undefined);
  if (!config) return new Set();
  const own = config.rootfs.diff_ids;
  const shared = (other: string[]): number => {
    const differs = own.findIndex((digest, at) => digest !== other[at]);
    return differs < 0 ? own.length : differs;
  };
  return new Set(manifest.Layers.slice(0, Math.max(0, ...there.map(shared))));
}
