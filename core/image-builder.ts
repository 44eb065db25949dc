/** The seam to whatever turns image specs into something an engine can start. */
import type { ImageSpec } from "./spec.ts";

export interface BuildEvent {
  /** One line of the build's output, or a step's title. */
  kind: "step" | "log";
  text: string;
}

export interface ImageBuilder {
  /**
   * The engine's reference to the image of this spec, building it when no equal spec was built before (`cached` says so).
   * Two callers with the same spec share one build. Throws `image_build_failed` with the log's last lines,
   * `image_spec_invalid`, `image_python_unavailable` or `engine_unavailable`; aborting leaves nothing behind.
   */
  build(
    spec: ImageSpec,
    onEvent: (event: BuildEvent) => void,
    signal: AbortSignal,
  ): Promise<{ ref: string; cached: boolean }>;
  /** Does the reference still exist on this node? */
  has(ref: string): Promise<boolean>;
  /** Runs `python -m module ...args` in the image of `python` with `files` (a folder) readable as working directory, no network. For describing apps where the client has no Python. */
  runPython(
    python: string,
    files: string,
    args: string[],
    signal: AbortSignal,
  ): Promise<{ code: number; stdout: string; stderr: string }>;
}
