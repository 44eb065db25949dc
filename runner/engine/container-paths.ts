/** Where the four host folders of a container appear inside it. */
import type { ContainerPaths } from "../../core/engine.ts";

export const PATHS: ContainerPaths = {
  socket: "/fabric/socket",
  bundle: "/fabric/bundle",
  sdk: "/fabric/sdk",
  scratch: "/scratch",
};
