import { status } from '@grpc/grpc-js';
import * as admin from '../api/berth/v1/admin.ts';
import { Fault } from '../base/fault.ts';
import { problemAt } from './in-force.ts';
import { connectTo, type Rpc } from './rpc.ts';

/** For what it has at hand: a daemon that takes longer hangs. */
export const atOnce = () => ({ deadline: Date.now() + 10_000 });

/** Asks the daemon something. An error says what its cause is and what to do, not how it was carried. */
export async function askDaemon<T>(socket: string, ask: (daemon: Rpc<admin.AdminClient>) => Promise<T>): Promise<T> {
  const client = connectTo(admin.AdminClient, admin, socket);
  try {
    return await ask(client);
  } catch (error) {
    throw await understood(error, socket);
  } finally {
    client.close();
  }
}

async function understood(error: unknown, socket: string): Promise<unknown> {
  if (!(error instanceof Error && 'details' in error && 'code' in error)) return error;
  if (error.code === status.DEADLINE_EXCEEDED && String(error.details).startsWith(ownDeadline))
    return hanging(socket, error);
  const unreachable = error.code === status.UNAVAILABLE ? await problemAt(socket) : null;
  return new Fault('Unavailable', unreachable ?? String(error.details), { cause: error });
}

/** What gRPC says here, with where in itself the call was; the daemon's own words for what took it too long are others. */
const ownDeadline = 'Deadline exceeded after';

const hanging = (socket: string, cause: Error) =>
  new Fault(
    'DeadlineExceeded',
    `Berth at ${socket} gave no answer in time: SIGUSR2 has it log what it waits for (docs/operating.md)`,
    { cause },
  );
