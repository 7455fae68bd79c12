/** Records are replaced, never edited: the bytes of one stay true as long as it does. */
const known = new WeakMap<object, Buffer>();

/** Field 1, length-delimited: where CRI's list answers have their items (protobuf encoding, "message structure"). */
const itemTag = 0x0a;

/**
 * A list answer as bytes on the wire. kubelet asks for the same lists every second: what did not change is not encoded
 * again.
 */
export function listBytes<T extends object>(records: readonly T[], encode: (record: T) => Uint8Array): Buffer {
  return Buffer.concat(records.map((record) => known.get(record) ?? remember(record, encode(record))));
}

function remember(record: object, message: Uint8Array): Buffer {
  const bytes = Buffer.concat([Buffer.from([itemTag, ...varint(message.length)]), message]);
  known.set(record, bytes);
  return bytes;
}

function varint(value: number): number[] {
  const low = value & 0x7f;
  return value > 0x7f ? [low | 0x80, ...varint(value >>> 7)] : [low];
}

type Call = { readonly responseSerialize: (value: never) => Buffer };

/** The service with calls whose answers may come as bytes. */
export function takingBytes<S extends Readonly<Record<string, Call>>>(
  service: S,
  calls: readonly (keyof S & string)[],
): S {
  const changed = calls.map((name) => {
    const { responseSerialize } = service[name]!;
    const serialize = (value: unknown) => (Buffer.isBuffer(value) ? value : responseSerialize(value as never));
    return [name, { ...service[name], responseSerialize: serialize }];
  });
  return { ...service, ...Object.fromEntries(changed) };
}
