/** Many small writes to a socket in one turn of the event loop become one system call: under load the calls cost most. */
import type { Duplex } from "node:stream";

/**
 * What is written before the next tick goes out together, in order. Costs no waiting: the tick runs as soon as the work
 * that is being done has no more to write.
 */
export function coalesceWrites(socket: Pick<Duplex, "cork" | "uncork" | "write">): void {
  const write = socket.write.bind(socket) as Duplex["write"];
  let corked = false;
  socket.write = ((...args: Parameters<Duplex["write"]>) => {
    if (!corked) {
      corked = true;
      socket.cork();
      process.nextTick(() => {
        corked = false;
        socket.uncork();
      });
    }
    return write(...args);
  }) as Duplex["write"];
}
