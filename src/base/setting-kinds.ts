import { parseAddress, withoutPassword } from './address.ts';
import { capabilityNames } from './capability-names.ts';
import { longestPath } from './limits.ts';
import { isSysctlName, ownerOfSysctl } from './namespaced-sysctls.ts';

/** What a setting may be. */
export interface Kind<T> {
  /** What it must be, to go on from "must be". */
  readonly what: string;
  readonly takes: (value: unknown) => value is T;
  /** A value as an error may quote it, where it may hold what is nobody's to read. */
  readonly quoted?: (value: unknown) => unknown;
}

const kind = <T>(what: string, takes: (value: T) => boolean, like: T): Kind<T> => ({
  what,
  takes: (value): value is T => typeof value === typeof like && takes(value as T),
});
const text = (what: string, takes: (value: string) => boolean): Kind<string> =>
  kind(what, (value) => isPrintable(value) && takes(value), '');

/** No text of a configuration has a control character in it: none is a path's, and log lines and programs get them. */
const isPrintable = (value: string): boolean => !/[\x00-\x1f\x7f-\x9f]/.test(value);

/** sockaddr_un's sun_path, without the NUL. */
const longestSocket = 107;

const isPath = (value: string, most: number): boolean =>
  /^\/(?!.*(^|\/)\.\.(\/|$))/.test(value) && Buffer.byteLength(value) <= most;

export const flag: Kind<boolean> = kind('true or false', () => true, false);

export const path: Kind<string> = text('an absolute path without ..', (value) => isPath(value, longestPath));

export const pathOrNone: Kind<string> = text(
  'an absolute path without .., or empty',
  (value) => value === '' || isPath(value, longestPath),
);

/** A path that others are built from, so that there is less room for it. */
export const shortPath = (most: number): Kind<string> =>
  text(`an absolute path without .., not longer than ${most} characters`, (value) => isPath(value, most));

export const socketPath: Kind<string> = text(
  `an absolute path without .., not longer than the ${longestSocket} bytes that a unix socket's may be`,
  (value) => isPath(value, longestSocket),
);

export const socketPathOrNone: Kind<string> = text(
  `${socketPath.what}, or empty`,
  (value) => value === '' || isPath(value, longestSocket),
);

export const address: Kind<string> = text(
  'an IP address and a port: 127.0.0.1:0',
  (value) => parseAddress(value) !== null,
);

export const addressOrNone: Kind<string> = text(
  'an IP address and a port, or empty: 127.0.0.1:9102',
  (value) => value === '' || parseAddress(value) !== null,
);

/** No login in it: settings are printed. One that was written all the same is not quoted. */
export const webAddressOrNone: Kind<string> = {
  ...text('http://HOST:PORT or https://HOST:PORT, or empty', (value) => value === '' || isWebAddress(value)),
  quoted: (value) => (typeof value === 'string' ? withoutPassword(value).replace(/[?#].*/s, '...') : value),
};

function isWebAddress(value: string): boolean {
  const url = URL.parse(value);
  if (!url || !/^https?:\/\/[^@?#\s]+$/i.test(value)) return false;
  return /^https?:$/.test(url.protocol) && url.hostname !== '' && value.length <= longestPath;
}

/** A part of all: 0.25, say. */
export const share: Kind<number> = kind('a number from 0 to 1', (value) => value >= 0 && value <= 1, 0);

/** A name that stands in a path, a URL or a message: of a RuntimeClass handler, say. */
export const name: Kind<string> = text('a name of letters, digits and ._-', (value) =>
  /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(value),
);

/** What a systemd unit's name begins with, up to a dash; a colon parts it from others in an OCI cgroups path. */
export const unitPart: Kind<string> = text('letters, digits, _ and -, not at its ends', (value) =>
  /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9_])?$/.test(value),
);

export const word: Kind<string> = text('a text without control characters', (value) => value.length <= longestPath);

export const oneOf = (...all: string[]): Kind<string> => text(all.join(' or '), (value) => all.includes(value));

export const logLevel: Kind<string> = oneOf('debug', 'info', 'warn', 'error');

export const whole = (least: number, most: number): Kind<number> =>
  kind(
    `a whole number from ${least} to ${most}`,
    (value) => Number.isSafeInteger(value) && value >= least && value <= most,
    0,
  );

/** A day at most: no wait of Berth's is longer, and timers count milliseconds in 31 bits. */
export const seconds: Kind<number> = kind(
  'seconds: a number above 0, at most 86400',
  (value) => value > 0 && value <= 86_400,
  0,
);

export const listOf = (each: Kind<string>, least = 0): Kind<string[]> => ({
  what: `a list${least > 0 ? `, not empty, ` : ' '}of which each is ${each.what}`,
  takes: (value): value is string[] => Array.isArray(value) && value.length >= least && value.every(each.takes),
});

/** NAME=... each, and each name once: which of two counts would be for the reader to guess, and OCI runtimes refuse it. */
export const namedOnce = (each: Kind<string>): Kind<string[]> => {
  const all = listOf(each);
  const isDistinct = (names: string[]) => new Set(names).size === names.length;
  const quoted = (value: unknown) => (Array.isArray(value) ? value.map(each.quoted!) : each.quoted!(value));
  return {
    ...(each.quoted && { quoted }),
    what: `${all.what}; no NAME twice`,
    takes: (value): value is string[] => all.takes(value) && isDistinct(value.map((text) => text.split('=', 1)[0]!)),
  };
};

/** A capability, as requests name it: NET_ADMIN. */
export const capability: Kind<string> = text('a capability such as NET_RAW', (value) =>
  capabilityNames.includes(`CAP_${value}`),
);

/** Of a variable, whose value may be a secret. */
export const assignment: Kind<string> = {
  ...text('NAME=value', (value) => /^[^=]+=/.test(value) && value.length <= longestPath),
  quoted: (value) => (typeof value === 'string' ? value.replace(/(=|^[^=]*$).*/s, '=...') : '...'),
};

export const sysctl: Kind<string> = text(
  'a sysctl of the network, IPC or UTS namespace and its value: net.ipv4.tcp_syncookies=1',
  (value) => {
    const [, name = '', rest] = /^([^=]+)=(.+)$/.exec(value) ?? [];
    return rest !== undefined && rest.length <= longestPath && isSysctlName(name) && ownerOfSysctl(name) !== undefined;
  },
);

/** Which annotations are meant, by their keys: * and ? stand for what is no slash. */
export const keyPattern: Kind<string> = text(
  'a key such as run.oci.handler, with * and ? for what is no slash',
  (value) => /^[A-Za-z0-9*?._/-]{1,317}$/.test(value),
);

/** The limits of getrlimit(2), by the names that ulimit, PAM and the peers use. */
export const ulimitNames =
  'as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(' ');

/** Of both limits, or of one. */
export const unlimitedWord = 'unlimited';

export const ulimit: Kind<string> = text(
  `NAME=SOFT:HARD, or NAME=BOTH, whole numbers or ${unlimitedWord}; NAME of ${ulimitNames.join(', ')}, of which nofile has a number always`,
  (value) => {
    const [, name = '', soft = '', hard = soft] =
      /^([a-z]+)=(\d{1,15}|unlimited)(?::(\d{1,15}|unlimited))?$/.exec(value) ?? [];
    const [least, most] = [soft, hard].map((each) => (each === unlimitedWord ? Infinity : Number(each))) as [
      number,
      number,
    ];
    if (name === 'nofile' && most === Infinity) return false; // the kernel's own is fs.nr_open
    return ulimitNames.includes(name) && least <= most;
  },
);

/** As PATH has them. */
export const pathList: Kind<string> = text('absolute paths without .., separated by colons', (value) =>
  value.split(':').every((each) => isPath(each, longestPath)),
);

/** Directories that a variable of the environment lists: a colon ends one there. */
export const searchedPath: Kind<string> = text(
  'an absolute path without .. or a colon',
  (value) => isPath(value, longestPath) && !value.includes(':'),
);
