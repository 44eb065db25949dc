/** Turns a request's body into the encoded arguments a container reads, refusing what is not JSON or does not fit. */
import { isUtf8 } from "node:buffer";
import { type GivenArguments, misfits } from "./check-arguments.ts";
import type { Encoding } from "./encoding.ts";
import { fail } from "./errors.ts";
import { isDeeperThan, MAX_JSON_DEPTH } from "./json-depth.ts";
import type { FunctionSpec } from "./spec.ts";

export const PICKLE_TYPE = "application/vnd.fabric.pickle";

export interface CallHeaders {
  contentType?: string;
  /** `Fabric-Body`: "call" for {"args", "kwargs"}. */
  form?: string;
  /** `Fabric-Python`: the caller's minor version. */
  python?: string;
  /** `Fabric-Accept`. */
  accept?: string;
}

export interface EncodedCall {
  encoding: Encoding;
  input: Buffer;
  acceptPickle: boolean;
  /** The input was uploaded for exactly this call; `input` is empty. */
  uploaded?: Uploaded;
}

export interface Uploaded {
  /** Id of the invocation that it is the input of. */
  id: string;
  etag: string;
}

export const NO_ARGUMENTS = Buffer.from('{"args":[],"kwargs":{}}');
const NAMED = [Buffer.from('{"args":[],"kwargs":'), Buffer.from("}")] as const;
const POSITIONAL = [Buffer.from('{"args":'), Buffer.from(',"kwargs":{}}')] as const;

export function decodeCall(
  body: Buffer,
  headers: CallHeaders,
  target: { name: string; spec: FunctionSpec; python: string },
): EncodedCall {
  const acceptPickle = takesPickle(headers, target);
  if (headers.contentType?.startsWith(PICKLE_TYPE)) {
    checkPython(headers.python, target.python);
    return { encoding: "pickle", input: body, acceptPickle };
  }
  const { input, given } = body.length === 0 ? { input: NO_ARGUMENTS, given: NOTHING } : readJson(body, headers.form);
  checkArguments(target, given);
  return { encoding: "json", input, acceptPickle };
}

/** Throws `invalid_arguments`. */
export function checkArguments({ spec, name }: { name: string; spec: FunctionSpec }, given: GivenArguments): void {
  const problems = spec.parameters ? misfits(spec.parameters, given) : [];
  if (problems.length > 0) fail("invalid_arguments", `${name}: ${problems.join("; ")}`, { problems });
}

/** Of arguments that were uploaded nothing is read here: the container finds out whether they fit. */
export function decodeUploaded(
  uploaded: Uploaded,
  headers: CallHeaders,
  target: { spec: FunctionSpec; python: string },
): EncodedCall {
  const rest = { input: Buffer.alloc(0), acceptPickle: takesPickle(headers, target), uploaded };
  if (headers.contentType?.startsWith(PICKLE_TYPE)) {
    checkPython(headers.python, target.python);
    return { encoding: "pickle", ...rest };
  }
  if (headers.form !== "call")
    fail("bad_request", 'an uploaded JSON input is {"args": [...], "kwargs": {...}}: say so with Fabric-Body: call');
  return { encoding: "json", ...rest };
}

/** `Fabric-Accept` lists what the caller can do with a result. */
export const accepts = (header: string | undefined, what: "pickle" | "redirect"): boolean =>
  header?.split(",").some((word) => word.trim() === what) ?? false;

const takesPickle = (headers: CallHeaders, target: { python: string }): boolean =>
  accepts(headers.accept, "pickle") && headers.python === target.python;

const NOTHING: GivenArguments = { positional: 0, named: [] };

function checkPython(caller: string | undefined, image: string): void {
  if (!caller) fail("bad_request", "a pickle needs the header Fabric-Python with the caller's minor version");
  if (caller !== image)
    fail(
      "python_mismatch",
      `the caller runs Python ${caller}, the function ${image}; send JSON or use the same minor`,
      {
        caller,
        function: image,
      },
    );
}

/** The bytes are passed on as they came, so that numbers no JavaScript number can hold arrive unchanged. */
function readJson(body: Buffer, form: string | undefined): { input: Buffer; given: GivenArguments } {
  const value = parseJson(body);
  if (form === "call") return { input: body, given: ofCallForm(value) };
  if (form !== undefined)
    fail("bad_request", `Fabric-Body: ${JSON.stringify(form)} is not known; use "call" or leave it out`);
  if (Array.isArray(value))
    return {
      input: Buffer.concat([POSITIONAL[0], body, POSITIONAL[1]]),
      given: { positional: value.length, named: [] },
    };
  if (!isObject(value))
    fail("invalid_json", "the body is neither an object of named arguments nor an array of positional ones");
  return { input: Buffer.concat([NAMED[0], body, NAMED[1]]), given: { positional: 0, named: Object.keys(value) } };
}

export function parseJson(body: Buffer): unknown {
  if (!isUtf8(body)) fail("invalid_json", "the body is not UTF-8");
  if (isDeeperThan(body)) fail("body_too_deep", `the body nests deeper than ${MAX_JSON_DEPTH} levels`);
  try {
    return JSON.parse(body.toString("utf8"));
  } catch (cause) {
    return fail("invalid_json", `the body is not JSON: ${(cause as Error).message.slice(0, 200)}`, undefined, {
      cause,
    });
  }
}

export function ofCallForm(value: unknown): GivenArguments {
  const { args = [], kwargs = {}, ...rest } = isObject(value) ? value : { neither: value };
  if (!Array.isArray(args) || !isObject(kwargs) || Object.keys(rest).length > 0)
    fail("bad_request", 'with Fabric-Body: call the body is {"args": [...], "kwargs": {...}}');
  return { positional: args.length, named: Object.keys(kwargs) };
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
