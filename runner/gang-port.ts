/** A port for the ranks of one attempt to meet at: another one for each, so that late comers of an earlier one find nobody. */
import { randomInt } from "node:crypto";
import { createServer } from "node:net";

/** Below those that systems give to outgoing connections. */
const [FIRST, LAST] = [20_000, 32_000];
const TRIES = 100;

/** On the process engine ranks share this machine's loopback, so it has to be free there; elsewhere that does no harm. */
const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });

export async function meetingPort(before: number | undefined): Promise<number> {
  for (let tries = 0; tries < TRIES; tries++) {
    const port = randomInt(FIRST, LAST);
    if (port !== before && (await isFree(port))) return port;
  }
  throw new Error(`none of ${TRIES} ports from ${FIRST} to ${LAST} is free`);
}
