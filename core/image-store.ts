/** The seam to the images of one node, as they travel to others and as they are kept there. */
import type { Readable } from "node:stream";

/** Throws `engine_unavailable` when the engine does not answer. */
export interface ImageStore {
  /** What it takes here; `undefined`: it is not here. */
  find(ref: string): Promise<{ bytes: number } | undefined>;
  /** The image as a tar with its name: to be read to the end or destroyed. Throws `image_missing`. */
  save(ref: string): Promise<Readable>;
  /** Takes in what `save` gave elsewhere; whole or not at all. Layers that are here already may be left out of the tar. */
  load(tar: Readable, signal: AbortSignal): Promise<void>;
  /** Digests of the layers of each image here, the lowest first; none where `load` needs every layer. */
  layers(): Promise<string[][]>;
}
