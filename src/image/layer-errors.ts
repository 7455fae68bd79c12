import { Fault, isErrno, messageOf } from '../base/fault.ts';

/**
 * What went wrong with the files of a layer, as the caller should see it. Its tree, at `path`, is nobody else's, so that
 * most refusals of the kernel are of something that the layer itself has brought.
 */
export function translateLayerError(error: unknown, layer: string, path: string): unknown {
  const why = layerFault(error);
  if (why === null) return translateDiskError(error, `layer ${layer} in ${path}`);
  return new Fault('InvalidArgument', `Layer ${layer} ${why}: ${messageOf(error)}`, { cause: error });
}

function layerFault(error: unknown): string | null {
  if (isErrno(error, 'ENAMETOOLONG', 'ELOOP')) return 'has a name this host cannot hold';
  if (isErrno(error, 'E2BIG')) return 'has extended attributes that are too large for this file system';
  // A file capability that is none, an attribute's name that is too long (setxattr(2)); more names for a file than it takes.
  if (isErrno(error, 'EINVAL', 'ERANGE', 'EMLINK')) return 'has an entry the kernel refuses';
  if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EEXIST', 'ENOTEMPTY')) return 'has entries that contradict each other';
  return null;
}

const noRoom = ['ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE'];
const noWriting = ['EIO', 'EROFS'];

/** Errors of the host's disk as the caller should see them; each keeps its errno in `code`, by which isOfDisk knows it. */
export function translateDiskError(error: unknown, what = 'the image'): unknown {
  const doing = isErrno(error, ...noRoom) ? 'has no room for' : isErrno(error, ...noWriting) && 'cannot write';
  if (!doing || error instanceof Fault) return error;
  const fault = new Fault('ResourceExhausted', `The host ${doing} ${what}: ${messageOf(error)}`, { cause: error });
  return Object.assign(fault, { code: (error as NodeJS.ErrnoException).code });
}

/** Whether it is the host's disk that fails, rather than an image that is larger than one may be. */
export const isOfDisk = (error: unknown): boolean => isErrno(error, ...noRoom, ...noWriting);
