import assert from 'node:assert/strict';
import { status as grpc } from '@grpc/grpc-js';

/**
 * How a call ended: the code of its error, or 'done'. The error is the daemon's own word, within the 4 KiB that every client
 * takes, without control characters; `names`, if given, is somewhere in it.
 */
export async function outcomeOf(call: () => Promise<unknown>, names = /./): Promise<number | 'done'> {
  try {
    await call();
    return 'done';
  } catch (error) {
    const { code = -1, details = '' } = error as { code?: number; details?: string };
    assert.ok(Buffer.byteLength(details) <= 4096, `${Buffer.byteLength(details)} bytes of error`);
    assert.doesNotMatch(details, /[\x00-\x08\x0b-\x1f]/);
    assert.notEqual(details, 'Deadline exceeded', 'the client gave up first');
    assert.notEqual(code, grpc.UNKNOWN, details);
    assert.match(details, names);
    return code;
  }
}
