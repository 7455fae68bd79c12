// The D-Bus wire format (D-Bus specification, "Message Protocol"), as far as a method call and its answer need it.

/** Little endian, every value aligned to its size. */
class Writer {
  #bytes = Buffer.alloc(1024);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  align(to: number): void {
    this.#grow(to);
    while (this.#size % to !== 0) this.#bytes[this.#size++] = 0;
  }

  byte(value: number): void {
    this.#grow(1);
    this.#bytes[this.#size++] = value;
  }

  u32(value: number): void {
    this.align(4);
    this.#grow(4);
    this.#size = this.#bytes.writeUInt32LE(value, this.#size);
  }

  u64(value: bigint): void {
    this.align(8);
    this.#grow(8);
    this.#size = this.#bytes.writeBigUInt64LE(value, this.#size);
  }

  /** STRING and OBJECT_PATH; SIGNATURE has a length of one byte. */
  text(value: string, signature = false): void {
    const bytes = Buffer.from(value);
    if (signature) this.byte(bytes.length);
    else this.u32(bytes.length);
    this.#grow(bytes.length + 1);
    this.#size += bytes.copy(this.#bytes, this.#size);
    this.byte(0);
  }

  /** An array of things aligned to `to`: its length does not count the padding before the first. */
  array(to: number, write: () => void): void {
    this.u32(0);
    const place = this.#size - 4;
    this.align(to);
    const begin = this.#size;
    write();
    this.#bytes.writeUInt32LE(this.#size - begin, place);
  }

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#size);
  }

  #grow(by: number): void {
    if (this.#size + by + 8 <= this.#bytes.length) return;
    this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(this.#bytes.length + by)]);
  }
}

/** A value with its type: text, yes or no, a number of 64 bits, or a list of numbers. */
export type Variant = string | boolean | bigint | readonly number[];
/** One argument: text, yes or no, named values `a(sv)`, or the empty `a(sa(sv))` that systemd reserves. */
export type Argument = string | boolean | Readonly<Record<string, Variant>> | null;

const signatureOf = (argument: Argument): string =>
  argument === null
    ? 'a(sa(sv))'
    : (({ string: 's', boolean: 'b' } as Record<string, string>)[typeof argument] ?? 'a(sv)');

function writeVariant(out: Writer, value: Variant): void {
  if (typeof value === 'string') {
    out.text('s', true);
    out.text(value);
  } else if (typeof value === 'boolean') {
    out.text('b', true);
    out.u32(value ? 1 : 0);
  } else if (typeof value === 'bigint') {
    out.text('t', true);
    out.u64(value);
  } else {
    out.text('au', true);
    out.array(4, () => value.forEach((number) => void out.u32(number)));
  }
}

function writeArgument(out: Writer, argument: Argument): void {
  if (typeof argument === 'string') {
    out.text(argument);
    return;
  }
  if (typeof argument === 'boolean') {
    out.u32(argument ? 1 : 0);
    return;
  }
  out.array(8, () => {
    for (const [name, value] of Object.entries(argument ?? {})) {
      out.align(8);
      out.text(name);
      writeVariant(out, value);
    }
  });
}

const METHOD_CALL = 1;
const METHOD_RETURN = 2;
const ERROR = 3;
const field = { path: 1, interface: 2, member: 3, errorName: 4, replySerial: 5, destination: 6, signature: 8 } as const;

export type MethodCall = {
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly destination: string;
  readonly arguments: readonly Argument[];
};

export function encodeCall(serial: number, call: MethodCall): Buffer {
  const body = new Writer();
  for (const argument of call.arguments) writeArgument(body, argument);
  const out = new Writer();
  for (const byte of [0x6c, METHOD_CALL, 0, 1]) out.byte(byte); // 'l': little endian; no flags; protocol 1
  out.u32(body.size);
  out.u32(serial);
  const header = (code: number, type: string, text: string) => {
    out.align(8);
    out.byte(code);
    out.text(type, true);
    out.text(text, type === 'g');
  };
  out.array(8, () => {
    header(field.path, 'o', call.path);
    header(field.interface, 's', call.interface);
    header(field.member, 's', call.member);
    header(field.destination, 's', call.destination);
    header(field.signature, 'g', call.arguments.map(signatureOf).join(''));
  });
  out.align(8);
  return Buffer.concat([out.finish(), body.finish()]);
}

export type Answer = {
  /** Bytes of the message; what follows is the next one. */
  readonly size: number;
  /** The serial of the call that it answers, or 0: a signal. */
  readonly to: number;
  /** The error's name and text, or null. */
  readonly error: { readonly name: string; readonly text: string } | null;
};

const longestMessage = 1 << 20;

/** Reads one message, or null while it is not all there. @throws Error for what is no message of this protocol. */
export function decodeAnswer(data: Buffer): Answer | null {
  if (data.length < 16) return null;
  const bodySize = data.readUInt32LE(4);
  const fieldsEnd = 16 + data.readUInt32LE(12);
  const bodyAt = Math.ceil(fieldsEnd / 8) * 8;
  if (data[0] !== 0x6c || bodyAt + bodySize > longestMessage) throw new Error('systemd sent no D-Bus message');
  if (data.length < bodyAt + bodySize) return null;
  const fields = readFields(data, fieldsEnd);
  const type = data[1];
  const answers = type === METHOD_RETURN || type === ERROR;
  const text = type === ERROR && String(fields.get(field.signature)).startsWith('s') ? readText(data, bodyAt) : '';
  return {
    size: bodyAt + bodySize,
    to: answers ? Number(fields.get(field.replySerial) ?? 0) : 0,
    error: type === ERROR ? { name: String(fields.get(field.errorName) ?? ''), text } : null,
  };
}

const readText = (data: Buffer, at: number): string => data.toString('utf8', at + 4, at + 4 + data.readUInt32LE(at));

/** Header fields are of the types s, o, g and u only. */
function readFields(data: Buffer, end: number): Map<number, string | number> {
  const fields = new Map<number, string | number>();
  for (let at = 16; at < end; at = Math.ceil(at / 8) * 8) {
    const code = data[at]!;
    const type = String.fromCharCode(data[at + 2]!);
    const value = at + 4;
    if (type === 'g') {
      fields.set(code, data.toString('latin1', value + 1, value + 1 + data[value]!));
      at = value + data[value]! + 2;
    } else if (type === 'u') {
      fields.set(code, data.readUInt32LE(value));
      at = value + 4;
    } else {
      fields.set(code, readText(data, value));
      at = value + data.readUInt32LE(value) + 5;
    }
  }
  return fields;
}
