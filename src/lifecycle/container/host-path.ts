import { failedPrecondition } from '../../base/fault.ts';

/** What is wrong with a path of the host that a request names, by the errno that a look at it gave. */
const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'leads to nothing: is it a link to what is gone?',
  EEXIST: 'leads to nothing: is it a link to what is gone?',
  ENOTDIR: 'leads through what is no directory',
  ELOOP: 'leads in circles, or through too many links',
  ENAMETOOLONG: 'is too long, or has a name in it that is',
  EACCES: 'may not be looked at',
  ENOTCONN: 'is on a file system whose server is gone: unmount it or start the server',
  EHOSTDOWN: 'is on a file system whose server is down',
  ESTALE: 'is on a file system whose server has forgotten it: mount that again',
};

/**
 * Runs a look at `path`, which `what` names: `Host path`. @throws Fault FailedPrecondition that says what is wrong with the
 * path, where that is the host's matter; what else went wrong as it is.
 */
export async function atHostPath<T>(what: string, path: string, look: () => Promise<T>): Promise<T> {
  try {
    return await look();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const reason = reasons[code];
    if (reason === undefined) throw error;
    throw failedPrecondition(`${what} ${JSON.stringify(path.slice(0, 200))} ${reason}`);
  }
}
