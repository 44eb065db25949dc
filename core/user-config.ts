/** The user's config file: what `fabric up` leaves for the command line and the SDKs, so that nobody has to copy a token. */
export interface UserConfig {
  url: string;
  token: string;
  bucket?: string;
  dataDir?: string;
  s3?: { endpoint: string; region: string; accessKeyId: string; secretAccessKey: string };
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
const areTexts = (value: Record<string, unknown>, names: readonly string[]): boolean =>
  names.every((name) => typeof value[name] === "string");

/** By hand and not by zod, which would triple the start-up time of every command. `undefined`: not such a file. */
export function parseUserConfig(text: string): UserConfig | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (!isObject(value) || !areTexts(value, ["url", "token"])) return undefined;
  const { s3 } = value;
  if (s3 !== undefined && !(isObject(s3) && areTexts(s3, ["endpoint", "region", "accessKeyId", "secretAccessKey"])))
    return undefined;
  return value as unknown as UserConfig;
}

/** The variables with which curl, the SDKs and any S3 client reach this fabric. */
export function clientEnvironment(user: UserConfig): Record<string, string> {
  return {
    FABRIC_URL: user.url,
    FABRIC_TOKEN: user.token,
    ...(user.bucket ? { FABRIC_BUCKET: user.bucket } : {}),
    ...(user.s3
      ? {
          AWS_ENDPOINT_URL: user.s3.endpoint,
          AWS_ACCESS_KEY_ID: user.s3.accessKeyId,
          AWS_SECRET_ACCESS_KEY: user.s3.secretAccessKey,
          AWS_REGION: user.s3.region,
          AWS_DEFAULT_REGION: user.s3.region,
        }
      : {}),
  };
}
