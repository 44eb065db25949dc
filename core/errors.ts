/** The error table: every failure fabric reports has a code here, and only this table says what a code means. */

export interface ErrorKind {
  /** HTTP status of a reply that carries the code. */
  status: number;
  /** May the same request succeed later without a change by the user? */
  retryable: boolean;
  /** Who has to act: the person who wrote the request or function, or the one who runs fabric. */
  fault: "user" | "platform";
  /** What it means and what to do, for docs/errors.md. */
  help: string;
}

const user = (status: number, help: string): ErrorKind => ({ status, retryable: false, fault: "user", help });
const platform = (status: number, help: string, retryable = true): ErrorKind => ({
  status,
  retryable,
  fault: "platform",
  help,
});

export const ERRORS = {
  // requests
  bad_request: user(400, "The request does not have the documented form; the message names the field."),
  invalid_json: user(400, "The body is not JSON. Send an object of named arguments or an array of positional ones."),
  body_too_deep: user(400, "The JSON body nests deeper than 100 levels."),
  upload_not_found: user(404, "No such upload, or none that is whole, or it is older than a day."),
  upload_used: user(409, "The upload belongs to another call already: an upload is the input of one call."),
  body_too_large: user(413, "The body is larger than the gateway's limit (FABRIC_MAX_BODY_BYTES)."),
  upload_incomplete: user(400, "The connection ended before the whole body arrived. Nothing was kept; send it again."),
  invalid_name: user(400, "Names start with a letter or digit and hold letters, digits, '-' and '_' (64 at most)."),
  invalid_arguments: user(422, "The arguments do not fit the function's signature."),
  invalid_parameters: user(422, "The values do not fit the class' parameters; the message names each."),
  idempotency_mismatch: user(409, "The Idempotency-Key was used before with other arguments."),
  unauthorized: user(401, "Send a token: `Authorization: Bearer <token>`. `fabric env` prints one."),
  forbidden: user(403, "This token may not do this; the administrator's may: the one that `fabric env` prints."),
  token_expired: user(401, "The token has expired. Create a new one with `fabric token create`."),
  route_not_found: user(404, "No such route; see /openapi.json."),
  method_not_allowed: user(405, "The route exists, but not for this method; `Allow` tells which it takes."),
  app_not_found: user(404, "No app of this name is deployed. `fabric app list` shows what is."),
  function_not_found: user(404, "The app has no function of this name. `fabric app show APP` lists them."),
  version_not_found: user(404, "The app has no such version. `fabric app versions APP` lists them."),
  schedule_not_found: user(404, "The app's current version has no schedule on this function. `fabric schedule list`."),
  invocation_not_found: user(404, "No such invocation, or its record has expired (7 days by default)."),
  input_not_found: user(404, "The map has no input of this index so far."),
  checkpoint_not_found: user(404, "No complete checkpoint there. `fabric checkpoint list` shows what exists."),
  source_not_found: user(404, "The source bundle named by the deployment was not uploaded."),
  token_not_found: user(404, "No token of this id."),
  generator_needs_stream: user(
    406,
    "The function is a generator. Use `.remote_gen(...)`, or send `Accept: text/event-stream` or `application/x-ndjson`.",
  ),
  not_a_generator: user(422, "The function returns one value. Use `.remote(...)`."),
  invocation_not_failed: user(409, "Only an invocation that failed or was cancelled can be redriven."),
  input_gone: user(410, "The input of the invocation is not stored any more, so it cannot be redriven."),
  invocation_ended: user(409, "The invocation has ended already; its outcome does not change any more."),
  map_sealed: user(409, "The map's last input was said to be sent already."),
  map_gap: user(409, "Inputs must be appended in order; the message tells the index that comes next."),
  too_many_invocations: {
    ...user(429, "Redis is near its memory limit, so new calls wait outside. Try again later."),
    retryable: true,
    fault: "platform",
  },
  queue_full: {
    ...user(
      429,
      "As many inputs wait as may: calls of the function (`max_queued`, FABRIC_MAX_QUEUED), or 1,000,000 of one map. Try again after Retry-After.",
    ),
    retryable: true,
  },
  quota_exceeded: {
    ...user(
      429,
      "The token has used up its quota: calls in a time, or calls that have not ended. Try again after Retry-After.",
    ),
    retryable: true,
  },

  // deploying
  app_import_failed: user(422, "The app file does not import; the message holds Python's traceback."),
  app_not_defined: user(422, "The app file defines no fabric.App, more than one, or no function."),
  function_duplicate: user(422, "Two functions of the app have the same name."),
  image_spec_invalid: user(422, "The image spec holds something that is not a package name, path or variable."),
  image_build_failed: user(422, "Building the image failed; the message ends with the build log's last lines."),
  image_python_unavailable: user(422, "No base image or interpreter of this Python version can be had here."),
  archive_invalid: user(422, "The source archive holds something other than plain files and folders below its root."),
  archive_too_large: user(413, "The source archive unpacks to more than the limit (FABRIC_MAX_SOURCE_BYTES)."),
  resources_unavailable: user(422, "No node of this fabric is large enough for what the function asks for."),

  // running: user faults
  exception: user(500, "The function raised an exception; type, message and traceback are in the error."),
  exited: user(500, "The function called sys.exit(); the input failed, the container lives on."),
  container_crashed: user(500, "The function's process ended by itself (exit code or fatal signal)."),
  rank_failed: user(
    500,
    "A rank of the gang ended by itself (exit code or fatal signal); the error names it, with its last lines.",
  ),
  out_of_memory: user(500, "The function used more memory than its limit. Raise `memory`."),
  timed_out: user(500, "The function ran longer than its `timeout`."),
  import_failed: user(500, "The user's module does not import inside the container."),
  enter_failed: user(500, "A class' @enter method failed inside the container; the message holds the traceback."),
  batch_result_invalid: user(500, "A batched function did not return a list with one result for each input."),
  python_mismatch: user(422, "Caller and function use different Python minor versions; pickles do not travel."),
  result_not_serializable: user(500, "The return value is neither JSON nor picklable."),
  chunk_too_large: user(500, "A generator yielded a value of more than 1 MiB. Yield smaller parts."),
  disk_full: user(500, "The container's scratch directory is full. Raise `ephemeral_disk`."),
  cancelled: user(409, "The invocation was cancelled."),
  queue_expired: user(504, "No runner took it within the call's `ttl` or the function's `max_queue_age`."),
  checkpoint_exists: user(409, "This step of the series is committed already."),
  checkpoint_tagged: user(
    409,
    "The checkpoint has a tag, so it stays. `fabric checkpoint untag SERIES:TAG` takes it off.",
  ),
  checkpoint_tag_moved: user(
    409,
    "The tag names another checkpoint than the request expects. Look again, then decide.",
  ),
  checkpoint_invalid: user(400, "What was saved is not a directory of plain files below scratch."),
  dataset_unreadable: user(
    400,
    "A dataset is not below `datasets/` in fabric's bucket, is not there, or was written anew while it was read; the message tells which.",
  ),
  report_missing: user(
    500,
    "A rank of a gang returned without the report that others wait for: every rank has to call `train.report` equally often.",
  ),
  series_in_use: user(409, "Another live invocation writes this series."),
  inputs_failed: user(500, "Some inputs of the map failed; its results tell which, and why."),
  result_too_large: user(
    500,
    "A result is larger than 5 GiB, inside a map than 768 KiB. Save it to a volume or bucket and return its name.",
  ),
  call_too_deep: user(
    400,
    "A function called a function called a function ... 64 times: most likely one calls itself without end.",
  ),
  call_deadlock: user(
    500,
    "The call waits for room that only its own callers, which wait for it, could give back. Give the functions less memory, or the fabric more.",
  ),
  calls_outstanding: {
    ...user(
      429,
      "One container has too many calls under way at once (10,000, or 256 MiB of arguments). Call fewer at a time.",
    ),
    retryable: true,
  },
  input_unserializable: user(400, "The arguments are neither JSON nor picklable."),

  // running: platform faults
  node_lost: platform(
    500,
    "The node stopped renewing its lease. Calls survive 3 such faults, those of an at_most_once function none.",
  ),
  container_killed: platform(
    500,
    "The container was killed from outside. Calls survive 3 such faults, those of an at_most_once function none.",
  ),
  rank_killed: platform(
    500,
    "A rank of the gang was killed from outside. Calls survive 3 such faults, those of an at_most_once function none.",
  ),
  preflight_failed: platform(
    500,
    "Ranks of a gang did not meet or all-reduce in time before their training; the message names them, their interfaces and addresses. Calls survive 3 such faults.",
  ),
  container_start_failed: platform(500, "The engine could not start the container."),
  image_missing: platform(500, "The image of this version is on no node any more, nor in the bucket. Deploy again."),
  shim_unresponsive: platform(500, "The container started but its shim did not report in time."),
  protocol_violation: platform(500, "The container sent something outside the protocol and was stopped.", false),
  redis_unavailable: platform(503, "Redis does not answer. Nothing was accepted unless a reply said so."),
  storage_unavailable: platform(503, "The S3 endpoint does not answer."),
  engine_unavailable: platform(503, "The container engine does not answer."),
  fabric_unreachable: platform(503, "No gateway answers at FABRIC_URL. `fabric up` starts one."),
  secret_unreadable: platform(
    500,
    "A secret in the bucket was sealed under another key. Set FABRIC_SEAL_KEY to that key, or make the secret anew.",
    false,
  ),
  internal: platform(500, "A defect in fabric. The gateway's log has the details.", false),
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERRORS;

/** The one JSON shape of an error, in HTTP replies, records and events. */
export interface ErrorBody {
  code: ErrorCode;
  message: string;
  retryable: boolean;
  fault: "user" | "platform";
  details?: Record<string, unknown>;
}

export class FabricError extends Error {
  override readonly name = "FabricError";
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly details?: Record<string, unknown>,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  get kind(): ErrorKind {
    return ERRORS[this.code];
  }

  toBody(): ErrorBody {
    const { retryable, fault } = this.kind;
    return {
      code: this.code,
      message: this.message,
      retryable,
      fault,
      ...(this.details ? { details: this.details } : {}),
    };
  }
}

/** Throws a coded error; typed `never` so that callers need no `return`. */
export function fail(
  code: ErrorCode,
  message: string,
  details?: Record<string, unknown>,
  options?: ErrorOptions,
): never {
  throw new FabricError(code, message, details, options);
}

/** Any thrown value as a coded error; what carries no code is a defect of ours. */
export function asFabricError(thrown: unknown): FabricError {
  if (thrown instanceof FabricError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new FabricError("internal", message, undefined, { cause: thrown });
}
