/** What a client says about an object besides its bytes: content headers and metadata of its own. */
import type { IncomingHttpHeaders } from "node:http";
import { refuse } from "./errors.ts";

const CONTENT = ["cache-control", "content-disposition", "content-language", "content-type", "expires"] as const;
const MAX_USER_BYTES = 2048;
const USER = "x-amz-meta-";

/** Features that change what is stored: ignoring one would be a broken promise. */
const UNSUPPORTED = ["x-amz-tagging", "x-amz-website-redirect-location", "x-amz-write-offset-bytes"];
const UNSUPPORTED_PREFIXES = ["x-amz-server-side-encryption", "x-amz-object-lock", "x-amz-grant-"];

export function describedBy(headers: IncomingHttpHeaders): {
  headers: Record<string, string>;
  user: Record<string, string>;
} {
  for (const name of Object.keys(headers))
    if (UNSUPPORTED.includes(name) || UNSUPPORTED_PREFIXES.some((prefix) => name.startsWith(prefix)))
      refuse("NotImplemented", `A header you provided implies functionality that is not implemented: ${name}`, {
        Header: name,
      });
  if ((headers["x-amz-storage-class"] ?? "STANDARD") !== "STANDARD")
    refuse("InvalidStorageClass", "The storage class you specified is not valid");
  if (!["private", "bucket-owner-full-control"].includes(String(headers["x-amz-acl"] ?? "private")))
    refuse("NotImplemented", "Access control lists are not implemented; every object is private.");
  return { headers: contentHeaders(headers), user: userMetadata(headers) };
}

function contentHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const kept: Record<string, string> = { "content-type": "binary/octet-stream" };
  for (const name of CONTENT) {
    const value = headers[name];
    if (typeof value === "string" && value !== "") kept[name] = value;
  }
  // aws-chunked is how the body travelled, not what it is.
  const encodings = (headers["content-encoding"] ?? "").split(",").map((one) => one.trim());
  const encoding = encodings.filter((one) => one !== "" && one !== "aws-chunked").join(",");
  return encoding === "" ? kept : { ...kept, "content-encoding": encoding };
}

function userMetadata(headers: IncomingHttpHeaders): Record<string, string> {
  const user: Record<string, string> = {};
  let bytes = 0;
  for (const [name, value] of Object.entries(headers)) {
    if (!name.startsWith(USER)) continue;
    user[name.slice(USER.length)] = String(value);
    bytes += name.length - USER.length + String(value).length;
  }
  if (bytes > MAX_USER_BYTES)
    refuse("MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size", {
      MaxSizeAllowed: String(MAX_USER_BYTES),
    });
  return user;
}

export const userHeaders = (user: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(user).map(([name, value]) => [`${USER}${name}`, value]));
