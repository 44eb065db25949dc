/** Calls over kept-alive connections that do next to nothing but call: the load is not to take the cores from what is measured. */
import { connect, type Socket } from "node:net";

interface Connection {
  socket: Socket;
  received: string;
  settle(error: Error | undefined, head?: string): void;
}

/** Sends `POST url` with the body `{}`; answers the reply's head. Anything but 200 is a broken bench. */
export function httpCaller(url: string, token = ""): () => Promise<string> {
  const { hostname, port, host, pathname } = new URL(url);
  const auth = `Authorization: Bearer ${token}`;
  const request = `POST ${pathname} HTTP/1.1\r\nHost: ${host}\r\n${auth}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`;
  const idle: Connection[] = [];

  function open(): Connection {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    const one: Connection = { socket, received: "", settle: () => {} };
    socket.on("data", (chunk) => receive(one, chunk));
    socket.on("error", (error) => one.settle(error));
    socket.on("close", () => one.settle(new Error(`${url} closed the connection`)));
    return one;
  }

  function receive(one: Connection, chunk: Buffer): void {
    one.received += chunk.toString("latin1");
    const end = one.received.indexOf("\r\n\r\n");
    const head = one.received.slice(0, Math.max(end, 0));
    const length = Number(/\ncontent-length: *(\d+)/i.exec(head)?.[1]);
    if (end < 0 || one.received.length < end + 4 + length) return;
    const status = head.slice(9, 12);
    one.received = "";
    one.settle(status === "200" ? undefined : new Error(`${url} answered ${status}`), head);
    idle.push(one);
  }

  return (): Promise<string> => {
    const one = idle.pop() ?? open();
    return new Promise((resolve, reject) => {
      one.settle = (error, head = "") => (error ? reject(error) : resolve(head));
      one.socket.write(request);
    });
  };
}
