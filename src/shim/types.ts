import type { Command, CommandResult } from '../base/command.ts';

/** How a tracked process ended. */
export type ShimExit = {
  key: string;
  pid: number;
  /** 128 + signal when a signal ended it. */
  code: number;
  /** 0 when it exited by itself. */
  signal: number;
  /** The kernel killed something in its memory cgroup for want of memory, at some time in its life. */
  oomKilled: boolean;
  /** Milliseconds since the epoch, with a fraction. */
  at: number;
};

/** What of a process' output never came into its log, since it was started. */
export type LogLoss = {
  /** Of the log's own bytes, or of the output's where it never became lines of the log. */
  bytes: number;
  /** Lines of the output; one of which only a part was lost counts. */
  lines: number;
  /** The errno of the latest loss by name: `ENOSPC`. Empty: none, or a shim that does not say. */
  error: string;
};

/** The program of a command, without what concerns its run. */
type Program = Pick<Command, 'argv' | 'env' | 'cwd'>;

/** An OCI runtime's `create`: what it makes is tracked under `key`, with stdio that the shim keeps. */
export type StartSpec = Program & {
  /** Up to 128 of `A-Za-z0-9_.:-`, and not `pause`. */
  key: string;
  /** Of the OCI runtime, not of what it makes. */
  deadlineMs: number;
  /** Where the OCI runtime writes the pid; removed once it is read. */
  pidFile: string;
  stdin: boolean;
  /** A terminal; `{console}` in argv becomes the path of the socket that takes it. */
  tty: boolean;
  /** Empty: what it writes is read and dropped. */
  logPath: string;
  /** The folder of the log, to which links may lead, and the log's path below it, where none may; empty: `logPath` has none. */
  logFolder: string;
  logName: string;
  /** Of the log's opening. */
  logDeadlineMs: number;
  /** memory.events (v2) or memory.oom_control (v1) of its cgroup, or empty. */
  oomFile: string;
  exitFile: string;
};

/** An OCI runtime's `exec --detach`: the process that it makes is waited for, and what it writes captured. */
export type ExecSpec = Program & {
  pidFile: string;
  /** Of the process, from its start; 0: none. */
  deadlineMs: number;
  /** Of the OCI runtime. */
  startDeadlineMs: number;
  /** How long output is awaited that others hold open after the process ended. */
  drainMs: number;
  /** Bytes kept of each stream, at most 16 MiB. */
  maxOutput: number;
  /** Of the OCI runtime, and so of what it makes where it sets none; absent: the shim's own. */
  oomScoreAdj?: number;
};

/** The same with streams of its own, which the caller gets. */
export type OpenExecSpec = Program & {
  pidFile: string;
  startDeadlineMs: number;
  /** A terminal: `{console}` in argv becomes the path of the socket that takes it, and there is one stream only. */
  tty: boolean;
  stdin: boolean;
  /** Not wanted: what it writes is read and dropped. */
  stdout: boolean;
  stderr: boolean;
  /** As of ExecSpec. */
  oomScoreAdj?: number;
};

/** Descriptors of ours, in O_NONBLOCK mode or a pipe's; the caller closes them. Null: not wanted, or not there. */
export type Stdio = {
  /** The write end of standard input, or the terminal's master. */
  input: number | null;
  stdout: number | null;
  stderr: number | null;
};

export type OpenExec = {
  /** Null: the OCI runtime failed, and `ended` has its output. */
  stdio: Stdio | null;
  /** Rejects with Unavailable if the shim is lost first, or nobody waits any more. */
  ended: Promise<CommandResult>;
  /** Nobody waits for the end: what the shim kept for that is freed. The process goes on. */
  abandon(): void;
};

export type AttachSpec = {
  key: string;
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  /** The write end of standard input moves here: the process sees the end of it when it is closed. */
  once: boolean;
};

/** Descriptors of the shim, each a namespace; 0: it has none of this type. `/proc/<shim>/fd/<n>` is a path to it. */
export type HeldNamespaces = {
  readonly uts: number;
  readonly ipc: number;
  readonly pid: number;
  readonly user: number;
};

export type SandboxSpec = {
  network: boolean;
  pid: boolean;
  ipc: boolean;
  uts: boolean;
  /** Set when `uts`; empty: left as it is. */
  hostname: string;
  /** Where the network namespace is mounted when `network`; empty: nowhere. */
  netnsPath: string;
  /** `name=value`, written inside the namespaces. */
  sysctls: readonly string[];
  /** Of the pause process's cgroup: its `tasks` file in each v1 hierarchy. */
  cgroupTasks: readonly string[];
  /** Its folder in the v2 hierarchy; empty: it is born in the shim's. */
  cgroupFolder: string;
  /** Null: inherited. One that is not permitted is left as it was. */
  oomScoreAdj: number | null;
  /** Lines of uid_map and gid_map (user_namespaces(7)); with them the sandbox has a user namespace of its own. */
  userMaps?: { uids: string; gids: string };
};

/** `pid` 0 and no exit: its OCI runtime is still at work. */
export type ShimProcess = { key: string; pid: number; exit: ShimExit | null; lost: LogLoss };

/** One connection to the shim of one pod. Every call fails with DeadlineExceeded if the shim is stuck. */
export interface Shim {
  readonly pid: number;
  /** False: it is of an earlier build, and `logPath` has to be without links. */
  readonly findsLogs: boolean;
  /** Makes the pod's namespaces and the process that holds them. Leaves nothing if it fails. */
  sandbox(spec: SandboxSpec): Promise<{ pausePid: number; oomClamped: boolean }>;
  /** Writes `name=value` in the sandbox's network namespace. */
  setSysctls(settings: readonly string[]): Promise<void>;
  /** Runs a command to its end. An abort kills it and rejects with the signal's reason. */
  run(spec: Command, signal?: AbortSignal): Promise<CommandResult>;
  /** Runs an OCI runtime and tracks what it makes; pid is 0 when the OCI runtime failed. */
  start(spec: StartSpec): Promise<CommandResult & { pid: number }>;
  /** Runs a process by an OCI runtime; `started` false: the OCI runtime itself failed, and this is its output. */
  exec(spec: ExecSpec, signal?: AbortSignal): Promise<CommandResult & { started: boolean }>;
  /** Runs a process by an OCI runtime; resolves when it is running, or the OCI runtime failed. */
  openExec(spec: OpenExecSpec): Promise<OpenExec>;
  /** What a tracked process writes from now on, and its input. NotFound; FailedPrecondition once it has ended. */
  attach(spec: AttachSpec): Promise<Stdio>;
  /** False: it had ended. NotFound if nothing is tracked under this key. `all`: every descendant as well. */
  signal(key: string, signo: number, options?: { all?: boolean }): Promise<boolean>;
  /**
   * The sandbox's own namespaces, or with a key the PID namespace of that process. They stay what they are as long as the
   * sandbox, or the process' entry, does. Unimplemented by shims of before; FailedPrecondition once it has ended.
   */
  hold(key?: string): Promise<HeldNamespaces>;
  /** Opens the log path anew, losing nothing; FailedPrecondition once the process has ended. */
  reopenLog(key: string, deadlineMs: number): Promise<void>;
  list(): Promise<{ pausePid: number; processes: ShimProcess[] }>;
  /** Drops an ended process from the list; one that is not there counts as dropped. */
  forget(key: string): Promise<void>;
  /** Resolves when the shim is gone. FailedPrecondition while tracked processes run, unless `force`: it kills them. */
  shutdown(options?: { force?: boolean }): Promise<void>;
  /** Ends this connection; the shim and all that it keeps stay. */
  close(): void;
}

export type ShimHandlers = {
  onExit(exit: ShimExit): void;
  /** The connection ended, and we did not ask for it. */
  onLost(): void;
  /** The pause process ended, and nobody asked for it. */
  onPauseExit?(pid: number): void;
  /** A process' log has lost more; in all since its start. At most once a second a process, and before its exit. */
  onLogLost?(key: string, loss: LogLoss): void;
};
