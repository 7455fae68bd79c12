import { closeSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { gzipSync } from 'node:zlib';
import { Fault, invalidArgument, isErrno, messageOf } from '../base/fault.ts';
import type { Settings } from '../base/settings.ts';
import { endOfArchive, memberHeader, paddingAfter } from '../image/index.ts';
import { socketInForce } from './in-force.ts';
import { supportParts } from './support-parts.ts';
import { refuseStandardOutput, tell } from './tell.ts';

/** `berth bundle FILE`: a support archive, root's alone. @throws Fault InvalidArgument if FILE exists. */
export async function writeSupportArchive(settings: Settings, file: string): Promise<void> {
  refuseStandardOutput(file);
  const fd = create(file);
  try {
    const folder = `berth-${hostname()}`;
    const socket = socketInForce(settings);
    socket.catch(() => {}); // each part that waits for it says so
    const members: Buffer[] = [];
    for (const [name, make] of Object.entries(supportParts)) {
      members.push(...member(`${folder}/${name}`, await textOf(() => make({ settings, socket }))));
    }
    writeFileSync(fd, gzipSync(Buffer.concat([...members, endOfArchive])));
  } catch (error) {
    rmSync(file, { force: true });
    throw new Fault('ResourceExhausted', `Cannot write ${file}: ${messageOf(error)}`, { cause: error });
  } finally {
    closeSync(fd);
  }
  tell(`${file}: look through it before you send it (tar -xzf ${file})\n`);
}

/** Before the work, so that nobody waits for it in vain. */
function create(file: string): number {
  try {
    return openSync(file, 'wx', 0o600);
  } catch (error) {
    if (isErrno(error, 'EEXIST')) throw invalidArgument(`${file} exists: remove it or name another file`);
    throw invalidArgument(`Cannot write ${file}: ${messageOf(error)}: name another file`);
  }
}

/** What is broken on a node is what the archive is asked for. */
async function textOf(make: () => Promise<string> | string): Promise<string> {
  try {
    return await make();
  } catch (error) {
    return `It could not be found out: ${messageOf(error)}\n`;
  }
}

function member(path: string, text: string): Buffer[] {
  const data = Buffer.from(text);
  const mtimeNs = BigInt(Date.now()) * 1_000_000n;
  const header = memberHeader({ type: '0', path, mode: 0o600, uid: 0, gid: 0, size: data.length, mtimeNs });
  return [header, data, paddingAfter(data.length)];
}
