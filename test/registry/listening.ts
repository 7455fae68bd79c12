import { once } from 'node:events';
import type { Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

/** Where a server of a test listens, and its end, connections that are open included. */
export type Listening = AsyncDisposable & { readonly host: string };

/** Has it listen on loopback; `port`: 0 is any that is free. */
export async function listening(server: Server | TlsServer, port = 0): Promise<Listening> {
  await once(server.listen(port, '127.0.0.1'), 'listening');
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}
