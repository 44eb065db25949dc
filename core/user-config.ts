/** The user's config file: what `fabric up` leaves for the command line and the SDKs, so that nobody has to copy a token. */
import { z } from "zod";

export const userConfigSchema = z.object({
  url: z.string(),
  token: z.string(),
  bucket: z.string().optional(),
  dataDir: z.string().optional(),
  s3: z
    .object({ endpoint: z.string(), region: z.string(), accessKeyId: z.string(), secretAccessKey: z.string() })
    .optional(),
});
export type UserConfig = z.infer<typeof userConfigSchema>;

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
