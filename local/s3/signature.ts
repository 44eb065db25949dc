/** AWS Signature Version 4, in the Authorization header and in the query of a presigned URL. */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { refuse } from "./errors.ts";
import { encode, type Target } from "./target.ts";

export interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
}

export interface SignedRequest {
  method: string;
  target: Target;
  headers: IncomingHttpHeaders;
  headersDistinct: Record<string, string[] | undefined>;
}

/** What signing a body further needs: every chunk's signature builds on the one before. */
export interface Signer {
  payload: string;
  seed: string;
  sign(kind: "PAYLOAD" | "TRAILER", previous: string, ...hashes: string[]): string;
}

const ALGORITHM = "AWS4-HMAC-SHA256";
const VERSION_4_ONLY =
  "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256 (signature version s3v4).";
const MAX_SKEW_MS = 15 * 60_000;
const MAX_EXPIRES_SECONDS = 604_800;

interface Claim {
  credential: string;
  signedHeaders: string[];
  signature: string;
  amzDate: string;
  payload: string;
  presigned: boolean;
}

/** Throws the S3 error that fits, or returns who signed and how the body is to be checked. */
export function authenticate(request: SignedRequest, known: Credentials, nowMs: number): Signer {
  const claim = request.target.query.has("X-Amz-Algorithm")
    ? claimOfQuery(request, nowMs)
    : claimOfHeader(request, nowMs);
  const [accessKeyId, date, region, service, end, ...more] = claim.credential.split("/");
  if (
    !date ||
    !region ||
    service !== "s3" ||
    end !== "aws4_request" ||
    more.length > 0 ||
    date !== claim.amzDate.slice(0, 8)
  )
    refuse(
      claim.presigned ? "AuthorizationQueryParametersError" : "AuthorizationHeaderMalformed",
      "The credential scope is malformed.",
    );
  if (!sameText(accessKeyId!, known.accessKeyId))
    refuse("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", {
      AWSAccessKeyId: accessKeyId!,
    });
  requireSigned(request, claim);
  const scope = `${date}/${region}/s3/aws4_request`;
  const key = signingKey(known.secretAccessKey, date, region);
  const canonical = canonicalRequest(request, claim);
  const toSign = [ALGORITHM, claim.amzDate, scope, sha256(canonical)].join("\n");
  if (!sameText(hmac(key, toSign).toString("hex"), claim.signature))
    refuse(
      "SignatureDoesNotMatch",
      "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    );
  return {
    payload: claim.payload,
    seed: claim.signature,
    sign: (kind, previous, ...hashes) =>
      hmac(key, [`${ALGORITHM}-${kind}`, claim.amzDate, scope, previous, ...hashes].join("\n")).toString("hex"),
  };
}

function claimOfHeader({ headers, target }: SignedRequest, nowMs: number): Claim {
  // Older clients sign URLs so for us-east-1 unless they are told to use s3v4.
  if (target.query.has("AWSAccessKeyId")) refuse("InvalidRequest", VERSION_4_ONLY);
  const header = headers.authorization;
  if (header === undefined) return refuse("AccessDenied", "Access Denied");
  if (!header.startsWith(`${ALGORITHM} `)) return refuse("InvalidRequest", VERSION_4_ONLY);
  const fields = new Map<string, string>();
  for (const part of header.slice(ALGORITHM.length + 1).split(",")) {
    const eq = part.indexOf("=");
    fields.set(part.slice(0, eq).trim(), part.slice(eq + 1).trim());
  }
  const [credential, signedHeaders, signature] = ["Credential", "SignedHeaders", "Signature"].map((name) =>
    fields.get(name),
  );
  if (!credential || !signedHeaders || !signature)
    return refuse("AuthorizationHeaderMalformed", "The authorization header is malformed.");
  const amzDate = amzDateOf(headers);
  const skew = Math.abs(timeOf(amzDate) - nowMs);
  if (!(skew <= MAX_SKEW_MS))
    refuse("RequestTimeTooSkewed", "The difference between the request time and the current time is too large.", {
      RequestTime: amzDate,
      ServerTime: new Date(nowMs).toISOString(),
      MaxAllowedSkewMilliseconds: String(MAX_SKEW_MS),
    });
  const payload = headers["x-amz-content-sha256"];
  if (typeof payload !== "string")
    return refuse("InvalidRequest", "Missing required header for this request: x-amz-content-sha256");
  return { credential, signedHeaders: signedHeaders.split(";"), signature, amzDate, payload, presigned: false };
}

function amzDateOf(headers: IncomingHttpHeaders): string {
  const amz = headers["x-amz-date"];
  if (typeof amz === "string") return amz;
  const plain = Date.parse(headers.date ?? "");
  if (Number.isNaN(plain))
    return refuse("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header");
  return new Date(plain).toISOString().replace(/[-:]|\.\d{3}/g, "");
}

function claimOfQuery({ target: { query }, headers }: SignedRequest, nowMs: number): Claim {
  const bad = (message: string): never => refuse("AuthorizationQueryParametersError", message);
  const need = (name: string): string => query.get(name) || bad(`Query-string authentication requires ${name}.`);
  if (need("X-Amz-Algorithm") !== ALGORITHM) bad(`X-Amz-Algorithm only supports "${ALGORITHM}"`);
  const expires = Number(need("X-Amz-Expires"));
  if (!Number.isInteger(expires) || expires < 1 || expires > MAX_EXPIRES_SECONDS)
    bad(`X-Amz-Expires must be between 1 and ${MAX_EXPIRES_SECONDS} seconds.`);
  const amzDate = need("X-Amz-Date");
  const startMs = timeOf(amzDate);
  if (Number.isNaN(startMs)) bad("X-Amz-Date must be in the ISO8601 Long Format yyyyMMdd'T'HHmmss'Z'");
  if (startMs - nowMs > MAX_SKEW_MS) refuse("AccessDenied", "Request is not yet valid");
  if (nowMs > startMs + expires * 1000)
    refuse("AccessDenied", "Request has expired", {
      "X-Amz-Expires": String(expires),
      Expires: new Date(startMs + expires * 1000).toISOString(),
      ServerTime: new Date(nowMs).toISOString(),
    });
  const stated = query.get("X-Amz-Content-Sha256") ?? headers["x-amz-content-sha256"];
  return {
    credential: need("X-Amz-Credential"),
    signedHeaders: need("X-Amz-SignedHeaders").split(";"),
    signature: need("X-Amz-Signature"),
    amzDate,
    payload: typeof stated === "string" ? stated : "UNSIGNED-PAYLOAD",
    presigned: true,
  };
}

/** A header that means something to S3 but that nobody signed could have been put there by anybody on the way. */
function requireSigned({ headers }: SignedRequest, claim: Claim): void {
  const signed = new Set(claim.signedHeaders);
  if (!signed.has("host")) refuse("AccessDenied", "The host header must be signed.");
  for (const name of Object.keys(headers)) {
    const matters = name.startsWith("x-amz-") && !(claim.presigned && name === "x-amz-content-sha256");
    if (matters && !signed.has(name))
      refuse("AccessDenied", "There were headers present in the request which were not signed", {
        HeadersNotSigned: name,
      });
  }
}

export function canonicalRequest(
  { method, target, headersDistinct }: SignedRequest,
  claim: Pick<Claim, "signedHeaders" | "payload">,
): string {
  const query = [...target.query]
    .filter(([name]) => name !== "X-Amz-Signature")
    .map(([name, value]) => [encode(name), encode(value)] as const)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([name, value]) => `${name}=${value}`)
    .join("&");
  const headers = claim.signedHeaders.map((name) => {
    const value = (headersDistinct[name] ?? []).map((one) => one.trim().replace(/\s+/g, " ")).join(",");
    return `${name}:${value}\n`;
  });
  return [method, target.canonicalPath, query, headers.join(""), claim.signedHeaders.join(";"), claim.payload].join(
    "\n",
  );
}

export function signingKey(secret: string, date: string, region: string): Buffer {
  return ["s3", "aws4_request"].reduce(hmac, hmac(hmac(`AWS4${secret}`, date), region));
}

function timeOf(amzDate: string): number {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(amzDate);
  if (!parts) return Number.NaN;
  const [year, month, day, hour, minute, second] = parts.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

// Node hands headers over as latin1: hashing them the same way restores the bytes that the client signed.
const sha256 = (text: string): string => createHash("sha256").update(text, "latin1").digest("hex");
const hmac = (key: string | Buffer, text: string): Buffer => createHmac("sha256", key).update(text, "utf8").digest();

/** Compares hashes of both, so that neither the length nor the first difference shows in the time it takes. */
export function sameText(a: string, b: string): boolean {
  return timingSafeEqual(createHash("sha256").update(a).digest(), createHash("sha256").update(b).digest());
}
