/** Holds a container to its `ephemeral_disk`: looks at its scratch now and then, because Docker has no quota for a folder. */
import type { Clock } from "../core/clock.ts";
import { FabricError, fail } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { runCommand } from "../core/run-command.ts";

export interface DiskWatchOptions {
  folder: string;
  limitBytes: number;
  clock: Clock;
  log: Log;
  /** Called once; nothing is looked at afterwards. */
  onFull(error: FabricError): void;
  usage?: (folder: string) => Promise<number>;
}

const LOOK_MS = 5_000;
/** Looking takes a twentieth of the time at most, however many files there are. */
const PAUSE_FACTOR = 20;
const GIVE_UP_MS = 60_000;
const MIB = 1024 * 1024;

/** By `du`, which follows no links, counts hard links once and costs this process nothing. */
export async function diskUsage(folder: string): Promise<number> {
  const { code, stdout, stderr } = await runCommand("du", ["-skx", folder], {
    signal: AbortSignal.timeout(GIVE_UP_MS),
    maxChars: 4096,
  });
  const kib = /^(\d+)\s/m.exec(stdout)?.[1];
  // Files that vanish meanwhile make it exit 1, with a sum all the same.
  if (kib === undefined) fail("internal", `du ended with ${code}: ${stderr.trim()}`);
  return Number(kib) * 1024;
}

/** The returned function ends it. */
export function watchDisk(options: DiskWatchOptions): () => void {
  const { folder, limitBytes, clock, log, onFull, usage = diskUsage } = options;
  let stopTimer = (): void => {};
  let stopped = false;

  async function look(): Promise<void> {
    const began = clock.monotonic();
    const used = await usage(folder).catch((err: unknown) => {
      if (!stopped) log.warn({ err, folder }, "the size of a scratch folder could not be told");
      return 0;
    });
    if (stopped) return;
    if (used <= limitBytes) return schedule(Math.max(LOOK_MS, PAUSE_FACTOR * (clock.monotonic() - began)));
    const size = (bytes: number): string => `${Math.ceil(bytes / MIB)} MiB`;
    onFull(new FabricError("disk_full", `scratch holds ${size(used)}; ephemeral_disk is ${size(limitBytes)}`));
  }

  function schedule(ms: number): void {
    stopTimer = clock.after(ms, () => void look());
  }
  schedule(LOOK_MS);
  return () => {
    stopped = true;
    stopTimer();
  };
}
