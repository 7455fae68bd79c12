/**
 * The closed set of things that can go wrong in a way a caller can act on. Leaves create these where the
 * meaning of an errno, a status code or a plugin's answer is known; every other error counts as Internal.
 * Only `cri/status.ts` turns a kind into a gRPC code.
 */
export type FaultKind =
  | 'InvalidArgument'
  | 'NotFound'
  | 'AlreadyExists'
  | 'FailedPrecondition'
  | 'PermissionDenied'
  | 'Unauthenticated'
  | 'ResourceExhausted'
  | 'DeadlineExceeded'
  | 'Cancelled'
  | 'Unavailable'
  | 'Unimplemented'
  | 'DataLoss'
  | 'Internal';

/** An error whose kind the edge can report. The message names the thing, the value and the next step. */
export class Fault extends Error {
  readonly kind: FaultKind;

  constructor(kind: FaultKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'Fault';
    this.kind = kind;
  }
}

/** `InvalidArgument`: the request itself is wrong and a retry cannot help. */
export const invalidArgument = (message: string) => new Fault('InvalidArgument', message);

/** `NotFound`: no such `thing` (pod, container, image, snapshot) with this `id`. */
export const notFound = (thing: string, id: string) => new Fault('NotFound', `No ${thing} ${JSON.stringify(id)}`);

/** `FailedPrecondition`: the object is not in the state that the call needs. */
export const failedPrecondition = (message: string) => new Fault('FailedPrecondition', message);

/** True if `error` is a Fault of one of these kinds. */
export const isFault = (error: unknown, ...kinds: FaultKind[]): error is Fault =>
  error instanceof Fault && kinds.includes(error.kind);

/** True if `error` carries this errno name (`ENOENT`, ...), as node:fs and the addon set it in `code`. */
export const isErrno = (error: unknown, ...codes: string[]): boolean =>
  error instanceof Error && 'code' in error && codes.includes(String(error.code));

/** The text of any thrown value: what went wrong first, and what went wrong while that was cleaned up after. */
export function messageOf(error: unknown): string {
  if (error instanceof SuppressedError) return `${messageOf(error.suppressed)}; then ${messageOf(error.error)}`;
  return error instanceof Error ? error.message : String(error);
}
