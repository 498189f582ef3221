import * as request from "bennu:channel/request@0.1.0";

/** Who a socket is. It doesn't change while the socket is connected. */
export interface Identity {
  /** The user's name, which channels read as `socket.user`. At most 255 bytes. */
  user?: string;
  /** The id by which the socket can be disconnected, such as `user_socket:42`. Several sockets may have the same. At most 255 bytes. */
  socketId?: string;
  /** More data for channels, which they read as `socket.claims`. At most 16 KiB as JSON. */
  claims?: object;
}

/** The request of a client that wants to connect. */
export class ConnectRequest {
  /** The parameters of the request. Parameters such as `a[b]=c` are nested. */
  get params(): Record<string, any> {
    return JSON.parse(request.params());
  }

  /** The token that phoenix.js sends as `authToken`, if the mount accepts one (`auth_token = true`). */
  get authToken(): string | undefined {
    return request.authToken() ?? undefined;
  }

  /** All headers in the order sent, with names in lower case. */
  get headers(): [string, string][] {
    return request.headers();
  }

  /** The first header with a name. */
  header(name: string): string | undefined {
    return this.headers.find(([other]) => other === name.toLowerCase())?.[1];
  }

  /** The address that the request comes from. Behind a proxy it is the proxy's. */
  get peer(): { ip: string; port: number } {
    return request.peer();
  }

  /** The address that the client requested. `query` isn't decoded. */
  get uri(): { scheme: string; host: string; port: number; path: string; query: string } {
    return request.uri();
  }

  /** The path of the mount, such as `/socket`. */
  get mount(): string {
    return request.mount();
  }

  /** `websocket` or `longpoll`. */
  get transport(): string {
    return request.transport();
  }
}

/** A client that may not connect. */
export class Forbidden {
  readonly status: number;
  readonly body: string;
  constructor(status: number, body: string) {
    this.status = status;
    this.body = body;
  }
}

/** Refuses the connection, with an HTTP status from 400 to 599. Over long-poll the client always gets 403. */
export function forbid(status: number = 403, body: string = ""): never {
  if (!Number.isInteger(status) || status < 400 || status > 599) throw new RangeError(`a status is a number from 400 to 599, and not ${status}`);
  throw new Forbidden(status, String(body));
}

/** A gatekeeper: the default export of a script that decides about connections. */
export class Gatekeeper {
  readonly connect: (request: ConnectRequest) => Identity;
  constructor(connect: (request: ConnectRequest) => Identity) {
    if (typeof connect !== "function") throw new TypeError("a gatekeeper is a function of the request: `gatekeeper((request) => ({ user: … }))`");
    this.connect = connect;
  }
}

/**
 * Declares a gatekeeper. The function returns who the client is; `forbid` keeps it out. An error refuses the client with the status 500,
 * and an invalid token with 403. A gatekeeper has a file of its own, and can only read the store.
 */
export function gatekeeper(connect: (request: ConnectRequest) => Identity): Gatekeeper {
  return new Gatekeeper(connect);
}
