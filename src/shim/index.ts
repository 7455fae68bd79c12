// What the rest of Berth may use of the shim.
export { readExitFile } from './exit-file.ts';
export { isShimOf, killShim } from './kill.ts';
export { Looker, pathsLeftBehind, unsupported } from './looker.ts';
export { connectShim, startShim } from './start.ts';
export type {
  AttachSpec,
  ExecSpec,
  LogLoss,
  OpenExec,
  OpenExecSpec,
  SandboxSpec,
  Shim,
  ShimExit,
  ShimHandlers,
  ShimProcess,
  StartSpec,
  Stdio,
} from './types.ts';
