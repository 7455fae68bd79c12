/**
 * Frees at once the memory of a buffer that nobody looks at any more. To V8 it is a small object with a large debt: it would
 * let hundreds of them wait, and then go through the whole heap to find them, which costs a pull more than its hashing.
 */
export function letGo({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}

/** The same for a buffer that may be a part of something: that is left alone. */
export function letGoWhole(data: Uint8Array): void {
  if (data.byteLength === data.buffer.byteLength) letGo(data);
}
