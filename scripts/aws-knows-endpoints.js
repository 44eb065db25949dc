/** Exits 0 when the aws-cli at the given path knows AWS_ENDPOINT_URL (1.29 or 2.13 on). */
import { spawnSync } from "node:child_process";

const answer = spawnSync(process.argv[2] ?? "aws", ["--version"], { encoding: "utf8" });
const [, major = 0, minor = 0] = (/aws-cli\/(\d+)\.(\d+)/.exec(`${answer.stdout}${answer.stderr}`) ?? []).map(Number);
process.exit(major > 2 || (major === 2 && minor >= 13) || (major === 1 && minor >= 29) ? 0 : 1);
