/** How another program of ours is run. */
import { join } from "node:path";
import { ROOT } from "../core/root.ts";

export interface OurNode {
  command: string;
  /** Folder of our programs. */
  dist: string;
}

export const ourNode: OurNode = { command: process.execPath, dist: join(ROOT, "dist") };
