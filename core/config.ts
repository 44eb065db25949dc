/** The configuration table: every setting, its variable, default and meaning. Only this file reads the environment. */
import { availableParallelism, homedir } from "node:os";
import { join } from "node:path";

interface Setting<T> {
  variable: string;
  fallback: T;
  help: string;
  /** Printed as *** and never logged. */
  secret?: true;
}

const text = (variable: string, fallback: string, help: string): Setting<string> => ({ variable, fallback, help });
const number = (variable: string, fallback: number, help: string): Setting<number> => ({ variable, fallback, help });
const secret = (variable: string, help: string): Setting<string> => ({ variable, fallback: "", help, secret: true });

const defaultDataDir = (): string =>
  process.getuid?.() === 0 ? "/var/lib/fabric" : join(homedir(), ".local", "share", "fabric");

export const SETTINGS = {
  url: text("FABRIC_URL", "", "Where clients find the gateway; empty: what `fabric up` wrote to the user's config."),
  token: secret("FABRIC_TOKEN", "The token clients send; empty: the one in the user's config."),
  configFile: text(
    "FABRIC_CONFIG",
    join(homedir(), ".config", "fabric", "config.json"),
    "The user's config file: URL and token.",
  ),
  dataDir: text("FABRIC_DATA_DIR", defaultDataDir(), "Everything fabric keeps on this machine."),
  host: text("FABRIC_HOST", "127.0.0.1", "Address the gateway and the S3 endpoint bind."),
  port: number("FABRIC_PORT", 7700, "The gateway's port."),
  engine: text("FABRIC_ENGINE", "auto", "docker, process, or auto: docker when a daemon answers."),
  dockerHost: text("DOCKER_HOST", "", "Docker daemon; empty: its usual socket."),
  dockerRuntime: text(
    "FABRIC_DOCKER_RUNTIME",
    "",
    "OCI runtime of function containers, e.g. runsc; empty: the daemon's default.",
  ),
  redisUrl: text(
    "FABRIC_REDIS_URL",
    "",
    "An external Redis or Valkey (maxmemory-policy noeviction); empty: `fabric up` starts one.",
  ),
  redisPort: number("FABRIC_REDIS_PORT", 7701, "Port of the redis-server that `fabric up` starts."),
  redisMaxMemory: number(
    "FABRIC_REDIS_MAXMEMORY_MB",
    1024,
    "maxmemory of the redis-server that `fabric up` starts, in MiB.",
  ),
  redisPrefix: text("FABRIC_REDIS_PREFIX", "fabric", "First part of all Redis keys."),
  s3Endpoint: text("FABRIC_S3_ENDPOINT", "", "An external S3 endpoint; empty: `fabric up` starts one on local disk."),
  s3PublicEndpoint: text(
    "FABRIC_S3_PUBLIC_ENDPOINT",
    "",
    "The endpoint as clients reach it, for presigned URLs; empty: the same.",
  ),
  s3Port: number("FABRIC_S3_PORT", 7702, "Port of the S3 endpoint that `fabric up` starts."),
  s3Region: text("FABRIC_S3_REGION", "us-east-1", "Region of the bucket."),
  s3AccessKeyId: text("FABRIC_S3_ACCESS_KEY_ID", "", "Key id for the bucket."),
  s3SecretAccessKey: secret("FABRIC_S3_SECRET_ACCESS_KEY", "Secret key for the bucket."),
  bucket: text("FABRIC_BUCKET", "fabric", "Name of the bucket."),
  adminToken: secret("FABRIC_ADMIN_TOKEN", "The administrator's token, given to the gateway."),
  sealKey: secret(
    "FABRIC_SEAL_KEY",
    "Seals what is secret in the bucket; the same for all gateways. Empty: the administrator's token, else the bucket's secret key.",
  ),
  webhookAllow: text(
    "FABRIC_WEBHOOK_ALLOW",
    "",
    "Private ranges webhooks may be sent to, as CIDRs joined by commas; public addresses always.",
  ),
  fabricId: text(
    "FABRIC_ID",
    "",
    "Names this fabric on container labels; empty: made at the first start and kept in the data directory.",
  ),
  nodeId: text("FABRIC_NODE_ID", "", "Names this node; empty: made at the first start and kept in the data directory."),
  nodeAddress: text(
    "FABRIC_NODE_ADDRESS",
    "",
    "IPv4 address at which ranks of gangs on other machines reach those of this one, with the process engine; empty: gangs stay on one machine.",
  ),
  nodeCpu: number(
    "FABRIC_NODE_CPU",
    0,
    "Cores functions may book on this node; 0: what the machine has, times 4 (cpu reserves share, they do not pin).",
  ),
  nodeMemory: number(
    "FABRIC_NODE_MEMORY_MB",
    0,
    "MiB functions may book on this node; 0: the machine's memory less 1 GiB.",
  ),
  gpus: text("FABRIC_GPUS", "", 'Declared GPUs as JSON [{"uuid","model","memoryBytes"}]; empty: asked of nvidia-smi.'),
  caBundle: text(
    "FABRIC_CA_BUNDLE",
    process.env.NODE_EXTRA_CA_CERTS ?? "",
    "CA certificates (PEM) trusted while images build; never left in an image.",
  ),
  pipIndexUrl: text("FABRIC_PIP_INDEX_URL", "", "Package index for pip while images build; empty: pip's own default."),
  buildNetwork: text("FABRIC_BUILD_NETWORK", "host", "Docker network of image builds."),
  egressAllow: text("FABRIC_EGRESS_ALLOW", "", "Private ranges functions may reach, as CIDRs joined by commas."),
  encryptOverlays: text(
    "FABRIC_ENCRYPT_OVERLAYS",
    "no",
    "yes: what ranks of a gang on several nodes send each other is encrypted by Docker, at the cost of much of its speed.",
  ),
  openEgress: text(
    "FABRIC_OPEN_EGRESS",
    "no",
    "yes: run functions with network 'egress' also where the firewall rules cannot be installed.",
  ),
  leaseMs: number(
    "FABRIC_LEASE_MS",
    15_000,
    "How long a runner owns an attempt without renewing; also the time to recover from a lost node.",
  ),
  bootTimeoutMs: number("FABRIC_BOOT_TIMEOUT_MS", 120_000, "How long a container may take from start to ready."),
  cancelGraceMs: number(
    "FABRIC_CANCEL_GRACE_MS",
    5_000,
    "How long a cancelled or timed-out function may clean up before its container is killed.",
  ),
  storagePatienceSeconds: number(
    "FABRIC_STORAGE_PATIENCE_SECONDS",
    600,
    "How long a checkpoint that is saved or brought waits for a bucket that is away; then the attempt ends, and runs again on fabric's budget.",
  ),
  maxQueued: number(
    "FABRIC_MAX_QUEUED",
    100_000,
    "Calls of one function that may wait in its queue; further ones are refused with queue_full. A function's max_queued goes before.",
  ),
  maxBodyBytes: number("FABRIC_MAX_BODY_BYTES", 64 * 1024 * 1024, "Largest body of a call, in bytes."),
  maxSourceBytes: number("FABRIC_MAX_SOURCE_BYTES", 512 * 1024 * 1024, "Largest source archive, unpacked, in bytes."),
  resultTtlSeconds: number(
    "FABRIC_RECORD_TTL_SECONDS",
    7 * 86_400,
    "How long ended invocations are kept, records, inputs and results; a function's result_ttl goes before.",
  ),
  mapIdleSeconds: number(
    "FABRIC_MAP_IDLE_SECONDS",
    3_600,
    "A map that was promised more inputs and gets none for so long has had its last one: its caller is gone.",
  ),
  logLinesPerSecond: number(
    "FABRIC_LOG_LINES_PER_SECOND",
    1_000,
    "Lines a container may print a second in the long run, five times as many at once; each KiB a line begins counts as one. Further lines are dropped and counted.",
  ),
  logArchiveSeconds: number(
    "FABRIC_LOG_ARCHIVE_SECONDS",
    300,
    "Lines reach the bucket's archive (logs/APP/DAY/) at most so long after they were printed; 5,000 lines at once go sooner.",
  ),
  logRetentionDays: number("FABRIC_LOG_RETENTION_DAYS", 30, "Days of logs kept in the archive; 0: all of them."),
  imageRetentionDays: number(
    "FABRIC_IMAGE_RETENTION_DAYS",
    7,
    "Days an environment image is kept after the last version that needs it is gone, on nodes and in the bucket; 0: for good.",
  ),
  logLevel: text("FABRIC_LOG_LEVEL", "info", "Of fabric's own logs: trace, debug, info, warn, error."),
} as const satisfies Record<string, Setting<string> | Setting<number>>;

export type Config = {
  readonly [K in keyof typeof SETTINGS]: (typeof SETTINGS)[K]["fallback"] extends number ? number : string;
};

export function loadConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  const config: Record<string, string | number> = {};
  for (const [name, setting] of Object.entries(SETTINGS)) {
    const given = environment[setting.variable];
    if (given === undefined || given === "") config[name] = setting.fallback;
    else if (typeof setting.fallback === "string") config[name] = given;
    else {
      const value = Number(given);
      if (!Number.isFinite(value) || value < 0)
        throw new Error(`${setting.variable}=${given} is not a number of at least 0: ${setting.help}`);
      config[name] = value;
    }
  }
  return config as Config;
}

/** The variables that make another process see the same configuration. */
export function toEnvironment(config: Partial<Config>): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries(config))
    environment[SETTINGS[name as keyof typeof SETTINGS].variable] = String(value);
  return environment;
}

/** For logs and `fabric doctor`: what is set, secrets as ***. */
export function printable(config: Config): Record<string, string | number> {
  return Object.fromEntries(
    Object.entries(SETTINGS).map(([name, setting]) => {
      const value = config[name as keyof Config];
      return [setting.variable, "secret" in setting && value !== "" ? "***" : value];
    }),
  );
}

export const machineCores = (): number => availableParallelism();
