import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Fault, isErrno } from '../base/fault.ts';
import { type Answer, decodeAnswer, encodeCall, type MethodCall } from './dbus-wire.ts';

/** systemd's own socket, for root: it works without a bus daemon. */
const privateSocket = '/run/systemd/private';
const manager = {
  path: '/org/freedesktop/systemd1',
  interface: 'org.freedesktop.systemd1.Manager',
  destination: 'org.freedesktop.systemd1',
} as const;
const pollMs = 5;
const deadlineMs = 60_000;

/**
 * Puts a process into a new scope in a slice, and waits until it is there. The scope goes with its last process.
 * @throws Fault FailedPrecondition without systemd, DeadlineExceeded, Internal with systemd's reason.
 */
export async function startScope(name: string, slice: string, pid: number, description: string): Promise<void> {
  const properties = {
    Description: description,
    Slice: slice,
    PIDs: [pid],
    DefaultDependencies: false, // or a shutdown would end it before its containers
    Delegate: true,
    CollectMode: 'inactive-or-failed',
  };
  await callManager('StartTransientUnit', [name, 'fail', properties, null]);
  const end = performance.now() + deadlineMs;
  while (!cgroupsOf(pid).includes(`/${name}\n`)) {
    if (performance.now() > end) {
      throw new Fault('DeadlineExceeded', `systemd did not move process ${pid} to ${name} in ${deadlineMs} ms`);
    }
    await delay(pollMs);
  }
}

/** Starts a unit; a slice needs no file. */
export const startUnit = (name: string): Promise<void> => callManager('StartUnit', [name, 'replace']);

/** Stops a unit, as a slice that was made for something that is gone; one that is not there counts as stopped. */
export async function stopUnit(name: string): Promise<void> {
  await callManager('StopUnit', [name, 'replace'], ['org.freedesktop.systemd1.NoSuchUnit']);
}

/** Changes properties of a unit that runs, until it ends. */
export const changeUnit = (name: string, properties: Readonly<Record<string, bigint>>): Promise<void> =>
  callManager('SetUnitProperties', [name, true, properties]);

function cgroupsOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) throw new Fault('Internal', `Process ${pid} ended before it had a scope`);
    throw error;
  }
}

async function callManager(
  member: string,
  args: MethodCall['arguments'],
  ignored: readonly string[] = [],
): Promise<void> {
  const { error } = await exchange({ ...manager, member, arguments: args });
  if (!error || ignored.includes(error.name)) return;
  throw new Fault('Internal', `systemd refuses ${member} of ${String(args[0])}: ${error.text || error.name}`);
}

/** One connection a call: it is local, and there is nothing to keep alive. */
function exchange(call: MethodCall): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const socket = connect(privateSocket);
  const timer = setTimeout(
    () => reject(new Fault('DeadlineExceeded', `systemd did not answer ${call.member} in ${deadlineMs} ms`)),
    deadlineMs,
  );
  socket.on('error', (error) => reject(isErrno(error, 'ENOENT', 'ECONNREFUSED') ? withoutSystemd() : error));
  socket.on('close', () => reject(new Fault('Unavailable', `systemd hung up on ${call.member}`)));
  socket.on('data', answersTo(socket, call, resolve, reject));
  // EXTERNAL: who we are, as the kernel tells it too (D-Bus specification, "Authentication Protocol").
  const uid = Buffer.from(String(process.getuid?.() ?? 0)).toString('hex');
  // BEGIN comes along: systemd does not look again at a call that it read together with BEGIN.
  socket.write(`\0AUTH EXTERNAL ${uid}\r\nBEGIN\r\n`);
  return promise.finally(() => {
    clearTimeout(timer);
    socket.destroy();
  });
}

const withoutSystemd = () =>
  new Fault(
    'FailedPrecondition',
    `cgroup_driver is systemd, but nothing serves ${privateSocket}: is systemd this host's init?`,
  );

/** First a line of the authentication, then messages. */
function answersTo(socket: Socket, call: MethodCall, done: (answer: Answer) => void, fail: (error: unknown) => void) {
  const serial = 1;
  let data = Buffer.alloc(0);
  let greeted = false;
  return (chunk: Buffer) => {
    data = Buffer.concat([data, chunk]);
    try {
      if (!greeted) {
        const end = data.indexOf('\r\n');
        if (end < 0 && data.length < 1024) return;
        if (!data.toString('latin1', 0, 3).startsWith('OK ')) throw new Error('systemd does not accept who we are');
        data = data.subarray(end + 2);
        greeted = true;
        socket.write(encodeCall(serial, call));
      }
      for (let answer = decodeAnswer(data); answer; answer = decodeAnswer(data)) {
        data = data.subarray(answer.size);
        if (answer.to === serial) return done(answer);
      }
    } catch (error) {
      fail(error);
    }
  };
}
