/** What answers while the gateway waits for Redis and S3: it lives, and is not ready. */
import { FabricError } from "../core/errors.ts";
import { replyHeaders } from "./error-reply.ts";

export type Fetch = (request: Request, env?: unknown) => Response | Promise<Response>;

export function startingApp(): Fetch {
  return (request) => {
    if (new URL(request.url).pathname === "/healthz") return Response.json({ ok: true });
    const error = new FabricError("redis_unavailable", "the gateway is starting: it waits for Redis and S3");
    return Response.json({ ready: false, error: error.toBody() }, { status: 503, headers: replyHeaders(503) });
  };
}
