// The shim protocol as data. TypeScript infers its message types from this table, and scripts/gen-shim-header.ts
// prints the C structs, readers and writers from it (native/shim/protocol.h).
//
// Frame: u32 length of what follows | u16 message number | u32 request id | the fields in the table's order.
// All numbers are little endian. string: u32 length, bytes, NUL (so that C uses it in place). bytes: u32 length, bytes.
// strings: u32 count, then each string. bool: one byte, 0 or 1.
//
// A reader gives a field that the frame ends before its default (0, false, empty), and ignores what follows the last
// field that it knows: fields are only ever appended, numbers never reused.

export type FieldKind = 'u32' | 'u64' | 'i32' | 'bool' | 'string' | 'bytes' | 'strings';
export type MessageShape = { readonly number: number; readonly fields: Readonly<Record<string, FieldKind>> };

export const protocolVersion = 1;
/** Bytes after the length field, in a frame towards the shim. */
export const maxToShim = 4 * 1024 * 1024;
/** Bytes after the length field, in a frame towards the daemon: two captured streams and change. */
export const maxToDaemon = 40 * 1024 * 1024;
/** The most that the shim keeps of one captured stream. */
export const maxCapture = 16 * 1024 * 1024;

/** Why the shim refused: `system` and `untrue` carry an errno, the others are the protocol's own. */
export const failureKinds = {
  system: 1,
  invalid: 2,
  notFound: 3,
  exists: 4,
  notRunning: 5,
  busy: 6,
  unsupported: 7,
  /** A command ended well and did not leave what it should have. */
  untrue: 8,
} as const;

const ending = {
  pid: 'u32',
  code: 'u32',
  signal: 'u32',
  oomKilled: 'bool',
  atSeconds: 'u64',
  atNanos: 'u32',
} as const;

/** What of a process' output never came into its log, in all: `lostError` is the errno of the latest loss. */
const losing = { lostBytes: 'u64', lostLines: 'u64', lostError: 'u32' } as const;

/** Microseconds of CLOCK_MONOTONIC. */
const spanning = { begunUs: 'u64', endedUs: 'u64' } as const;

/** The oom_score_adj of an OCI runtime, and so of what it makes where it sets none itself. */
const scored = { adjustOom: 'bool', oomScoreAdj: 'i32' } as const;

export const messages = {
  // Requests. Number 3 ended the sandbox alone, which its end with the shim made needless.
  hello: { number: 1, fields: { version: 'u32' } },
  sandbox: {
    number: 2,
    fields: {
      network: 'bool',
      pid: 'bool',
      ipc: 'bool',
      uts: 'bool',
      hostname: 'string',
      netnsPath: 'string',
      sysctls: 'strings',
      cgroupTasks: 'strings',
      adjustOom: 'bool',
      oomScoreAdj: 'i32',
      // The lines of uid_map and gid_map; a user namespace is made when uidMap is not empty.
      uidMap: 'string',
      gidMap: 'string',
      cgroupFolder: 'string',
    },
  },
  run: {
    number: 4,
    fields: {
      argv: 'strings',
      env: 'strings',
      cwd: 'string',
      stdin: 'bytes',
      deadlineMs: 'u32',
      drainMs: 'u32',
      maxOutput: 'u32',
    },
  },
  start: {
    number: 5,
    fields: {
      key: 'string',
      argv: 'strings',
      env: 'strings',
      cwd: 'string',
      deadlineMs: 'u32',
      drainMs: 'u32',
      pidFile: 'string',
      stdin: 'bool',
      tty: 'bool',
      logPath: 'string',
      oomFile: 'string',
      exitFile: 'string',
      // The log's folder, to which links may lead, and its path below that, where none may; empty: `logPath` has no link.
      logFolder: 'string',
      logName: 'string',
      logDeadlineMs: 'u32', // of its opening
    },
  },
  exec: {
    number: 6,
    fields: {
      argv: 'strings',
      env: 'strings',
      cwd: 'string',
      pidFile: 'string',
      startDeadlineMs: 'u32',
      deadlineMs: 'u32',
      drainMs: 'u32',
      maxOutput: 'u32',
      ...scored,
    },
  },
  signal: { number: 7, fields: { key: 'string', signo: 'u32', all: 'bool' } },
  reopenLog: { number: 8, fields: { key: 'string', deadlineMs: 'u32' } },
  list: { number: 9, fields: {} },
  forget: { number: 10, fields: { key: 'string' } },
  cancel: { number: 11, fields: { request: 'u32' } },
  shutdown: { number: 12, fields: { force: 'bool' } },
  // Both are answered by `opened`, which carries descriptors. `openExec` is then answered once more, by `result`, when the
  // process has ended; or by `result` alone, with what the OCI runtime wrote, when it failed.
  openExec: {
    number: 13,
    fields: {
      argv: 'strings',
      env: 'strings',
      cwd: 'string',
      pidFile: 'string',
      startDeadlineMs: 'u32',
      tty: 'bool',
      stdin: 'bool',
      stdout: 'bool',
      stderr: 'bool',
      ...scored,
    },
  },
  // `once`: the write end of standard input moves to the client and is not given to another.
  attach: { number: 14, fields: { key: 'string', stdin: 'bool', stdout: 'bool', stderr: 'bool', once: 'bool' } },
  // Answered by `held`. The namespaces of the sandbox (an empty key), or the PID namespace of a process that runs.
  hold: { number: 15, fields: { key: 'string' } },
  // `name=value`, written in the sandbox's network namespace: those of interfaces, when there are any.
  sysctls: { number: 16, fields: { settings: 'strings' } },

  // Replies, under the request's id
  done: { number: 64, fields: {} },
  failed: { number: 65, fields: { kind: 'u32', error: 'u32', step: 'string' } },
  // `findsLogs`: it knows `logFolder` and `logName`.
  welcome: { number: 66, fields: { version: 'u32', shimPid: 'u32', pausePid: 'u32', findsLogs: 'bool' } },
  sandboxed: { number: 67, fields: { pausePid: 'u32', oomClamped: 'bool', ...spanning } },
  result: {
    number: 68,
    fields: {
      pid: 'u32',
      started: 'bool',
      code: 'u32',
      signal: 'u32',
      timedOut: 'bool',
      stdoutTruncated: 'bool',
      stderrTruncated: 'bool',
      stdout: 'bytes',
      stderr: 'bytes',
      ...spanning, // of the command
    },
  },
  signalled: { number: 69, fields: { delivered: 'bool' } },
  // `list` is answered by one of these per process, and then `listed`
  entry: {
    number: 70,
    fields: { key: 'string', ended: 'bool', ...ending, ...losing },
  },
  listed: { number: 71, fields: { pausePid: 'u32' } },
  // One descriptor per true field, in this order. `input` is the write end of standard input, or the terminal's master.
  opened: { number: 72, fields: { input: 'bool', stdout: 'bool', stderr: 'bool' } },
  // Descriptors of the shim, which are these namespaces whatever became of their processes; 0: it is the host's.
  held: { number: 73, fields: { uts: 'u32', ipc: 'u32', pid: 'u32', user: 'u32' } },

  // Events, to every connection, under request id 0
  exit: { number: 128, fields: { key: 'string', ...ending } },
  pauseExit: { number: 129, fields: { pid: 'u32' } },
  // At most once a second a process, and before its `exit`. What shims of before lost is told by `list` alone.
  logLost: { number: 130, fields: { key: 'string', ...losing } },

  // Requests to a looker (native/look), which answers them in their order: by `done` or `failed` where nothing else is said.
  // `lookPath`: the path without links; what a link says.
  lookResolve: { number: 192, fields: { path: 'string' } },
  lookLink: { number: 193, fields: { path: 'string' } },
  // `lookFacts`, of what links lead to
  lookStat: { number: 194, fields: { path: 'string' } },
  // `lookType`
  lookFileSystem: { number: 195, fields: { path: 'string' } },
  // `lookNames`; EFBIG if there are more than `most`
  lookList: { number: 196, fields: { path: 'string', most: 'u32' } },
  // `lookBytes` of a regular file; EFBIG if there are more than `most`, EOPNOTSUPP if it is none
  lookRead: { number: 197, fields: { path: 'string', most: 'u32' } },
  lookMakePath: { number: 198, fields: { path: 'string', mode: 'u32' } },
  lookMakeBelow: { number: 199, fields: { top: 'string', path: 'string', mode: 'u32' } },
  lookLabel: { number: 200, fields: { path: 'string', name: 'string', value: 'string' } },
  // `target` is made
  // `limits`: MOUNT_ATTR_*; maps may be empty, and the owners are those of the disk then.
  lookBind: {
    number: 201,
    fields: { source: 'string', target: 'string', uidMap: 'string', gidMap: 'string', limits: 'u32' },
  },

  // And its replies
  lookPath: { number: 224, fields: { path: 'string' } },
  lookFacts: { number: 225, fields: { mode: 'u32', uid: 'u32', gid: 'u32', major: 'u32', minor: 'u32' } },
  lookType: { number: 226, fields: { magic: 'u32' } },
  // `facts` has those five numbers for each name; links are not followed.
  lookNames: { number: 227, fields: { names: 'strings', facts: 'bytes' } },
  lookBytes: { number: 228, fields: { bytes: 'bytes' } },
  // Before the reply to `lookLabel`, while there is progress: the deadline begins again.
  lookGoesOn: { number: 229, fields: {} },
} as const satisfies Record<string, MessageShape>;

type FieldValue = {
  u32: number;
  /** At most 2^53 - 1. */
  u64: number;
  i32: number;
  bool: boolean;
  string: string;
  bytes: Uint8Array;
  strings: readonly string[];
};

export type MessageName = keyof typeof messages;
/** The fields of one message, with the types that the table gives them. */
export type Message<Name extends MessageName> = {
  -readonly [Field in keyof (typeof messages)[Name]['fields']]: (typeof messages)[Name]['fields'][Field] extends FieldKind
    ? FieldValue[(typeof messages)[Name]['fields'][Field]]
    : never;
};
