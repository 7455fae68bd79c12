import { failedPrecondition, invalidArgument } from '../base/fault.ts';
import type { SupplementalGroupsPolicy } from '../model/config.ts';
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

type PasswdEntry = { readonly name: string; readonly uid: number; readonly gid: number; readonly home: string };
type GroupEntry = { readonly name: string; readonly gid: number; readonly members: readonly string[] };

/** (uid_t)-1 means "no change" to the kernel, so the highest usable id is one less. */
const highestId = 2 ** 32 - 2;
/** NGROUPS_MAX of Linux. */
const mostGroups = 65536;

/**
 * Who a container runs as, from the texts of its root's /etc/passwd and /etc/group (empty where there is no such file).
 * A numeric user needs no entry; a name does. What looks like a number but is not a plain id within range is refused:
 * it never becomes a name lookup, and never root. InvalidArgument, or FailedPrecondition for a name that the image lacks.
 */
export function resolveUser(request: UserRequest, files: { passwd: string; group: string }): ResolvedUser {
  const { user, group } = chosen(request);
  const entry = findUser(user, files.passwd);
  const groups = parseGroups(files.group);
  const gid = group === '' ? entry.gid : findGroup(group, groups);
  const own = request.policy === 'strict' || entry.name === '' ? [] : memberships(entry.name, groups);
  const asked = request.supplementalGroups.map((id) => checkedId('supplemental group', id));
  const additionalGids = [...new Set([gid, ...own, ...asked])];
  if (additionalGids.length > mostGroups) {
    throw invalidArgument(`${additionalGids.length} supplementary groups: Linux takes at most ${mostGroups}`);
  }
  return { uid: entry.uid, gid, additionalGids, home: entry.home };
}

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
  if (parts.length > 2 || (parts.length === 2 && (parts[0] === '' || parts[1] === ''))) {
    throw invalidArgument(`User ${quote(text)} of the image is not user, user:group, uid or uid:gid`);
  }
  return { user: parts[0] || '0', group: parts[1] ?? '' };
}

function findUser(text: string, passwd: string): PasswdEntry {
  const uid = parseId('User', text);
  const entry = parsePasswd(passwd).find((each) => (uid === null ? each.name === text : each.uid === uid));
  if (entry) return entry;
  if (uid !== null) return { name: '', uid, gid: 0, home: '/' };
  throw failedPrecondition(`User ${quote(text)} is not in the image's /etc/passwd: add it there or use a numeric id`);
}

function findGroup(text: string, groups: readonly GroupEntry[]): number {
  const gid = parseId('Group', text) ?? groups.find((each) => each.name === text)?.gid;
  if (gid !== undefined) return gid;
  throw failedPrecondition(`Group ${quote(text)} is not in the image's /etc/group: add it there or use a numeric id`);
}

const memberships = (name: string, groups: readonly GroupEntry[]) =>
  groups.filter((each) => each.members.includes(name)).map((each) => each.gid);

/** A plain decimal id, or null for a name. "4294967296", "-1", "1e3", "0x0" and " 0" are neither. */
function parseId(what: string, text: string): number | null {
  if (/^\d{1,10}$/.test(text)) return checkedId(what, Number(text));
  const looksNumeric = !Number.isNaN(Number(text)) || /^[+-]/.test(text) || /[\s:\x00-\x1f\x7f]/.test(text);
  if (looksNumeric) throw invalidArgument(`${what} ${quote(text)} is neither a name nor an id from 0 to ${highestId}`);
  return null;
}

function checkedId(what: string, id: number): number {
  if (Number.isInteger(id) && id >= 0 && id <= highestId) return id;
  throw invalidArgument(`${what} ${id} is out of range: ids are 0 to ${highestId}`);
}

function parsePasswd(text: string): PasswdEntry[] {
  return lines(text, 7).flatMap(([name = '', , uid = '', gid = '', , home = '']) =>
    name !== '' && isId(uid) && isId(gid)
      ? [{ name, uid: Number(uid), gid: Number(gid), home: home.startsWith('/') ? home : '/' }]
      : [],
  );
}

function parseGroups(text: string): GroupEntry[] {
  return lines(text, 4).flatMap(([name = '', , gid = '', members = '']) =>
    name !== '' && isId(gid) ? [{ name, gid: Number(gid), members: members.split(',') }] : [],
  );
}

/** Lines that do not parse are passed over, as getpwnam(3) does: a stray one must not stop an image from running. */
const lines = (text: string, fields: number) =>
  text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .map((line) => line.replace(/\r$/, '').split(':'))
    .filter((parts) => parts.length >= Math.min(fields, 3));

const isId = (text: string) => /^\d{1,10}$/.test(text) && Number(text) <= highestId;

const quote = (text: string) => JSON.stringify(text.slice(0, 64));
