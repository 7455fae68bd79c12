import { Metadata, status } from '@grpc/grpc-js';
import { Fault, type FaultKind, messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { firstBytes } from '../base/text.ts';

/** The only place where an error gets its gRPC code. */
const codeOf = {
  InvalidArgument: status.INVALID_ARGUMENT,
  NotFound: status.NOT_FOUND,
  AlreadyExists: status.ALREADY_EXISTS,
  FailedPrecondition: status.FAILED_PRECONDITION,
  PermissionDenied: status.PERMISSION_DENIED,
  Unauthenticated: status.UNAUTHENTICATED,
  ResourceExhausted: status.RESOURCE_EXHAUSTED,
  DeadlineExceeded: status.DEADLINE_EXCEEDED,
  Cancelled: status.CANCELLED,
  Unavailable: status.UNAVAILABLE,
  Unimplemented: status.UNIMPLEMENTED,
  DataLoss: status.DATA_LOSS,
  Internal: status.INTERNAL,
} satisfies Record<FaultKind, number>;

/** Errnos that a client can act on, wherever they arise. */
const codeOfErrno: Readonly<Record<string, number>> = {
  ENOSPC: status.RESOURCE_EXHAUSTED,
  EDQUOT: status.RESOURCE_EXHAUSTED,
  // What ext4 and others make of themselves after an error: they take nothing more.
  EROFS: status.RESOURCE_EXHAUSTED,
  EIO: status.RESOURCE_EXHAUSTED,
  EMFILE: status.RESOURCE_EXHAUSTED,
  ENFILE: status.RESOURCE_EXHAUSTED,
};

/** gRPC carries the message in a header: a client's HTTP/2 stack refuses what is longer than its limit. */
const maxDetails = 4096; // bytes

export type StatusError = { code: number; details: string; metadata: Metadata };

/** The gRPC status of any error; one that says nothing to a client is a defect or a broken host, and is logged. */
export function statusOf(error: unknown, method: string): StatusError {
  const code = codeIn(error);
  if (code === undefined) log.error({ method, err: error }, 'A call failed');
  return { code: code ?? status.INTERNAL, details: firstBytes(messageOf(error), maxDetails), metadata: new Metadata() };
}

/**
 * What the error itself says, or the first among the parts of an AggregateError and their causes that says something; where
 * cleaning up failed too, what went wrong first.
 */
function codeIn(error: unknown): number | undefined {
  if (error instanceof Fault) return codeOf[error.kind];
  if (error instanceof SuppressedError) return codeIn(error.suppressed) ?? codeIn(error.error);
  if (!(error instanceof AggregateError))
    return error instanceof Error && 'code' in error ? codeOfErrno[String(error.code)] : undefined;
  for (const part of error.errors) {
    const found = codeIn(part) ?? (part instanceof Error ? codeIn(part.cause) : undefined);
    if (found !== undefined) return found;
  }
  return undefined;
}
