/** An error as a reply's header can carry it: a frame that is over the limit would break the connection again and again. */
import type { ErrorBody } from "../core/errors.ts";
import { MAX_HEADER_BYTES } from "../core/protocol.ts";

const ROOM_BYTES = MAX_HEADER_BYTES - 64 * 1024;
/** As JSON a character has six bytes at most. */
const MESSAGE_CHARS = 8 * 1024;
const TRACEBACK_CHARS = 16 * 1024;

export function fittingError(error: ErrorBody): ErrorBody {
  if (Buffer.byteLength(JSON.stringify(error)) <= ROOM_BYTES) return error;
  const { type, traceback } = error.details ?? {};
  return {
    ...error,
    message: error.message.slice(0, MESSAGE_CHARS),
    details: {
      ...(typeof type === "string" ? { type: type.slice(0, 512) } : {}),
      ...(typeof traceback === "string" ? { traceback: traceback.slice(-TRACEBACK_CHARS) } : {}),
    },
  };
}
