import { failedPrecondition, invalidArgument } from '../base/fault.ts';
import type { SupplementalGroupsPolicy } from '../model/config.ts';
import { highestId, plainId } from '../model/users.ts';
import type { ResolvedUser } from './input.ts';

export type UserRequest = {
  readonly runAsUser: number | null;
  readonly runAsGroup: number | null;
  readonly runAsUsername: string;
  /** `user[:group]` as the image says it; used when the request names no user. */
  readonly imageUser: string;
  readonly supplementalGroups: readonly number[];
  readonly policy: SupplementalGroupsPolicy;
};

/** Texts of the root's /etc/passwd and /etc/group: empty where there is no such file, null where it is too long. */
export type UserFiles = { readonly passwd: string | null; readonly group: string | null };

type PasswdEntry = { readonly name: string; readonly uid: number; readonly gid: number; readonly home: string };
/** What /etc/group says of one group name and of one user. */
type GroupFacts = { readonly named: number | undefined; readonly memberships: readonly number[] };

/** The longest /etc/passwd and /etc/group that are read, in bytes: 20,000 users and more. */
export const mostUserFileBytes = 1 << 20;

/** NGROUPS_MAX of Linux. */
const mostGroups = 65536;

/**
 * Who a container runs as. A numeric user needs no entry in /etc/passwd; a name does. What looks like a number but is not a
 * plain id within range is refused: it never becomes a name lookup, and never root. A file that is too long is passed over
 * where nothing but HOME depends on it; to guess a group from nothing would be to guess privileges.
 * @throws Fault InvalidArgument, FailedPrecondition for a name that the image lacks and for a file that is too long.
 */
export function resolveUser(request: UserRequest, files: UserFiles): ResolvedUser {
  const { user, group } = chosen(request);
  const uid = parseId('User', user);
  const givenGid = group === '' ? null : parseId('Group', group);
  const merges = request.policy !== 'strict';
  const mustFind = uid === null || group === '' || merges;
  const entry = findUser(user, uid, mustFind ? searchable('/etc/passwd', files.passwd) : (files.passwd ?? ''));
  const groupName = givenGid === null ? group : '';
  const member = merges ? entry.name : '';
  const facts =
    groupName === '' && member === '' ? null : searchGroups(searchable('/etc/group', files.group), groupName, member);
  const gid = givenGid ?? (groupName === '' ? entry.gid : facts?.named);
  if (gid === undefined) throw missing('Group', group, '/etc/group');
  const asked = request.supplementalGroups.map((id) => checkedId('supplemental group', id));
  const additionalGids = [...new Set([gid, ...(facts?.memberships ?? []), ...asked])];
  if (additionalGids.length > mostGroups) {
    throw invalidArgument(`${additionalGids.length} supplementary groups: Linux takes at most ${mostGroups}`);
  }
  return { uid: entry.uid, gid, additionalGids, home: entry.home };
}

function searchable(path: string, text: string | null): string {
  if (text !== null) return text;
  const way = 'shorten it, or set run_as_user, run_as_group and the supplemental groups policy Strict';
  throw failedPrecondition(`${path} of the image has more than ${mostUserFileBytes} bytes and is not searched: ${way}`);
}

const missing = (what: string, name: string, path: string) =>
  failedPrecondition(`${what} ${quote(name)} is not in the image's ${path}: add it there or use a numeric id`);

/** The user and the group to look up, as texts. */
function chosen(request: UserRequest): { user: string; group: string } {
  const { runAsUser, runAsGroup, runAsUsername } = request;
  if (runAsUser !== null && runAsUsername !== '') {
    throw invalidArgument(`run_as_user ${runAsUser} and run_as_username ${quote(runAsUsername)} are both set: use one`);
  }
  const group = runAsGroup === null ? '' : String(checkedId('run_as_group', runAsGroup));
  if (runAsUser !== null) return { user: String(checkedId('run_as_user', runAsUser)), group };
  if (runAsUsername !== '') return { user: runAsUsername, group };
  if (group !== '') throw invalidArgument(`run_as_group ${group} is set without a user: set run_as_user too`);
  return splitUser(request.imageUser);
}

function splitUser(text: string): { user: string; group: string } {
  const parts = text.split(':');
  // ":777" is root with that group and "1000:" has no group, as Docker and containerd read them.
  if (parts.length > 2) {
    throw invalidArgument(`User ${quote(text)} of the image is not user, user:group, uid or uid:gid`);
  }
  return { user: parts[0] || '0', group: parts[1] ?? '' };
}

/** The first entry with this id or, where that is null, with this name. */
function findUser(text: string, uid: number | null, passwd: string): PasswdEntry {
  for (const [name = '', , ownUid = '', ownGid = '', , home = ''] of lines(passwd, 7)) {
    if (uid === null ? name !== text : plainId(ownUid) !== uid) continue;
    const [found, gid] = [plainId(ownUid), plainId(ownGid)];
    if (name === '' || found === null || gid === null) continue;
    return { name, uid: found, gid, home: home.startsWith('/') ? home : '/' };
  }
  if (uid === null) throw missing('User', text, '/etc/passwd');
  return { name: '', uid, gid: 0, home: '/' };
}

/** One pass: the first group of this name, and every group that lists `member`; empty: not looked for. */
function searchGroups(text: string, wanted: string, member: string): GroupFacts {
  let named: number | undefined;
  const memberships: number[] = [];
  for (const [name = '', , id = '', members = ''] of lines(text, 4)) {
    const gid = plainId(id);
    if (name === '' || gid === null) continue;
    if (name === wanted) named ??= gid;
    if (isMember(member, members)) memberships.push(gid);
  }
  return { named, memberships };
}

/** Searched, not split: a list may be as long as the file. */
const isMember = (name: string, list: string) =>
  name !== '' && !name.includes(',') && (list === name || `,${list},`.includes(`,${name},`));

/** A plain decimal id, or null for a name. "4294967296", "-1", "1e3", "0x0" and " 0" are neither. */
function parseId(what: string, text: string): number | null {
  const id = plainId(text);
  if (id !== null) return id;
  const looksNumeric = !Number.isNaN(Number(text)) || /^[+-]/.test(text) || /[\s:\x00-\x1f\x7f]/.test(text);
  if (looksNumeric) throw invalidArgument(`${what} ${quote(text)} is neither a name nor an id from 0 to ${highestId}`);
  return null;
}

function checkedId(what: string, id: number): number {
  if (Number.isInteger(id) && id >= 0 && id <= highestId) return id;
  throw invalidArgument(`${what} ${id} is out of range: ids are 0 to ${highestId}`);
}

/**
 * The first `most` fields of each line, one line at a time. Lines that do not parse are passed over, as getpwnam(3) does: a
 * stray one must not stop an image from running.
 */
function* lines(text: string, most: number): Generator<string[]> {
  for (let at = 0; at < text.length; ) {
    const newline = text.indexOf('\n', at);
    const end = newline < 0 ? text.length : newline;
    const begin = at;
    at = end + 1;
    if (end - begin < 4 || text[begin] === '#') continue; // `a::0` has four
    const fields = text.slice(begin, text[end - 1] === '\r' ? end - 1 : end).split(':', most);
    if (fields.length >= 3) yield fields;
  }
}

const quote = (text: string) => JSON.stringify(text.slice(0, 64));
