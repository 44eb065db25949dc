/** The seam to the images of one node: how they travel to others, and how those that nobody needs are removed. */
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

export interface KeptImage {
  ref: string;
  /** Absent where measuring would cost more than it tells. */
  bytes?: number;
}

/** A fabric's images on one node; those of other fabrics are none of its business. */
export interface ImageShelf {
  /** All that were built or fetched for this fabric, except base images that the next build starts from. */
  kept(): Promise<KeptImage[]>;
  /** False: a container uses it. What other fabrics claim, too, stays for them. One that is gone is no error. */
  remove(ref: string): Promise<boolean>;
}
