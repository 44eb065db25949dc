/** CPU time of processes (Linux): what a call costs, where the times of a busy machine tell little. */
import { readFile } from "node:fs/promises";

const TICK_MS = 10;

export async function cpuMs(pids: number[]): Promise<number> {
  let sum = 0;
  for (const pid of pids) {
    const stat = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => ""); // it ended meanwhile
    const [user = 0, system = 0] = stat.slice(stat.lastIndexOf(")")).split(" ").slice(12, 14).map(Number);
    sum += (user + system) * TICK_MS;
  }
  return sum;
}

/** Answers what each of the groups used meanwhile. */
export async function cpuOf<T>(groups: Record<string, number[]>, act: () => Promise<T>) {
  const read = () => Promise.all(Object.values(groups).map(cpuMs));
  const before = await read();
  const result = await act();
  const after = await read();
  const used = Object.keys(groups).map((name, i): [string, number] => [name, after[i]! - before[i]!]);
  return { result, used };
}
