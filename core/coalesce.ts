/** Many small writes to a socket in one turn of the event loop become one system call: under load the calls cost most. */
import type { Duplex } from "node:stream";
import { atTurnEnd } from "./turn.ts";

/**
 * What is written in one turn goes out together, in order, also what is written because of different sockets.
 */
export function coalesceWrites(socket: Pick<Duplex, "cork" | "uncork" | "write">): void {
  const write = socket.write.bind(socket) as Duplex["write"];
  let corked = false;
  socket.write = ((...args: Parameters<Duplex["write"]>) => {
    if (!corked) {
      corked = true;
      socket.cork();
      atTurnEnd(() => {
        corked = false;
        socket.uncork();
      });
    }
    return write(...args);
  }) as Duplex["write"];
}
