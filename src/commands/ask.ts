import { once } from 'node:events';
import { connect } from 'node:net';
import { status } from '@grpc/grpc-js';
import * as admin from '../api/berth/v1/admin.ts';
import { Fault, isErrno, messageOf } from '../base/fault.ts';
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
  const unreachable = error.code === status.UNAVAILABLE ? await whyUnreachable(socket) : null;
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

/** What gRPC does not say: null if the daemon is there after all. */
async function whyUnreachable(socket: string): Promise<string | null> {
  const probe = connect(socket);
  try {
    await once(probe, 'connect');
    return null;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) {
      return `Berth is not running here: there is no ${socket}. Start it with: berth serve; or name its configuration with --config FILE`;
    }
    if (isErrno(error, 'ECONNREFUSED')) {
      return `Berth is not running: nobody listens at ${socket}. Start it with: berth serve; containers go on meanwhile`;
    }
    if (isErrno(error, 'EACCES', 'EPERM'))
      return `No permission for ${socket}, which is root's: run this as root, with sudo`;
    return `Berth cannot be reached at ${socket}: ${messageOf(error)}`;
  } finally {
    probe.destroy();
  }
}
