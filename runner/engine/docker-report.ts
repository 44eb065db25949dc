/** What `docker info` and `docker version` say that a person should know before trusting this node. */

export interface DockerFacts {
  version: string;
  /** Name and version of the daemon's parts, such as runc. */
  components: { name: string; version: string }[];
  securityOptions: string[];
  memoryLimit: boolean;
  swapLimit: boolean;
  runtimes: string[];
}

/** runc below this lets a container write outside its root (CVE-2024-21626, CVE-2025-31133 and others). */
export const RUNC_FLOOR = "1.2.8";

const numbers = (version: string): number[] => (version.match(/\d+/g) ?? []).slice(0, 3).map(Number);

export function isOlder(version: string, floor: string): boolean {
  const [found, wanted] = [numbers(version), numbers(floor)];
  for (let i = 0; i < 3; i++) {
    const difference = (found[i] ?? 0) - (wanted[i] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

export function dockerNotices(facts: DockerFacts, runtime: string | undefined): string[] {
  const notices: string[] = [];
  const runc = facts.components.find(({ name }) => name === "runc");
  if (runc && isOlder(runc.version, RUNC_FLOOR)) {
    notices.push(`runc ${runc.version} has known ways out of a container; ${RUNC_FLOOR} or newer closes them.`);
  }
  if (!facts.securityOptions.some((option) => option.includes("seccomp"))) {
    notices.push("The daemon runs without seccomp: functions can make every system call.");
  }
  if (!facts.memoryLimit) notices.push("The kernel has no memory cgroup: memory limits have no effect.");
  else if (!facts.swapLimit) notices.push("The kernel does not account swap: a function at its memory limit may swap.");
  if (runtime && !facts.runtimes.includes(runtime)) {
    notices.push(
      `The daemon knows no runtime "${runtime}" (it has ${facts.runtimes.join(", ")}): containers will not start.`,
    );
  }
  return notices;
}
